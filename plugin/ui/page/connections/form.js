// The form of one connection: new, changed, or a copy of another.
import { FailureNotice, Notice } from "../shared/notice.js";
import { Bootstrap, h, React, Router } from "../shared/stash.js";
import { argumentsOf } from "./draft.js";
import { FormFields, inputId, NAME, STATE } from "./fields.js";
import { useConnectionForm } from "./form_state.js";
import { LibraryReport } from "./library_report.js";
import { TestPanel, useTest } from "./test_steps.js";

const UNSAVED = "You have changes that aren't saved. Leave anyway?";
const DISCARD = "You have changes that aren't saved. Discard them?";

/**
 * @param {{what: import("./form_state.js").What, fix: Record<string, unknown> | null, focus: string,
 *   forgetFix: () => void, onSaved: (answer: any, isNew: boolean) => void, onCancel: () => void}} props
 *   `fix`: values that a card's button puts into the draft. `focus`: the field to begin with, or ""
 */
export const ConnectionForm = ({ what, fix, focus, forgetFix, onSaved, onCancel }) => {
  const leaving = React.useRef(false); // it is left on purpose
  const form = useConnectionForm(what, fix, (answer) => {
    leaving.current = true;
    onSaved(answer, what.mode !== "edit");
  });
  const [advanced, setAdvanced] = React.useState(false);
  const [wanted, setWanted] = React.useState(focus); // the field that gets the focus when it is shown
  const heading = React.useRef(/** @type {HTMLElement | null} */ (null));

  const ready = form.loaded !== null;
  React.useEffect(() => heading.current?.focus(), [ready]);
  React.useEffect(() => {
    if (!ready || !wanted) return;
    const input = document.getElementById(inputId(wanted));
    if (!input && !advanced) {
      setAdvanced(true);
      return;
    }
    input?.focus();
    input?.scrollIntoView({ block: "center" });
    setWanted("");
  }, [ready, wanted, advanced]);
  /** @param {import("./form_state.js").Problem[]} problems */
  const goToFirst = (problems) => {
    const wrong = new Set(problems.map((problem) => problem.field));
    setWanted([...form.fields, NAME, STATE].find((field) => wrong.has(field.key))?.key ?? "");
  };
  useWarning(form.changed, leaving);
  const forget = React.useRef(fix ? forgetFix : null);
  React.useEffect(() => forget.current?.(), []);

  const cancel = () => {
    if (form.changed && !window.confirm(DISCARD)) return;
    form.forget();
    leaving.current = true;
    onCancel();
  };
  return h(
    "section",
    { className: "courier-view courier-form", "aria-labelledby": "courier-form-title" },
    h(Router.Prompt, { message: () => leaving.current || !form.changed || UNSAVED }),
    h("h2", { id: "courier-form-title", tabIndex: -1, ref: heading }, titleOf(what, form)),
    h(Notices, { form, what, onCancel }),
    form.loaded
      ? h(Body, { form, loaded: form.loaded, what, advanced, setAdvanced, goTo: setWanted, goToFirst, cancel })
      : null,
  );
};

/**
 * Has the browser ask before a tab with unsaved changes is closed.
 * @param {boolean} changed
 * @param {{current: boolean}} leaving
 */
const useWarning = (changed, leaving) => {
  React.useEffect(() => {
    /** @param {BeforeUnloadEvent} event */
    const ask = (event) => {
      if (changed && !leaving.current) event.preventDefault();
    };
    window.addEventListener("beforeunload", ask);
    return () => window.removeEventListener("beforeunload", ask);
  }, [changed, leaving]);
};

/**
 * @param {import("./form_state.js").What} what
 * @param {import("./form_state.js").Form} form
 */
const titleOf = (what, { loaded, variant }) => {
  if (!loaded) return what.mode === "new" ? "New connection" : "Connection";
  if (what.mode === "edit") return `Edit ${loaded.base.name}`;
  const kind = variant?.label ?? loaded.kind.name;
  return what.mode === "copy" ? `Duplicate: ${kind}` : `New connection: ${kind}`;
};

/**
 * What a person must know before the fields.
 * @param {{form: import("./form_state.js").Form, what: import("./form_state.js").What, onCancel: () => void}} props
 */
