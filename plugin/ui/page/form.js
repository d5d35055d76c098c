// The form of one connection: new, changed, or a copy of another.

import {argumentsOf, inputOf, isSecret} from "./draft.js";
import {FormField, inputId} from "./fields.js";
import {useConnectionForm} from "./form_state.js";
import {Bootstrap, React, Router, h} from "./stash.js";
import {TestPanel, useTest} from "./test_steps.js";

const UNSAVED = "You have changes that aren't saved. Leave anyway?";
const STATES = [
  {value: "on", label: "On"},
  {value: "paused", label: "Paused: changes are kept and nothing is sent"},
  {value: "off", label: "Off: new changes are not kept"},
];
/** The two fields that every connection has beside those of its kind. */
const NAME = {key: "name", type: "text", label: "Name", help: "", unset: "", example: "", choices: [], basic: true, required: true};
const STATE = {...NAME, key: "state", type: "choice", label: "State", choices: STATES, basic: false, required: false};

/**
 * @param {{what: import("./form_state.js").What, fix: Record<string, unknown>|null, focus: string,
 *   onSaved: (answer: any, isNew: boolean) => void, onCancel: () => void}} props
 *   ``focus``: the field to begin with
 */
export function ConnectionForm({what, fix, focus, onSaved, onCancel}) {
  const leaving = React.useRef(false);
  const form = useConnectionForm(what, fix, (answer) => {
    leaving.current = true;
    onSaved(answer, what.mode !== "edit");
  });
  const [advanced, setAdvanced] = React.useState(false);
  const wanted = React.useRef(focus);
  const heading = React.useRef(/** @type {HTMLElement|null} */ (null));
  const ready = Boolean(form.kind);

  /** @param {string} key */
  const isAdvanced = (key) => key === "state" || form.fields.some((one) => one.key === key && !isBasic(one));
  /** Moves focus to a field when it is shown. @param {string} key */
  const goTo = (key) => {
    wanted.current = key;
    if (isAdvanced(key)) setAdvanced(true);
    setTimeout(() => focusOn(wanted), 0);
  };
  React.useEffect(() => {
    if (!ready) return;
    if (wanted.current) goTo(wanted.current);
    else if (heading.current) heading.current.focus();
  }, [ready]);
  React.useEffect(() => {
    const order = ["name", "state", ...form.fields.map((one) => one.key)];
    const first = order.find((key) => form.problems.some((problem) => problem.field === key));
    if (first) goTo(first);
  }, [form.problems]);
  useWarning(form.changed, leaving);

  const title = titleOf(what, form);
  return h(
    "section",
    {className: "courier-form", "aria-labelledby": "courier-form-title"},
    h(Router.Prompt, {message: () => leaving.current || !form.changed || UNSAVED}),
    h("h2", {id: "courier-form-title", tabIndex: -1, ref: heading}, title),
    form.kind && what.mode === "new" ? h("p", {className: "courier-help"}, form.kind.help) : null,
    h(Notices, {form, what, fixed: Boolean(fix), onCancel}),
    form.kind && form.base ? h(Fields, {form, what, advanced, setAdvanced, goTo, cancel}) : null,
  );

  function cancel() {
    form.forget();
    leaving.current = true;
    onCancel();
  }
}

/** @param {import("./draft.js").Field} field */
const isBasic = (field) => field.basic || field.required;

/** @param {{current: string}} wanted */
function focusOn(wanted) {
  const input = document.getElementById(inputId(wanted.current));
  if (!input) return;
  wanted.current = "";
  input.focus();
  input.scrollIntoView({block: "center"});
}

/** The browser asks before a tab with unsaved changes is closed. @param {boolean} changed @param {{current: boolean}} leaving */
function useWarning(changed, leaving) {
  React.useEffect(() => {
    if (!changed) return undefined;
    /** @param {BeforeUnloadEvent} event */
    const ask = (event) => {
      if (!leaving.current) event.preventDefault();
    };
    window.addEventListener("beforeunload", ask);
    return () => window.removeEventListener("beforeunload", ask);
  }, [changed]);
}

/** @param {import("./form_state.js").What} what @param {any} form */
function titleOf(what, form) {
  if (!form.kind) return what.mode === "new" ? "New connection" : "Connection";
  if (what.mode === "edit") return `Edit ${form.base.name}`;
  return what.mode === "copy" ? `Duplicate of a ${form.kind.name} connection` : `New connection: ${form.variant ? form.variant.label : form.kind.name}`;
}

