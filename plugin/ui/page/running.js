// Runs what a button does, one at a time, and says how it went.
import { changed } from "./api.js";
import { passes } from "./failures.js";
import { React } from "./stash.js";

/** @typedef {ReturnType<typeof useRunning>} Running */

/**
 * @param {() => Promise<void>} refresh called after each action, also after one that failed: it may have been done
 *   before its answer was lost
 * @param {number | undefined} polledAt as of `useFailure`
 */
export const useRunning = (refresh, polledAt) => {
  const [busy, setBusy] = React.useState(false);
  const [said, say] = React.useState("");
  const { failure, fail } = useFailure(polledAt);

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

/**
 * Why an action failed, until it is done again. What keeps any call from being answered, such as that Stash is away,
 * goes with the next answer to a poll.
 * @param {number | undefined} polledAt the time of the newest answer, unix seconds
 */
export const useFailure = (polledAt) => {
  const [state, setState] = React.useState(/** @type {{failure: import("./failures.js").Failure, at?: number} | null} */ (null));
  const latest = React.useRef(polledAt);
  latest.current = polledAt;
  const passed = state !== null && state.at !== polledAt && passes(state.failure);
  return {
    failure: passed ? null : (state?.failure ?? null),
    passed,
    /** @param {import("./failures.js").Failure | null} failure */
    fail: (failure) => setState(failure && { failure, at: latest.current }),
  };
};
