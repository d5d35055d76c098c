// The fields above a list: a text that is searched when the typing pauses, and a choice.
import { h, React } from "./stash.js";

const PAUSE = 300; // milliseconds without a key

/**
 * @param {{label: string, value: string, search: (text: string) => void}} props
 */
export const SearchText = ({ label, value, search }) => {
  const [typed, setTyped] = React.useState(value);
  const sent = React.useRef(value);
  const latest = React.useRef(search);
  latest.current = search;
  React.useEffect(() => {
    if (value === sent.current) return; // our own search: what was typed since stays
    sent.current = value; // Back was pressed, or the filters were cleared
    setTyped(value);
  }, [value]);
  React.useEffect(() => {
    if (typed === sent.current) return undefined;
    const timer = setTimeout(() => {
      sent.current = typed;
      latest.current(typed);
    }, PAUSE);
    return () => clearTimeout(timer);
  }, [typed]);
  return h(
    "label",
    { className: "courier-filter courier-filter-text" },
    label,
    h("input", {
      className: "form-control",
      type: "search",
      value: typed,
      maxLength: 300,
      onChange: (event) => setTyped(event.target.value),
    }),
  );
};

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
