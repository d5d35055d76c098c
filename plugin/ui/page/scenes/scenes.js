// The view "Scenes": what happened to each scene at each connection.
import { pageNumber, useAddress } from "../shared/address.js";
import { call } from "../shared/api.js";
import { sceneName } from "../shared/links.js";
import { FailureNotice } from "../shared/notice.js";
import { Pager } from "../shared/pager.js";
import { usePolling } from "../shared/poll.js";
import { FilterChoice, SearchText } from "../shared/search.js";
import { h, React } from "../shared/stash.js";
import { CardTable, Cell, Row } from "../shared/table.js";
import { ago, clock, number } from "../shared/words.js";
import { ReceiptDialog } from "./receipt.js";

const SECONDS = 5; // between two polls

/**
 * @typedef {object} Outcome
 * @property {number} scene_id
 * @property {string} title
 * @property {string} path
 * @property {string} destination
 * @property {string} name
 * @property {number | null} at
 * @property {string} event
 * @property {number | null} event_at
 * @property {string} outcome
 * @property {string} text a sentence
 * @property {boolean} live
 * @property {boolean} has_receipt
 * @property {number | null} dead_letter
 *
 * @typedef {{page: number, more: boolean, waiting: number | null, rows: Outcome[]}} Answer
 */

/** @param {import("../main.js").ViewProps} props */
export const Scenes = ({ overview }) => {
  const address = useAddress();
  const text = address.get("text");
  const connection = address.get("connection");
  const page = pageNumber(address.get("page"));
  const args = {
    ...(text.trim() && { text: text.trim() }),
    ...(connection && { connection }),
    page,
  };
  const { data, failure, loading, refresh } = usePolling(
    (signal) => call("outcomes", args, signal),
    SECONDS,
    JSON.stringify(args),
  );
  // What was shown stays while another page is asked for, so that the list doesn't blink.
  const shown = React.useRef(/** @type {Answer | null} */ (null));
  if (data) shown.current = data;
  const connections = overview.data?.connections ?? [];
  const opened = openedIn(address.get("open"));
  return h(
    "section",
    { className: "courier-view", "aria-label": "What happened to this scene?", "aria-busy": loading },
    h("h2", null, "What happened to this scene?"),
    h(
      "form",
      {
        className: "courier-filters",
        role: "search",
        onSubmit: (/** @type {Event} */ event) => event.preventDefault(),
      },
      h(SearchText, {
        label: "Title, path or scene id",
        value: text,
        search: (/** @type {string} */ wanted) => address.change({ text: wanted, page: null }, { replace: true }),
      }),
      (connection || connections.length > 1) &&
        h(FilterChoice, {
          label: "Connection",
          value: connection,
          choices: connections.map((/** @type {any} */ one) => ({ value: one.id, text: one.name })),
          choose: (/** @type {string} */ wanted) => address.change({ connection: wanted, page: null }),
        }),
    ),
    failure && h(FailureNotice, { failure, retry: refresh }),
    shown.current && h(MoreWait, { answer: shown.current }),
    shown.current &&
      h(Outcomes, {
        answer: shown.current,
        filtered: text.trim() !== "" || connection !== "",
        open: (/** @type {Outcome} */ row) => address.change({ open: `${row.scene_id},${row.destination}` }),
        turn: (/** @type {number} */ wanted) => address.change({ page: wanted === 1 ? null : wanted }),
      }),
    opened &&
      h(ReceiptDialog, {
        key: address.get("open"),
        opened,
        close: () => address.change({ open: null }),
        sent: refresh,
      }),
  );
};

/**
 * What `open` in the address names.
 * @param {string} value
 * @returns {{scene: number, connection: string} | null}
 */
const openedIn = (value) => {
  const found = /^(\d{1,18}),(.+)$/.exec(value);
  return found && { scene: Number(found[1]), connection: found[2] };
};

/**
 * How many deliveries wait, if not all of them are listed.
 * @param {{answer: Answer}} props
 */
const MoreWait = ({ answer: { page, rows, waiting } }) => {
  const listed = rows.filter(({ live }) => live).length;
  if (page !== 1 || waiting === null || waiting <= listed) return null;
  return h("p", { className: "courier-help" }, `Waiting: ${number(waiting)}. Listed first: ${number(listed)} of them.`);
};

/**
 * @param {object} props
 * @param {Answer} props.answer
 * @param {boolean} props.filtered
 * @param {(row: Outcome) => void} props.open
 * @param {(page: number) => void} props.turn
 */
const Outcomes = ({ answer, filtered, open, turn }) => {
  if (!answer.rows.length) {
    const text =
      filtered || answer.page > 1 ? "Nothing is known about such a scene. Outcomes are kept for seven days." : "Nothing sent yet.";
    return h("p", { className: "courier-empty", role: "status" }, text);
  }
  return h(
    React.Fragment,
    null,
    h(
      CardTable,
      {
        caption: "Scenes and connections, newest first",
        head: ["Scene", "Connection", "What happened", "When"],
        className: "courier-outcomes",
      },
      answer.rows.map((row) => h(OutcomeRow, { key: `${row.scene_id},${row.destination}`, row, open })),
    ),
    h(Pager, { page: answer.page, pages: null, more: answer.more, turn }),
  );
};

/** @param {{row: Outcome, open: (row: Outcome) => void}} props */
const OutcomeRow = ({ row, open }) =>
  h(
    Row,
    null,
    h(
      Cell,
      { label: "Scene" },
      h(
        "button",
        { type: "button", className: "courier-open", onClick: () => open(row) },
        sceneName(row.scene_id, row.title),
      ),
      row.path && h("small", { className: "courier-path" }, row.path),
    ),
    h(Cell, { label: "Connection" }, row.name),
    h(Cell, { label: "What happened" }, row.text),
    h(
      Cell,
      { label: "When", className: "courier-time", title: row.at ? clock(row.at) : undefined },
      row.outcome === "sending" ? "now" : row.live ? "waiting" : row.at ? ago(row.at) : "",
    ),
  );
