// The rows of the list of dead letters, with a box each.
import { sceneName } from "../shared/links.js";
import { h, React } from "../shared/stash.js";
import { CardTable, Cell, Row } from "../shared/table.js";
import { ago, clock, number } from "../shared/words.js";
import { isSelected } from "./selection.js";

/** @type {Readonly<Record<string, string>>} */
export const STATES = {
  asked: "On its way back to the queue.",
  back: "Back in the queue.",
  after_one: "Sent when another one is delivered.",
  resolved: "Delivered since, or superseded by a newer change.",
  discarded: "Discarded.",
};

/**
 * @typedef {import("./letters_state.js").Row} Letter
 * @typedef {import("./selection.js").Selection} Selection
 */

/**
 * @param {object} props
 * @param {Letter[]} props.rows
 * @param {number} props.now the answer's time, unix seconds
 * @param {Selection} props.selection
 * @param {(id: number, stretch: boolean) => void} props.pick a click on a row's box, with Shift or without
 * @param {(id: number) => void} props.open
 */
export const LetterRows = ({ rows, now, selection, pick, open }) =>
  h(
    CardTable,
    {
      caption: "Dead letters, newest first",
      head: ["Selected", "Scene", "Connection", "What went wrong", "Attempts", "Failed"],
      className: "courier-letters",
    },
    rows.map((row) => h(LetterRow, { key: row.id, row, now, selected: isSelected(selection, row.id), pick, open })),
  );

/**
 * @param {object} props
 * @param {Letter} props.row
 * @param {number} props.now
 * @param {boolean} props.selected
 * @param {(id: number, stretch: boolean) => void} props.pick
 * @param {(id: number) => void} props.open
 */
const LetterRow = ({ row, now, selected, pick, open }) => {
  const name = sceneName(row.scene_id, row.title);
  const state = STATES[row.state] ?? (row.sendable ? null : "Can't be sent again.");
  return h(
    Row,
    { className: selected ? "courier-selected" : undefined },
    h(
      Cell,
      { className: "courier-box" },
      h(
        "label",
        null,
        h("input", {
          type: "checkbox",
          checked: selected,
          "aria-label": `Select ${name}`,
          onChange: (/** @type {any} */ event) => pick(row.id, event.nativeEvent.shiftKey === true),
        }),
      ),
    ),
    h(
      Cell,
      { label: "Scene" },
      h("button", { type: "button", className: "courier-open", onClick: () => open(row.id) }, name),
      row.path && h("small", { className: "courier-path" }, row.path),
    ),
    h(Cell, { label: "Connection" }, row.name),
    h(
      Cell,
      { label: "What went wrong" },
      h("strong", null, row.label),
      h("span", { className: "courier-message", title: row.error_message }, row.cause),
      state && h("em", null, state),
    ),
    h(Cell, { label: "Attempts" }, number(row.attempts)),
    h(Cell, { label: "Failed", className: "courier-time", title: clock(row.failed_at) }, ago(row.failed_at, now)),
  );
};

/**
 * A box that can also be half ticked.
 * @param {{state: "none" | "some" | "all", label: string, toggle: () => void, disabled?: boolean}} props
 */
export const PageBox = ({ state, label, toggle, disabled = false }) => {
  const box = React.useRef(/** @type {HTMLInputElement | null} */ (null));
  React.useEffect(() => {
    if (box.current) box.current.indeterminate = state === "some";
  }, [state]);
  return h(
    "label",
    { className: "courier-page-box" },
    h("input", { ref: box, type: "checkbox", checked: state === "all", disabled, onChange: toggle }),
    label,
  );
};
