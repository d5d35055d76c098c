// A table whose rows are cards on narrow screens. The roles are written out, because a browser takes them from a table
// that a style shows as blocks.
import { Bootstrap, h } from "./stash.js";

/**
 * @param {object} props
 * @param {string} props.caption read out, not shown
 * @param {string[]} props.head the columns' names
 * @param {string} [props.className]
 * @param {any} [props.children] rows
 */
export const CardTable = ({ caption, head, className = "", children }) =>
  h(
    Bootstrap.Table,
    { role: "table", className: `courier-table ${className}`, size: "sm" },
    h("caption", { className: "sr-only" }, caption),
    h(
      "thead",
      { role: "rowgroup" },
      h(
        Row,
        null,
        head.map((name) => h("th", { key: name, role: "columnheader", scope: "col" }, name)),
      ),
    ),
    h("tbody", { role: "rowgroup" }, children),
  );

/** @param {{className?: string, children?: any}} props */
export const Row = ({ className, children }) => h("tr", { role: "row", className }, children);

/**
 * @param {object} props
 * @param {string} [props.label] the column's name, shown on a card
 * @param {string} [props.className]
 * @param {string} [props.title]
 * @param {any} [props.children]
 */
export const Cell = ({ label, className, title, children }) =>
  h("td", { role: "cell", "data-label": label, className, title }, children);
