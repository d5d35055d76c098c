// What a webhook's test would send, before it is sent.
import { Bootstrap, React, h } from "./stash.js";

/** @param {{test: import("./test_steps.js").Test}} props */
export const Preview = ({ test }) => {
  const [showScene, setShowScene] = React.useState(false);
  const { preview } = test;
  return h(
    "div",
    { className: "courier-preview" },
    preview ? h("p", null, introduction(preview)) : null,
    preview?.scene
      ? h("pre", { className: "courier-body", tabIndex: 0, role: "region", "aria-label": "Preview" }, preview.text)
      : null,
    test.message
      ? h(
          React.Fragment,
          null,
          h("p", null, "People get what is sent. The test sends a neutral sentence instead, without a scene's title."),
          h(Bootstrap.Form.Check, {
            id: "courier-show-scene",
            type: "checkbox",
            label: "Send the scene's title in the test",
            checked: showScene,
            onChange: (/** @type {any} */ event) => setShowScene(event.target.checked),
          }),
        )
      : null,
    h(
      "div",
      { className: "courier-actions" },
      h(Bootstrap.Button, { size: "sm", variant: "primary", onClick: () => test.run(showScene) }, "Send test"),
      h(Bootstrap.Button, { size: "sm", variant: "secondary", onClick: test.close }, "Don't send"),
    ),
  );
};

/** @param {{scene: {title: string} | null, text: string}} preview */
const introduction = ({ scene, text }) => (scene ? `What the scene "${scene.title}" would send now:` : text);
