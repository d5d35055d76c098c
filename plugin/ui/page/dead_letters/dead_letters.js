// The view "Dead letters": groups, filters, the list, and what can be done with what is selected.
import { pageNumber, useAddress } from "../shared/address.js";
import { sceneName } from "../shared/links.js";
import { FailureNotice, Notice } from "../shared/notice.js";
import { Pager } from "../shared/pager.js";
import { Bootstrap, h, React } from "../shared/stash.js";
import { clock, number, plural } from "../shared/words.js";
import { DeadLetterDialog } from "./dead_letter.js";
import { ActionBar, ConfirmDialog, useDoing } from "./letter_actions.js";
import { asArguments, FilterForm, Groups, NO_FILTERS } from "./letter_filters.js";
import { LetterRows } from "./letter_rows.js";
import { useLetters } from "./letters_state.js";
import { argumentsFor, countOf, everything, kept, NOTHING, pageToggled, stretched, toggled } from "./selection.js";

/**
 * @typedef {import("./letter_actions.js").Action} Action
 * @typedef {import("./letters_state.js").Answer} Answer
 * @typedef {import("./selection.js").Selection} Selection
 */

/** @param {Answer | null} answer */
const idsOf = (answer) => (answer ? answer.rows.map((row) => row.id) : []);

/** @param {import("../main.js").ViewProps} props */
export const DeadLetters = ({ overview }) => {
  const address = useAddress();
  const filters = {
    connection: address.get("connection"),
    error: address.get("error"),
    group: address.get("group"),
    text: address.get("text"),
  };
  const page = pageNumber(address.get("page"));
  const [selection, setSelection] = React.useState(NOTHING);
  const { shown, failure, loading, stale, reload } = useLetters(filters, page, countOf(selection) > 0);
  const doing = useDoing(async () => {
    setSelection(NOTHING);
    await Promise.all([reload(), overview.refresh()]);
  });
  // Tabs and badge count the same, so they are brought up to date with the list.
  const { data, refresh } = overview;
  const [total, counted] = [shown.answer?.total, data?.dead_letters];
  React.useEffect(() => {
    if (total !== undefined && counted !== undefined && (total !== counted || shown.newer)) void refresh();
  }, [total, counted, shown.newer, refresh]);
  // Rows that are out of sight are never selected.
  const view = JSON.stringify([asArguments(filters), page]);
  React.useEffect(() => setSelection(NOTHING), [view]);
  React.useEffect(() => setSelection((/** @type {Selection} */ now) => kept(now, idsOf(shown.answer))), [shown.answer]);

  // Nothing is done with rows that are about to be replaced: "all that match" would be others than those counted.
  const busy = doing.busy || stale;
  const open = Number(address.get("open")) || null;
  const dialog = open !== null && h(DeadLetterDialog, {
    key: open,
    id: open,
    groups: shown.answer?.groups ?? [],
    asOf: shown.answer?.as_of ?? 0,
    busy: doing.busy,
    act: (/** @type {Action} */ action, /** @type {Record<string, unknown>} */ args) => {
      address.change({ open: null }, { replace: true });
      return doing.act(action, args);
    },
    close: () => address.change({ open: null }),
  });
  return h(
    "section",
    { className: "courier-view", "aria-label": "Dead letters", "aria-busy": loading },
    failure && h(FailureNotice, { failure, retry: reload }),
    doing.failure && h(FailureNotice, { failure: doing.failure, ofAction: true }),
    doing.said && h(Notice, { status: "ok" }, doing.said),
    h(UndoBar, { discarded: shown.discarded, undo: doing.undo, busy: doing.busy }),
    shown.answer && h(Followers, { waiting: shown.answer.waiting }),
    shown.answer && h(List, { shown, filters, address, selection, setSelection, act: doing.act, reload, busy }),
    dialog,
  );
};

/**
 * What waits for the first one of a careful retry.
 * @param {{waiting: import("./letters_state.js").Waiting[]}} props
 */
const Followers = ({ waiting }) =>
  h(
    React.Fragment,
    null,
    waiting.map(({ first, count, scene_id: scene, title }) => {
      const when = first ? `when ${sceneName(scene ?? 0, title ?? "")} is delivered` : "now, as the first was delivered";
      return h("p", { key: first, className: "courier-help" }, `Sent ${when}: ${number(count)}.`);
    }),
  );

