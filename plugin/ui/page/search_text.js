// A field whose text is searched when the typing pauses.
import { React, h } from "./stash.js";

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
