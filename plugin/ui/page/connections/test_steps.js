// The test of a connection, stored or as a draft: its steps, what would fix them, and for a webhook a preview first.
import { call } from "../shared/api.js";
import { FailureNotice } from "../shared/notice.js";
import { useFailure } from "../shared/running.js";
import { Bootstrap, h, React } from "../shared/stash.js";

/** @type {Record<string, string>} */
const STATUS = { ok: "OK", warn: "Warning", fail: "Failed" };

/**
 * @typedef {import("./form_state.js").Fix} Fix
 * @typedef {{step: string, status: "ok" | "warn" | "fail", text: string, examples?: string[], field: string,
 *   fix: Fix | null, body?: string, action?: {do: string, label: string} | null}} Step
 * @typedef {{ok: boolean, steps: Step[]}} Answer
 * @typedef {ReturnType<typeof useTest>} Test
 */

/**
 * Runs tests. A media server is only asked. A webhook gets a message, so what it would get is shown first.
 * @param {() => Record<string, unknown>} draft the arguments that name the connection or describe the draft
 * @param {{webhook: boolean, message: boolean}} kind `message`: people get what is sent
 * @param {(steps: Step[]) => void} onSteps
 */
export const useTest = (draft, { webhook, message }, onSteps) => {
  const { phase, failure, during, stop } = usePhases();
  const [preview, setPreview] = React.useState(/** @type {any} */ (null));
  const [answer, setAnswer] = React.useState(/** @type {Answer | null} */ (null));
  const [runs, setRuns] = React.useState(0);

  const run = (showScene = false) => {
    const args = { ...draft(), ...(showScene ? { show_scene: true } : {}) };
    return during("testing", "done", (signal) => call("test_connection", args, signal), showAnswer);
  };
  /** @type {(found: Answer) => "done"} */
  const showAnswer = (found) => {
    setAnswer(found);
    onSteps(found.steps);
    return "done";
  };
  const show = () => {
    setAnswer(null);
    setPreview(null);
    /** @type {(found: any) => "done" | "preview"} a preview, or why there is none */
    const showPreview = (found) => {
      if (found.steps) return showAnswer({ ok: false, steps: found.steps });
      setPreview(found);
      return "preview";
    };
    return during("reading", "preview", (signal) => call("preview", draft(), signal).catch(wrongValues), showPreview);
  };
  const latest = React.useRef(run);
  latest.current = run;
  React.useEffect(() => {
    if (runs) latest.current();
  }, [runs]);

  return {
    phase,
    preview,
    answer,
    failure,
    message,
    run,
    start: () => (webhook ? show() : run()),
    /** Tests again when the changed draft is in place. */
    again: () => setRuns((/** @type {number} */ now) => now + 1),
    close: () => {
      stop();
      setAnswer(null);
    },
  };
};

/** Lets a failure pass that tells which values are wrong. @param {import("../shared/failures.js").Failure} failure */
const wrongValues = (failure) => {
  if (failure.steps) return failure;
  throw failure;
};

/** The call of a test that is in progress, and what came of the last one. */
const usePhases = () => {
  const [phase, setPhase] = React.useState(/** @type {"none" | "reading" | "preview" | "testing" | "done"} */ ("none"));
  const { failure, passed, fail } = useFailure();
  const running = React.useRef(new AbortController());
  React.useEffect(() => () => running.current.abort(), []);

  /**
   * Shows what a call answers, unless another one was made meanwhile.
   * @param {"reading" | "testing"} doing
   * @param {"preview" | "done"} failed the phase after a failure
   * @param {(signal: AbortSignal) => Promise<any>} ask
   * @param {(answer: any) => "preview" | "done"} show returns the phase that follows
   */
  const during = async (doing, failed, ask, show) => {
    running.current.abort();
    const { signal } = (running.current = new AbortController());
    setPhase(doing);
    fail(null);
    try {
      const found = await ask(signal);
      if (!signal.aborted) setPhase(show(found));
    } catch (problem) {
      if (signal.aborted) return;
      fail(/** @type {import("../shared/failures.js").Failure} */ (problem));
      setPhase(failed);
    }
  };
  const stop = () => {
    running.current.abort();
    setPhase("none");
    fail(null);
  };
  return { phase: passed ? "none" : phase, failure, during, stop };
};