/**
 * @param {object} props
 * @param {import("./letters_state.js").Shown} props.shown
 * @param {import("./letter_filters.js").Filters} props.filters
 * @param {ReturnType<typeof useAddress>} props.address
 * @param {Selection} props.selection
 * @param {(selection: Selection) => void} props.setSelection
 * @param {ReturnType<typeof useDoing>["act"]} props.act
 * @param {() => Promise<void>} props.reload
 * @param {boolean} props.busy
 */
const List = ({ shown, filters, address, selection, setSelection, act, reload, busy }) => {
  const answer = /** @type {Answer} */ (shown.answer);
  const [question, ask] = React.useState(/** @type {import("./letter_actions.js").Question | null} */ (null));
  if (!answer.total) return h("p", { className: "courier-empty" }, "No dead letters.");

  const change = (/** @type {Partial<typeof NO_FILTERS>} */ changes, how = {}) =>
    address.change({ ...changes, page: null }, how);
  const press = (/** @type {Action} */ action) => {
    const args = argumentsFor(selection, asArguments(filters));
    if (selection.all) ask({ action, chosen: countOf(selection), args });
    else act(action, args);
  };
  const bar = h(ActionBar, {
    selection,
    page: idsOf(answer),
    matching: answer.matching,
    busy,
    newer: shown.newer,
    togglePage: () => setSelection(pageToggled(selection, idsOf(answer))),
    selectAll: () => setSelection(everything(answer.as_of, answer.matching)),
    showNewer: () => {
      address.change({ page: null }, { replace: true });
      reload();
    },
    act: press,
  });
  return h(
    React.Fragment,
    null,
    h(Groups, { answer, filters, change }),
    h(FilterForm, { answer, filters, change }),
    h(Found, { answer, filters, clear: () => change({ ...NO_FILTERS }) }),
    answer.rows.length > 0 && h(React.Fragment, null, bar, h(Rows, { answer, address, selection, setSelection })),
    h(ConfirmDialog, {
      question,
      close: () => ask(null),
      confirm: () => {
        ask(null);
        if (question) act(question.action, question.args);
      },
    }),
  );
};

/**
 * @param {{answer: Answer, address: ReturnType<typeof useAddress>, selection: Selection,
 *   setSelection: (selection: Selection) => void}} props
 */
const Rows = ({ answer, address, selection, setSelection }) => {
  const anchor = React.useRef(/** @type {number | null} */ (null));
  const ids = idsOf(answer);
  return h(
    React.Fragment,
    null,
    h(LetterRows, {
      rows: answer.rows,
      now: answer.as_of,
      selection,
      pick: (id, stretch) => {
        const from = anchor.current;
        setSelection(stretch && from !== null ? stretched(selection, from, id, ids) : toggled(selection, id, ids));
        anchor.current = id;
      },
      open: (id) => address.change({ open: id }),
    }),
    h(Pager, {
      page: answer.page,
      pages: answer.pages,
      more: answer.page < answer.pages,
      turn: (page) => address.change({ page: page === 1 ? null : page }),
    }),
  );
};

/**
 * How many there are.
 * @param {{answer: Answer, filters: import("./letter_filters.js").Filters, clear: () => void}} props
 */
const Found = ({ answer, filters, clear }) => {
  const total = plural(answer.total, "dead letter");
  const filtered = Object.keys(asArguments(filters)).length > 0;
  return h(
    "p",
    { className: "courier-found", role: "status" },
    filtered ? `${number(answer.matching)} of ${total} match.` : `${total}.`,
    filtered && h(Bootstrap.Button, { variant: "secondary", size: "sm", onClick: clear }, "Clear the filters"),
  );
};

// "10 discarded. Undo", for as long as that is possible: the server says until when, its clock counts.

/**
 * @param {{discarded: import("./letters_state.js").Discarded | null, undo: (batch: number) => void, busy: boolean}} props
 */
const UndoBar = ({ discarded, undo, busy }) => {
  if (discarded === null) return null;
  const action = h(Bootstrap.Button, { variant: "secondary", disabled: busy, onClick: () => undo(discarded.batch) }, "Undo");
  return h(Notice, { action }, `${number(discarded.count)} discarded. They can be restored until ${clock(discarded.until)}.`);
};
