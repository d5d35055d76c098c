// Runs what a button does, one at a time, and says how it went.
import { changed } from "./api.js";
import { React } from "./stash.js";

/** @typedef {ReturnType<typeof useRunning>} Running */

/**
 * @param {() => Promise<void>} refresh called after each action, also after one that failed: it may have been done
 *   before its answer was lost
 */
export const useRunning = (refresh) => {
  const [busy, setBusy] = React.useState(false);
  const [said, say] = React.useState("");
  const [failure, fail] = React.useState(/** @type {import("./failures.js").Failure | null} */ (null));

  /** @param {() => Promise<string>} work returns what to say when it is done */
  const run = async (work) => {
    setBusy(true);
    say("");
    fail(null);
    let text = "";
    let problem = null;
    try {
      text = await work();
      changed();
    } catch (error) {
      problem = /** @type {import("./failures.js").Failure} */ (error);
    }
    await refresh();
    say(text);
    fail(problem);
    setBusy(false);
  };
  return { busy, said, failure, run };
};