/**
 * @param {{test: Test, draft: boolean, report: (() => void) | null, label: (key: string) => string,
 *   onFix: ((fix: Fix) => void) | null, onField: ((key: string) => void) | null}} props
 *   `draft`: it isn't saved yet. `report`: shows the library report. `label`: of a field that is on the page, which
 *   shows what is wrong with its value; "" if it isn't. `onFix`, `onField`: null if no form shows the fields
 */
export const TestPanel = ({ test, draft, report, label, onFix, onField }) => {
  if (test.phase === "none") return null;
  const done = test.phase === "done";
  const steps = (test.answer?.steps ?? []).filter((/** @type {Step} */ step) => !isValue(step) || !label(step.field));
  /** @param {string} text @param {() => void} onClick */
  const button = (text, onClick) => h(Bootstrap.Button, { size: "sm", variant: "secondary", onClick }, text);
  return h(
    "div",
    { className: "courier-test" },
    h("div", { role: "status" }, summary(test, draft)),
    test.failure ? h(FailureNotice, { failure: test.failure, retry: test.start, ofAction: true }) : null,
    test.phase === "preview" ? h(Preview, { test }) : null,
    steps.length
      ? h(
          "ol",
          { className: "courier-steps" },
          steps.map((/** @type {Step} */ step, /** @type {number} */ place) =>
            h(OneStep, { key: place, step, label, onFix, onField, onReport: report }),
          ),
        )
      : null,
    done ? h("div", { className: "courier-actions" }, button("Close the test", test.close)) : null,
  );
};

/** Whether a step is about a value that can't be used. @param {Step} step */
const isValue = (step) => step.step === "fields";

/** @param {Test} test @param {boolean} draft */
const summary = ({ phase, answer }, draft) => {
  if (phase === "testing") return "Testing…";
  if (phase === "reading") return "Preparing the preview…";
  if (phase !== "done" || !answer) return "";
  if (answer.steps.some(isValue)) return "Some values can't be used, so nothing was tested. Correct them first.";
  if (!answer.ok) return `The test failed.${draft ? " You can save the connection anyway." : ""}`;
  const warned = answer.steps.some((/** @type {Step} */ step) => step.status === "warn");
  return warned ? "The test passed, with warnings." : "The test passed.";
};

/**
 * @param {{step: Step, label: (key: string) => string, onFix: ((fix: Fix) => void) | null,
 *   onField: ((key: string) => void) | null, onReport: (() => void) | null}} props
 */
const OneStep = ({ step, label, onFix, onField, onReport }) => {
  const { fix, action } = step;
  const name = step.field && label(step.field);
  const open = name ? `Go to "${name}"` : "Open its field";
  /** @param {string} text @param {() => void} onClick */
  const button = (text, onClick, variant = "secondary") =>
    h(Bootstrap.Button, { key: text, size: "sm", variant, onClick }, text);
  const buttons = [
    fix && onFix && button(fix.label, () => onFix(fix), "primary"),
    step.field && onField && step.status !== "ok" && button(open, () => onField(step.field)),
    action?.do === "library_report" && onReport && button(action.label, onReport),
  ].filter(Boolean);
  return h(
    "li",
    { className: "courier-step" },
    h("strong", { className: `courier-${step.status}` }, STATUS[step.status]),
    h("div", null, step.text, fix && !onFix ? ` To fix it: ${fix.label}.` : ""),
    step.examples?.length
      ? h(
          "ul",
          { className: "courier-examples" },
          step.examples.map((example) => h("li", { key: example }, example)),
        )
      : null,
    buttons.length ? h("div", { className: "courier-actions" }, buttons) : null,
    step.body
      ? h(
          "details",
          null,
          h("summary", null, "What was sent"),
          h("pre", { className: "courier-text", tabIndex: 0 }, step.body),
        )
      : null,
  );
};

// What a webhook's test would send, before it is sent.

/** @param {{test: Test}} props */
const Preview = ({ test }) => {
  const [showScene, setShowScene] = React.useState(false);
  const { preview } = test;
  return h(
    "div",
    { className: "courier-preview" },
    preview ? h("p", null, introduction(preview)) : null,
    preview?.scene
      ? h("pre", { className: "courier-text", tabIndex: 0, role: "region", "aria-label": "Preview" }, preview.text)
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
