// The test of a connection, stored or as a draft: its steps, what would fix them, and for a webhook a preview first.

import {call} from "./api.js";
import {LibraryReport} from "./library_report.js";
import {Bootstrap, React, h} from "./stash.js";

const STATUS = {ok: "OK", warn: "Warning", fail: "Failed"};

/**
 * @typedef {{label: string, values: Record<string, unknown>}} Fix
 * @typedef {{step: string, status: "ok"|"warn"|"fail", text: string, field: string, fix: Fix|null, body?: string}} Step
 */

/**
 * Runs tests. A media server is only asked. A webhook gets a message, so what it would get is shown first.
 * @param {() => Record<string, unknown>} draft the arguments that name the connection or the draft
 * @param {{webhook: boolean, message: boolean}} kind ``message``: people get what is sent
 */
export function useTest(draft, {webhook, message}) {
  const [phase, setPhase] = React.useState(/** @type {"none"|"reading"|"preview"|"testing"|"done"} */ ("none"));
  const [preview, setPreview] = React.useState(/** @type {any} */ (null));
  const [answer, setAnswer] = React.useState(/** @type {{ok: boolean, steps: Step[]}|null} */ (null));
  const [failed, setFailed] = React.useState(/** @type {Error|null} */ (null));
  const [runs, setRuns] = React.useState(0);
  const latest = React.useRef(0); // the number of the call whose answer counts; 0 when the page is left

  /** @param {"reading"|"testing"} doing @param {() => Promise<void>} work */
  async function during(doing, work) {
    const mine = (latest.current += 1);
    setPhase(doing);
    setFailed(null);
    try {
      await work();
    } catch (error) {
      if (mine !== latest.current) return;
      setFailed(/** @type {Error} */ (error));
      setPhase(doing === "reading" ? "preview" : "done");
    }
  }

  const run = (showScene = false) =>
    during("testing", async () => {
      const mine = latest.current;
      const found = await call("test_connection", {...draft(), ...(showScene ? {show_scene: true} : {})});
      if (mine !== latest.current) return;
      setAnswer(found);
      setPhase("done");
    });

  const show = () =>
    during("reading", async () => {
      const mine = latest.current;
      setAnswer(null);
      setPreview(null);
      const found = await call("preview", draft());
      if (mine !== latest.current) return;
      setPreview(found);
      setPhase("preview");
    });

  React.useEffect(() => {
    if (runs) run();
  }, [runs]);
  React.useEffect(() => () => void (latest.current = -1), []);

  return {
    phase,
    preview,
    answer,
    failed,
    webhook,
    message,
    run,
    start: () => (webhook ? show() : run()),
    /** Tests again once a changed draft is in place. */
    again: () => setRuns((now) => now + 1),
    close: () => {
      latest.current += 1;
      setPhase("none");
      setAnswer(null);
      setFailed(null);
    },
  };
}

/**
 * @param {{test: ReturnType<typeof useTest>, report: string, label: (key: string) => string,
 *   onFix: (fix: Fix) => void, onField: (key: string) => void}} props
 *   ``report``: id of the media server whose library report is offered, or ""
 */
export function TestPanel({test, report, label, onFix, onField}) {
  const [reporting, setReporting] = React.useState(false);
  if (test.phase === "none") return null;
  return h(
    "div",
    {className: "courier-test"},
    h("div", {role: "status"}, summary(test)),
    test.failed ? h("div", {className: "courier-notice courier-fail", role: "alert"}, test.failed.message) : null,
    test.phase === "preview" ? h(Preview, {test}) : null,
    test.answer
      ? h(
          "ol",
          {className: "courier-steps"},
          test.answer.steps.map((step, place) => h(OneStep, {key: place, step, label, onFix, onField})),
        )
      : null,
    h(
      "div",
      {className: "courier-actions"},
      report && test.phase === "done" && !reporting
        ? h(Bootstrap.Button, {size: "sm", variant: "secondary", onClick: () => setReporting(true)}, "Compare the whole library")
        : null,
      test.phase === "done" ? h(Bootstrap.Button, {size: "sm", variant: "secondary", onClick: test.close}, "Close the test") : null,
    ),
    reporting ? h(LibraryReport, {connection: report}) : null,
  );
}

/** @param {ReturnType<typeof useTest>} test */
function summary(test) {
  if (test.phase === "testing") return "Testing…";
  if (test.phase === "reading") return "Preparing the preview…";
  if (!test.answer || test.phase !== "done") return "";
  if (!test.answer.ok) return "The test failed. You can save the connection anyway.";
  const warned = test.answer.steps.some((step) => step.status === "warn");
  return warned ? "The test passed, with warnings." : "The test passed.";
}

/** @param {{step: Step, label: (key: string) => string, onFix: (fix: Fix) => void, onField: (key: string) => void}} props */
function OneStep({step, label, onFix, onField}) {
  const name = step.field ? label(step.field) : "";
  const {fix} = step;
  return h(
    "li",
    {className: `courier-step courier-${step.status}`},
    h("span", {className: "courier-step-status"}, STATUS[step.status]),
    " ",
    step.text,
    fix || (name && step.status !== "ok")
      ? h(
          "div",
          {className: "courier-actions"},
          fix ? h(Bootstrap.Button, {size: "sm", variant: "primary", className: "courier-fix", onClick: () => onFix(fix)}, fix.label) : null,
          name && step.status !== "ok"
            ? h(Bootstrap.Button, {size: "sm", variant: "secondary", onClick: () => onField(step.field)}, `Go to "${name}"`)
            : null,
        )
      : null,
    step.body ? h("details", null, h("summary", null, "What was sent"), h("pre", {className: "courier-body"}, step.body)) : null,
  );
}

/** @param {{test: ReturnType<typeof useTest>}} props */
function Preview({test}) {
  const [showScene, setShowScene] = React.useState(false);
  const {preview, message} = test;
  return h(
    "div",
    {className: "courier-preview"},
    preview
      ? [
          h(
            "p",
            {key: "what"},
            preview.problem || (preview.scene ? `This is what a change of the scene "${preview.scene.title}" would send now:` : "This is what a change would send:"),
          ),
          preview.text ? h("pre", {key: "body", className: "courier-body", tabIndex: 0, "aria-label": "Preview"}, preview.text) : null,
        ]
      : null,
    message
      ? h(
          React.Fragment,
          null,
          h("p", {className: "courier-help"}, "People get this message. The test sends a neutral sentence, not a scene's title."),
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
      {className: "courier-actions"},
      h(Bootstrap.Button, {size: "sm", variant: "primary", onClick: () => test.run(showScene)}, "Send test"),
      h(Bootstrap.Button, {size: "sm", variant: "secondary", onClick: test.close}, "Don't send"),
    ),
  );
}
