// Retries, discards and restores dead letters, and says what came of it.
import { call, changed } from "./api.js";
import { React } from "./stash.js";
import { number } from "./words.js";

/**
 * @typedef {import("./letter_actions.js").Action} Action
 * @typedef {{text: string, wrong: boolean}} Said
 */

/** @type {Record<Action, (args: Record<string, unknown>) => Promise<string>>} each returns what to say */
const DO = {
  retry: async (args) => saidOfRetry(await call("retry_dead_letters", args)),
  careful: async (args) => saidOfRetry(await call("retry_dead_letters", { ...args, careful: true })),
  discard: async (args) => {
    const { discarded } = await call("discard_dead_letters", args);
    return discarded ? "" : "Nothing was discarded: they were retried or discarded already."; // else the bar says it
  },
};

/** @param {{retried: number, after_one: number, unsendable: number}} answer */
const saidOfRetry = ({ retried, after_one: waiting, unsendable }) => {
  const said = [`Queued again: ${number(retried)}.`];
  if (waiting) said.push(`Sent when that one is delivered: ${number(waiting)}.`);
  if (unsendable) {
    said.push(
      `Can't be sent again: ${number(unsendable)}. Their connection was deleted, or their event can't be read.`,
    );
  }
  return said.join(" ");
};

/**
 * @param {() => Promise<void>} reload called after each action
 */
export const useDoing = (reload) => {
  const [busy, setBusy] = React.useState(false);
  const [said, setSaid] = React.useState(/** @type {Said | null} */ (null));

  /** @param {() => Promise<string>} work */
  const perform = async (work) => {
    setBusy(true);
    setSaid(null);
    /** @type {Said} */
    let result;
    try {
      result = { text: await work(), wrong: false };
      changed();
    } catch (failure) {
      result = { text: /** @type {import("./failures.js").Failure} */ (failure).message, wrong: true };
    }
    await reload(); // also after a failure: it may have been done before the answer was lost
    setSaid(result);
    setBusy(false);
  };

  return {
    busy,
    said,
    /**
     * @param {Action} action
     * @param {Record<string, unknown>} args
     */
    act: (action, args) => perform(() => DO[action](args)),
    /** @param {number} batch */
    undo: (batch) =>
      perform(async () => `Restored: ${number((await call("restore_dead_letters", { batch })).restored)}.`),
  };
};