const Notices = ({ form, what, onCancel }) => {
  const { loaded, failure, passed, elsewhere } = form;
  const known = new Set([NAME, STATE, ...form.fields].map((field) => field.key));
  const others = form.problems.filter((problem) => !known.has(problem.field));
  /** @param {string} label @param {() => void} onClick */
  const button = (label, onClick) => h(Bootstrap.Button, { variant: "secondary", size: "sm", onClick }, label);
  return h(
    React.Fragment,
    null,
    failure ? h(FailureNotice, { failure, retry: loaded ? undefined : form.retry }) : null,
    loaded && failure ? h("p", null, "Saving failed. What you typed is kept.") : null,
    loaded && passed ? h(Notice, { status: "warn" }, "Saving failed. What you typed is kept. Press Save again.") : null,
    failure && !loaded ? button("Back to the connections", onCancel) : null,
    !failure && !loaded ? h("p", { role: "status" }, "Loading…") : null,
    loaded && what.mode === "new" ? h("p", { className: "courier-help" }, loaded.kind.help) : null,
    loaded && what.mode === "copy"
      ? h(
          "p",
          { className: "courier-help" },
          "Keys and passwords are copied. If you change the address, enter them again.",
        )
      : null,
    elsewhere
      ? h(
          Notice,
          { status: "warn" },
          `Somebody else changed this connection${elsewhere.length ? `: ${elsewhere.join(", ")}` : ""}. `,
          "The form now shows what they saved, and what you typed is kept. Check it and save again.",
        )
      : null,
    form.restored
      ? h(
          Notice,
          { action: button("Discard it", form.forget) },
          "What you typed before is still here, without keys and passwords.",
        )
      : null,
    form.fixed && form.changed ? h(Notice, null, "The change is in the form. Save it to apply it.") : null,
    others.map((problem) => h(Notice, { key: problem.message, status: "fail" }, problem.message)),
  );
};

/**
 * @param {{form: import("./form_state.js").Form, loaded: import("./form_state.js").Loaded,
 *   what: import("./form_state.js").What, advanced: boolean, setAdvanced: (open: boolean) => void,
 *   goTo: (key: string) => void, goToFirst: (problems: import("./form_state.js").Problem[]) => void,
 *   cancel: () => void}} props
 */
const Body = ({ form, loaded, what, advanced, setAdvanced, goTo, goToFirst, cancel }) => {
  const { kind, base } = loaded;
  const webhook = kind.kind === "webhook";
  const [reporting, setReporting] = React.useState(false);
  const test = useTest(
    () => argumentsOf(kind, base, form.draft),
    { webhook, message: Boolean(form.variant?.is_message) },
    (steps) => {
      const wrong = steps.filter((step) => step.step === "fields").map(asProblem);
      form.setProblems(wrong);
      goToFirst(wrong);
    },
  );
  const save = async (/** @type {Event} */ event) => {
    event.preventDefault();
    goToFirst(await form.save());
  };
  return h(
    "form",
    { noValidate: true, onSubmit: save },
    h(FormFields, { form, loaded, advanced, setAdvanced }),
    h(
      "div",
      { className: "courier-actions" },
      h(Bootstrap.Button, { type: "submit", variant: "primary", disabled: form.busy }, form.busy ? "Saving…" : "Save"),
      h(Bootstrap.Button, { variant: "secondary", onClick: test.start }, "Test"),
      h(Bootstrap.Button, { variant: "secondary", onClick: cancel }, "Cancel"),
    ),
    h(TestPanel, {
      test,
      draft: true,
      report: what.mode === "edit" && !webhook ? () => setReporting(true) : null,
      label: (/** @type {string} */ key) => form.fields.find((field) => field.key === key)?.label ?? "",
      onField: goTo,
      onFix: (/** @type {import("./form_state.js").Fix} */ fix) => {
        form.apply(fix.values);
        if (!webhook) test.again();
      },
    }),
    reporting && base.id ? h(LibraryReport, { connection: base.id, close: () => setReporting(false) }) : null,
  );
};

/** @param {import("./test_steps.js").Step} step */
const asProblem = ({ field, text, fix }) => ({ field, message: text, fix });
