// The fields of the form: label, input, help, and what is wrong with a value.
import { Bootstrap, h, React } from "../shared/stash.js";
import { exampleOf, inputOf, isSecret } from "./draft.js";

/**
 * @typedef {import("./draft.js").Field} Field
 * @typedef {import("./draft.js").Input} Input
 * @typedef {import("./form_state.js").Draft} Draft
 */

// Every connection has these beside the fields of its kind. They are no values.
/** @type {Field} */
export const NAME = {
  key: "name",
  type: "text",
  label: "Name",
  help: "What this page and messages call the connection.",
  unset: "",
  example: "",
  choices: [],
  basic: true,
  required: true,
};
/** @type {Field} */
export const STATE = {
  ...NAME,
  key: "state",
  type: "choice",
  label: "State",
  help: "",
  choices: [
    { value: "on", label: "On" },
    { value: "paused", label: "Paused: changes are kept, and nothing is sent" },
    { value: "off", label: "Off: new changes are not kept" },
  ],
  basic: false,
  required: false,
};

/** The id of a field's input. @param {string} key */
export const inputId = (key) => `courier-field-${key}`;

/** Whether a field is shown at once, not below "Advanced". @param {Field} field */
export const isBasic = (field) => field.basic || field.required;

/**
 * @param {{form: import("./form_state.js").Form, loaded: import("./form_state.js").Loaded, advanced: boolean,
 *   setAdvanced: (open: boolean) => void}} props
 */
export const FormFields = ({ form, loaded: { base }, advanced, setAdvanced }) => {
  const { values } = form.draft;
  const rest = form.fields.filter((field) => !isBasic(field));
  const set = rest.filter(({ key }) => values[key] ?? (base.values[key] || base.secrets[key])).length;
  /** @param {Field} field */
  const draw = (field) => h(OneField, { key: field.key, field, form, base });
  const fold = (/** @type {any} */ event) => setAdvanced(event.currentTarget.open);
  return h(
    React.Fragment,
    null,
    form.fields.filter(isBasic).map(draw),
    draw(NAME),
    h(
      "details",
      { className: "courier-advanced", open: advanced, onToggle: fold },
      h("summary", null, set ? `Advanced (${set} set)` : "Advanced"),
      advanced ? [STATE, ...rest].map(draw) : null,
    ),
  );
};

/** @param {{field: Field, form: import("./form_state.js").Form, base: import("./draft.js").Base}} props */
const OneField = ({ field, form, base }) => {
  const { draft, setDraft } = form;
  const own = field.key === "name" || field.key === "state" ? field.key : null;
  const secret = !own && isSecret(field, base);
  const others = draft.removed.filter((key) => key !== field.key);
  /** @param {Input} typed */
  const onChange = (typed) =>
    setDraft((/** @type {Draft} */ now) =>
      own
        ? { ...now, [own]: String(typed) }
        : { ...now, values: { ...now.values, [field.key]: typed }, removed: others },
    );
  /** @param {boolean} removed */
  const onRemove = (removed) =>
    setDraft((/** @type {Draft} */ now) => ({ ...now, removed: removed ? [...others, field.key] : others }));
  const problem = form.problems.find((one) => one.field === field.key);
  const id = inputId(field.key);
  const value = own ? (draft[own] ?? base[own]) : inputOf(field, base, draft);
  const common = {
    id,
    name: id,
    value,
    "aria-describedby": [problem && `${id}-problem`, field.help && `${id}-help`].filter(Boolean).join(" ") || undefined,
    "aria-invalid": problem ? true : undefined,
  };
  const stored = secret && base.secrets[field.key] === true;
  const removed = draft.removed.includes(field.key);
  return h(
    "div",
    { className: problem ? "form-group courier-field courier-wrong" : "form-group courier-field" },
    field.type === "switch" ? null : h("label", { htmlFor: id }, field.label, field.required ? " (required)" : ""),
    secret
      ? h(SecretInput, { field, common, stored, removed, onChange, onRemove })
      : h(PlainInput, { field, common, onChange }),
    problem ? h(Wrong, { id: `${id}-problem`, problem, onFix: form.apply }) : null,
    field.help ? h("div", { id: `${id}-help`, className: "courier-help" }, field.help, unsetOf(field)) : null,
  );
};

