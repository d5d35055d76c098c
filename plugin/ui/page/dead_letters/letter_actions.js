// What can be done with dead letters: the bar above the rows, the question before, and what came of it.
import { call } from "../shared/api.js";
import { Dialog } from "../shared/dialog.js";
import { useRunning } from "../shared/running.js";
import { Bootstrap, h, React } from "../shared/stash.js";
import { number } from "../shared/words.js";
import { PageBox } from "./letter_rows.js";
import { countOf, pageState } from "./selection.js";

/**
 * @typedef {import("./selection.js").Selection} Selection
 * @typedef {"retry" | "careful" | "discard"} Action
 * @typedef {{action: Action, chosen: number, args: Record<string, unknown>}} Question what is to be done with which
 */

// What each action says: on its button, and in the dialog that asks first.
/** @type {Record<Action, {label: (chosen: number) => string, variant: string, text: string}>} */
const ACTIONS = {
  retry: {
    label: (chosen) => (chosen ? `Retry ${number(chosen)}` : "Retry"),
    variant: "primary",
    text: "Each is sent again with its scene's current state.",
  },
  careful: {
    label: (chosen) => `Retry one first, then the rest${chosen > 1 ? ` (${number(chosen)})` : ""}`,
    variant: "secondary",
    text: "One is sent first, with its scene's current state. If it is delivered, the rest follow.",
  },
  discard: {
    label: (chosen) => (chosen ? `Discard ${number(chosen)}` : "Discard"),
    variant: "danger",
    text: "They are not sent any more. You can undo this for 10 minutes.",
  },
};

/**
 * @param {object} props
 * @param {Selection} props.selection
 * @param {number[]} props.page the ids of the page's rows
 * @param {number} props.matching how many match the filters
 * @param {number} props.newer how many match and came since the rows were loaded
 * @param {boolean} props.busy whether an action is under way
 * @param {() => void} props.showNewer
 * @param {() => void} props.togglePage
 * @param {() => void} props.selectAll
 * @param {(action: Action) => void} props.act
 */
export const ActionBar = ({ selection, page, matching, newer, busy, showNewer, togglePage, selectAll, act }) => {
  const chosen = countOf(selection);
  return h(
    "div",
    { className: "courier-bar", role: "group", "aria-label": "Selected dead letters" },
    h(PageBox, {
      state: pageState(selection, page),
      label: `Select the page (${number(page.length)})`,
      disabled: busy,
      toggle: togglePage,
    }),
    matching > page.length &&
      h(
        Bootstrap.Button,
        { variant: "secondary", size: "sm", disabled: busy || selection.all !== null, onClick: selectAll },
        `Select all ${number(matching)} that match`,
      ),
    Object.entries(ACTIONS).map(([action, { label, variant }]) =>
      h(
        Bootstrap.Button,
        {
          key: action,
          variant,
          size: "sm",
          disabled: busy || chosen < (action === "careful" ? 2 : 1),
          onClick: () => act(/** @type {Action} */ (action)),
        },
        label(chosen),
      ),
    ),
    newer > 0 &&
      h(Bootstrap.Button, { variant: "info", size: "sm", disabled: busy, onClick: showNewer }, `${number(newer)} new`),
  );
};

/**
 * Asks before all that match are retried or discarded.
 * @param {object} props
 * @param {Question | null} props.question null: the dialog is closed
 * @param {() => void} props.confirm
 * @param {() => void} props.close
 */
export const ConfirmDialog = ({ question, confirm, close }) => {
  if (question === null) return null;
  const { label, variant, text } = ACTIONS[question.action];
  const footer = h(
    React.Fragment,
    null,
    h(Bootstrap.Button, { variant: "secondary", autoFocus: true, onClick: close }, "Cancel"),
    h(Bootstrap.Button, { variant, onClick: confirm }, label(question.chosen)),
  );
  return h(Dialog, { id: "courier-confirm", title: `All ${number(question.chosen)} that match`, close, footer }, text);
};

/** @type {Record<Action, (args: Record<string, unknown>) => Promise<string>>} each returns what to say */
const DO = {
  retry: async (args) => saidOfRetry(await call("retry_dead_letters", args)),
  careful: async (args) => saidOfRetry(await call("retry_dead_letters", { ...args, careful: true })),
  discard: async (args) => {
    const { discarded, newer } = await call("discard_dead_letters", args);
    if (newer) return leftAlone(newer);
    return discarded ? "" : "Nothing was discarded: they were retried or discarded already."; // else the bar says it
  },
};

/** @param {number} newer */
const leftAlone = (newer) => `Failed since the list was shown, so left alone: ${number(newer)}.`;

/** @param {{retried: number, after_one: number, unsendable: number, newer: number}} answer */
const saidOfRetry = ({ retried, after_one: waiting, unsendable, newer }) => {
  const said = [`Queued again: ${number(retried)}.`];
  if (waiting) said.push(`Sent when that one is delivered: ${number(waiting)}.`);
  if (newer) said.push(leftAlone(newer));
  if (retried) said.push("What fails again is listed here again.");
  if (unsendable) {
    said.push(
      `Can't be sent again: ${number(unsendable)}. Their connection was deleted, or their event can't be read.`,
    );
  }
  return said.join(" ");
};

/** @param {() => Promise<void>} reload called after each action */
export const useDoing = (reload) => {
  const { run, ...running } = useRunning(reload);
  return {
    ...running,
    /**
     * @param {Action} action
     * @param {Record<string, unknown>} args
     */
    act: (action, args) => run(() => DO[action](args)),
    /** @param {number} batch */
    undo: (batch) => run(async () => `Restored: ${number((await call("restore_dead_letters", { batch })).restored)}.`),
  };
};