/** What a person must know before the fields. @param {any} props */
function Notices({form, what, fixed, onCancel}) {
  const known = new Set(["name", "state", ...form.fields.map((/** @type {any} */ one) => one.key)]);
  const others = form.problems.filter((/** @type {any} */ one) => !known.has(one.field));
  return h(
    "div",
    {"aria-live": "polite"},
    form.failed
      ? h(
          "div",
          {className: "courier-notice courier-fail", role: "alert"},
          form.failed.message,
          " ",
          form.kind ? "What you typed is kept." : h(Bootstrap.Button, {size: "sm", variant: "secondary", onClick: form.retry}, "Try again"),
          form.kind ? null : h(Bootstrap.Button, {size: "sm", variant: "secondary", onClick: onCancel}, "Back to the connections"),
        )
      : null,
    form.elsewhere
      ? h(
          "div",
          {className: "courier-notice courier-warn", role: "alert"},
          "Somebody else changed this connection",
          form.elsewhere.length ? `: ${form.elsewhere.join(", ")}. ` : ". ",
          "The form shows their values now, and what you typed is kept. Check it and save again.",
        )
      : null,
    form.restored
      ? h(
          "div",
          {className: "courier-notice"},
          "What you typed before is still here, without keys and passwords. ",
          h(Bootstrap.Button, {size: "sm", variant: "secondary", onClick: form.forget}, "Discard it"),
        )
      : null,
    fixed && form.changed ? h("div", {className: "courier-notice"}, "The change is in the form. Save to apply it.") : null,
    what.mode === "copy" && form.kind
      ? h("p", {className: "courier-help"}, "Keys and passwords are taken over. If you change the address, enter them again.")
      : null,
    others.map((/** @type {any} */ one) => h("div", {key: one.field, className: "courier-notice courier-fail", role: "alert"}, one.message)),
  );
}

/** @param {any} props */
function Fields({form, what, advanced, setAdvanced, goTo, cancel}) {
  const {kind, base, draft, fields, variant} = form;
  /** @param {import("./draft.js").Field} field */
  const draw = (field) => h(OneField, {key: field.key, field, form});
  const rest = fields.filter((/** @type {any} */ one) => !isBasic(one));
  const set = rest.filter((/** @type {any} */ one) => base.values[one.key] || base.secrets[one.key]).length;
  const webhook = kind.kind === "webhook";
  const test = useTest(
    () => {
      const {state: _, ...tested} = argumentsOf(kind, base, draft);
      return tested;
    },
    {webhook, message: Boolean(variant && variant.is_message)},
  );
  return h(
    "form",
    {
      noValidate: true,
      onSubmit: (/** @type {any} */ event) => {
        event.preventDefault();
        form.save();
      },
    },
    fields.filter(isBasic).map(draw),
    draw(NAME),
    h(
      "details",
      {className: "courier-advanced", open: advanced, onToggle: (/** @type {any} */ event) => setAdvanced(event.currentTarget.open)},
      h("summary", null, set ? `Advanced (${set} set)` : "Advanced"),
      advanced ? [draw(STATE), ...rest.map(draw)] : null,
    ),
    h(
      "div",
      {className: "courier-actions"},
      h(Bootstrap.Button, {type: "submit", variant: "primary", disabled: form.busy}, form.busy ? "Saving…" : "Save"),
      h(Bootstrap.Button, {variant: "secondary", onClick: test.start}, "Test"),
      h(Bootstrap.Button, {variant: "secondary", onClick: cancel}, "Cancel"),
    ),
    h(TestPanel, {
      test,
      report: what.mode === "edit" && !webhook ? base.id : "",
      label: (/** @type {string} */ key) => (fields.find((/** @type {any} */ one) => one.key === key) || {label: ""}).label,
      onField: goTo,
      onFix: (/** @type {any} */ fix) => {
        form.apply(fix.values);
        if (!webhook) test.again();
      },
    }),
  );
}

/** @param {any} props */
function OneField({field, form}) {
  const {base, draft, setDraft} = form;
  const own = field.key === "name" || field.key === "state"; // these are no values
  const secret = !own && isSecret(field, base);
  const value = own ? (draft[field.key] === undefined ? base[field.key] : draft[field.key]) : inputOf(field, base, draft);
  return h(FormField, {
    field,
    value,
    secret,
    stored: secret && Boolean(base.secrets[field.key]),
    removed: draft.removed.includes(field.key),
    problem: form.problems.find((/** @type {any} */ one) => one.field === field.key),
    onChange: (/** @type {any} */ typed) =>
      setDraft((/** @type {any} */ now) =>
        own ? {...now, [field.key]: typed} : {...now, values: {...now.values, [field.key]: typed}, removed: typed ? now.removed.filter((/** @type {string} */ key) => key !== field.key) : now.removed},
      ),
    onRemove: (/** @type {boolean} */ removed) =>
      setDraft((/** @type {any} */ now) => ({
        ...now,
        removed: removed ? [...now.removed, field.key] : now.removed.filter((/** @type {string} */ key) => key !== field.key),
      })),
    onFix: (/** @type {any} */ fix) => form.apply(fix.values),
  });
}
