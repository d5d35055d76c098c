// One field of the form: label, input, help and what is wrong with it.

import {Bootstrap, React, h} from "./stash.js";
import {exampleOf} from "./draft.js";

/** The id of a field's input, so that focus can be moved to it. @param {string} key */
export const inputId = (key) => `courier-field-${key}`;

/**
 * @param {{field: import("./draft.js").Field, value: import("./draft.js").Input, secret: boolean, stored: boolean,
 *   removed: boolean, problem: {message: string, fix?: {label: string, values: Record<string, unknown>}|null}|undefined,
 *   onChange: (value: import("./draft.js").Input) => void, onRemove: (removed: boolean) => void,
 *   onFix: (fix: {label: string, values: Record<string, unknown>}) => void}} props
 *   ``stored``: a secret is set on the server
 */
export function FormField(props) {
  const {field, problem} = props;
  const id = inputId(field.key);
  const described = [field.help ? `${id}-help` : "", problem ? `${id}-problem` : ""].filter(Boolean).join(" ");
  const aria = {"aria-describedby": described || undefined, "aria-invalid": problem ? true : undefined};
  const common = {id, name: `courier-${field.key}`, ...aria};
  const input = props.secret ? h(SecretInput, {...props, common}) : h(PlainInput, {...props, common});
  return h(
    Bootstrap.Form.Group,
    {className: `courier-field${problem ? " courier-field-wrong" : ""}`},
    field.type === "switch" && !props.secret
      ? input
      : [h("label", {key: "label", htmlFor: id}, field.label, field.required ? " (required)" : ""), h(React.Fragment, {key: "input"}, input)],
    problem ? h(Problem, {id: `${id}-problem`, problem, onFix: props.onFix}) : null,
    field.help ? h("div", {id: `${id}-help`, className: "courier-help"}, field.help, unsetOf(field)) : null,
  );
}

/** @param {{id: string, problem: {message: string, fix?: any}, onFix: (fix: any) => void}} props */
function Problem({id, problem, onFix}) {
  return h(
    "div",
    {id, className: "courier-problem"},
    problem.message,
    problem.fix
      ? h(Bootstrap.Button, {size: "sm", variant: "primary", className: "courier-fix", onClick: () => onFix(problem.fix)}, problem.fix.label)
      : null,
  );
}

/** @param {import("./draft.js").Field} field */
function unsetOf(field) {
  if (!field.unset || field.type === "switch" || field.type === "choice") return null;
  return ` If it is empty: ${field.unset}.`;
}

/** @param {any} props */
function PlainInput({field, value, onChange, common}) {
  /** @param {{target: {value: string}}} event */
  const typed = (event) => onChange(event.target.value);
  if (field.type === "switch") {
    return h(Bootstrap.Form.Check, {
      ...common,
      type: "checkbox",
      checked: value === true,
      label: field.label,
      onChange: (/** @type {any} */ event) => onChange(event.target.checked),
    });
  }
  if (field.type === "choice") {
    const options = field.choices.map((/** @type {any} */ one) => h("option", {key: one.value, value: one.value}, one.label));
    return h("select", {...common, className: "form-control", value, onChange: typed}, options);
  }
  const text = {...common, value, onChange: typed, className: "form-control text-input", spellCheck: false};
  if (field.type === "list" || field.key.startsWith("template")) {
    const rows = Math.min(12, Math.max(2, String(value).split("\n").length + 1));
    const placeholder = exampleOf(field) || (field.type === "list" ? "One entry per line" : "");
    return h("textarea", {...text, rows, placeholder});
  }
  const number = field.type === "number";
  const placeholder = number ? field.unset : field.example;
  return h("input", {...text, type: "text", inputMode: number ? "numeric" : undefined, placeholder, autoComplete: "off"});
}

/** An input for what the server never gives back. @param {any} props */
function SecretInput({field, value, stored, removed, onChange, onRemove, common}) {
  const [visible, setVisible] = React.useState(false);
  const placeholder = removed
    ? "Removed when you save"
    : stored
      ? "Set. Leave empty to keep it."
      : field.example && field.type === "secret"
        ? field.example
        : "";
  const input = h("input", {
    ...common,
    className: "form-control text-input",
    type: visible ? "text" : "password",
    autoComplete: "new-password",
    spellCheck: false,
    placeholder,
    value,
    onChange: (/** @type {any} */ event) => onChange(event.target.value),
  });
  const show = value
    ? h(Bootstrap.Button, {variant: "secondary", "aria-pressed": visible, "aria-label": `Show what you typed: ${field.label}`, onClick: () => setVisible(!visible)}, visible ? "Hide" : "Show")
    : null;
  const remove =
    stored && !value && !field.required
      ? h(Bootstrap.Button, {variant: "secondary", "aria-label": `${removed ? "Keep" : "Remove"}: ${field.label}`, onClick: () => onRemove(!removed)}, removed ? "Keep" : "Remove")
      : null;
  return h("div", {className: "courier-secret"}, input, show, remove);
}
