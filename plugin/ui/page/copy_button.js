// A button that copies a text and says so. Where the browser allows no copying, it shows the text to copy by hand.
import { copy } from "./clipboard.js";
import { Bootstrap, React, h } from "./stash.js";

/**
 * @param {{text: string, label: string, variant?: string}} props
 */
export const CopyButton = ({ text, label, variant = "secondary" }) => {
  const [done, setDone] = React.useState(/** @type {boolean | null} */ (null));
  const field = React.useRef(/** @type {HTMLTextAreaElement | null} */ (null));
  React.useEffect(() => setDone(null), [text]);
  React.useEffect(() => {
    if (done === false) field.current?.select();
  }, [done]);
  return h(
    React.Fragment,
    null,
    h(
      Bootstrap.Button,
      {
        variant,
        onClick: async (event) => {
          const place = event.currentTarget.parentElement ?? document.body;
          setDone(await copy(text, place));
        },
      },
      label,
    ),
    h("span", { role: "status", className: "courier-copied" }, done === true ? "Copied." : null),
    done === false &&
      h(
        "div",
        { className: "courier-copy-by-hand" },
        h("p", null, "This browser allows no copying here. Press Ctrl+C to copy the selected text."),
        h("textarea", { ref: field, readOnly: true, value: text, rows: 8, "aria-label": label }),
      ),
  );
};