/** @param {Field} field */
const unsetOf = (field) => {
  const quiet = !field.unset || field.type === "switch" || field.type === "choice";
  return quiet ? "" : ` If it is empty: ${field.unset}.`;
};

/**
 * @param {{id: string, problem: import("./form_state.js").Problem,
 *   onFix: (values: Record<string, unknown>) => void}} props
 */
const Wrong = ({ id, problem: { message, fix }, onFix }) =>
  h(
    "div",
    { className: "courier-fail" },
    h("span", { id }, message),
    fix
      ? h(
          Bootstrap.Button,
          { size: "sm", variant: "primary", onClick: () => onFix(fix.values) },
          fix.label,
        )
      : null,
  );

/** @param {{field: Field, common: any, onChange: (typed: Input) => void}} props */
const PlainInput = ({ field, common, onChange }) => {
  const onText = (/** @type {any} */ event) => onChange(event.target.value);
  if (field.type === "switch") {
    const { value, ...rest } = common;
    const onCheck = (/** @type {any} */ event) => onChange(event.target.checked);
    return h(Bootstrap.Form.Check, {
      ...rest,
      type: "checkbox",
      label: field.label,
      checked: value === true,
      onChange: onCheck,
    });
  }
  const text = {
    ...common,
    className: "form-control text-input",
    onChange: onText,
    spellCheck: false,
    autoComplete: "off",
  };
  if (field.type === "choice") {
    return h(
      "select",
      { ...text, className: "form-control" },
      field.choices.map((one) => h("option", { key: one.value, value: one.value }, one.label)),
    );
  }
  if (field.type === "list" || field.key.startsWith("template")) {
    const rows = Math.min(12, String(common.value).split("\n").length + 1);
    return h("textarea", { ...text, rows, placeholder: exampleOf(field) || "One entry per line" });
  }
  const number = field.type === "number";
  const placeholder = number ? field.unset : field.example;
  return h("input", { ...text, type: "text", inputMode: number ? "numeric" : undefined, placeholder });
};

/**
 * An input for what the server never gives back.
 * @param {{field: Field, common: any, stored: boolean, removed: boolean, onChange: (typed: Input) => void,
 *   onRemove: (removed: boolean) => void}} props
 */
const SecretInput = ({ field, common, stored, removed, onChange, onRemove }) => {
  const [visible, setVisible] = React.useState(false);
  const { value, ...rest } = common;
  const input = React.useRef(/** @type {HTMLInputElement | null} */ (null));
  // React would write the value of a controlled input into the document, where it can be read.
  React.useEffect(() => {
    if (input.current && input.current.value !== value) input.current.value = value;
  }, [value]);
  const kept = removed ? "It is removed when you save." : "Set. Leave it empty to keep it.";
  const placeholder = stored ? kept : field.type === "secret" ? field.example : "";
  /** @param {string} label @param {() => void} onClick */
  const button = (label, onClick) =>
    h(Bootstrap.Button, { variant: "secondary", "aria-label": `${label}: ${field.label}`, onClick }, label);
  return h(
    "div",
    { className: "courier-secret" },
    h("input", {
      ...rest,
      ref: input,
      className: "form-control text-input",
      type: visible ? "text" : "password",
      autoComplete: "new-password",
      spellCheck: false,
      placeholder,
      onChange: (/** @type {any} */ event) => onChange(event.target.value),
    }),
    value ? button(visible ? "Hide" : "Show", () => setVisible(!visible)) : null,
    stored && !value && !field.required ? button(removed ? "Keep" : "Remove", () => onRemove(!removed)) : null,
  );
};
