// Retries, discards and restores dead letters, and says what came of it.
import { call } from "./api.js";
import { useRunning } from "./running.js";
import { number } from "./words.js";

/** @typedef {import("./letter_actions.js").Action} Action */

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
