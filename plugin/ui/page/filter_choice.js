// A filter that is chosen from a list.
import { h } from "./stash.js";

/**
 * @param {{label: string, value: string, choices: {value: string, text: string}[], choose: (value: string) => void}} props
 */
export const FilterChoice = ({ label, value, choices, choose }) => {
  // What the address names may be in no row any more. It stays the choice, so that the form tells the truth.
  const known = value === "" || choices.some((choice) => choice.value === value);
  return h(
    "label",
    { className: "courier-filter" },
    label,
    h(
      "select",
      { className: "form-control", value, onChange: (/** @type {any} */ event) => choose(event.target.value) },
      h("option", { value: "" }, "All"),
      !known && h("option", { value }, value),
      choices.map((choice) => h("option", { key: choice.value, value: choice.value }, choice.text)),
    ),
  );
};
