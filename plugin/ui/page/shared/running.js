// Runs what a button does, one at a time, and says how it went.
import { ANSWERED, changed } from "./api.js";
import { passes } from "./failures.js";
import { React } from "./stash.js";

const BRIEFLY = 8 * 1000; // milliseconds

/** @typedef {ReturnType<typeof useRunning>} Running */

/**
 * A sentence that goes by itself, because what was done is soon old.
 * @returns {[string, (text: string) => void]}
 */
export const useBriefly = () => {
  const [said, say] = React.useState("");
  React.useEffect(() => {
    if (!said) return undefined;
    const timer = setTimeout(() => say(""), BRIEFLY);
    return () => clearTimeout(timer);
  }, [said]);
  return [said, say];
};

/**
 * @param {() => Promise<void>} refresh called after each action, also after one that failed: it may have been done
 *   before its answer was lost
 */
export const useRunning = (refresh) => {
  const [busy, setBusy] = React.useState(false);
  const [said, say] = useBriefly();
  const { failure, fail } = useFailure();

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
 * passes when another call is answered.
 */
export const useFailure = () => {
  const [failure, setFailure] = React.useState(/** @type {import("./failures.js").Failure | null} */ (null));
  const [passed, setPassed] = React.useState(false);
  React.useEffect(() => {
    if (!failure || !passes(failure)) return undefined;
    const pass = () => setPassed(true);
    window.addEventListener(ANSWERED, pass);
    return () => window.removeEventListener(ANSWERED, pass);
  }, [failure]);
  const fail = React.useCallback((/** @type {import("./failures.js").Failure | null} */ problem) => {
    setFailure(problem);
    setPassed(false);
  }, []);
  return {
    failure: passed ? null : failure,
    /** Whether it failed for what has passed since. */
    passed,
    fail,
  };
};
