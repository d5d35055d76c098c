// Asks again and again while the page is shown.
import { ANSWERED } from "./api.js";
import { passes } from "./failures.js";
import { React } from "./stash.js";

const LOGGED_SECONDS = 60; // between calls that fail with a line in Stash's log

/**
 * @template T
 * @typedef {object} Polled
 * @property {T | undefined} data the newest answer for the current key; undefined before the first
 * @property {import("./failures.js").Failure | null} failure why the last call failed; the data stay
 * @property {boolean} loading whether an answer for the current key has yet to come
 * @property {() => Promise<void>} refresh asks at once; ends when the answer is shown, also after a failure
 */

/**
 * Polls while the component is mounted and the tab is visible. The next call starts so many seconds after the end
 * of the last one, so slow answers never overlap, and an older answer never replaces a newer one. What keeps any call
 * from being answered, such as that Stash is away, passes when another call is answered: then it asks at once.
 * @template T
 * @param {(signal: AbortSignal) => Promise<T>} load
 * @param {number} seconds between the end of a call and the next; 0: only when the key changes, or by refresh
 * @param {string} [key] names what is asked for, such as the filters; when it changes, the answer is asked for at
 *   once, and `data` is undefined until it comes
 * @returns {Polled<T>}
 */
export const usePolling = (load, seconds, key = "") => {
  /** @type {[{key: string, data?: T, failure: any}, (state: any) => void]} */
  const [state, setState] = React.useState({ key, failure: null });
  const latest = React.useRef(load);
  latest.current = load;
  /** @type {{current: () => Promise<void>}} */
  const start = React.useRef(async () => {});

  React.useEffect(() => {
    const poller = startPolling((signal) => latest.current(signal), seconds, (answer) =>
      setState((/** @type {any} */ old) => ({ ...(old.key === key ? old : {}), key, ...answer })),
    );
    start.current = poller.refresh;
    return poller.stop;
  }, [key, seconds]);

  const refresh = React.useCallback(() => start.current(), []);
  const current = state.key === key;
  return {
    data: current ? state.data : undefined,
    failure: current ? state.failure : null,
    loading: !current || (state.data === undefined && !state.failure),
    refresh,
  };
};

/**
 * @template T
 * @param {(signal: AbortSignal) => Promise<T>} load
 * @param {number} seconds
 * @param {(answer: {data?: T, failure: any}) => void} show
 */
const startPolling = (load, seconds, show) => {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  let running = new AbortController();
  let stopped = false;
  let due = 0; // when to ask next, in milliseconds; Infinity: not by itself
  let answered = false; // whether another call was answered since this one began
  let held = false; // whether the last call failed as any call would have

  const wait = () => {
    clearTimeout(timer);
    if (stopped || document.hidden || due === Infinity) return;
    timer = setTimeout(ask, Math.max(0, due - Date.now()));
  };

  const ask = async () => {
    if (stopped) return; // an action that has just ended, on a page that was left
    clearTimeout(timer);
    running.abort(); // what is asked now is newer
    const mine = new AbortController();
    running = mine;
    due = Infinity; // until it has ended
    answered = held = false;
    /** @type {{data?: T, failure: any}} */
    let answer;
    try {
      answer = { data: await load(mine.signal), failure: null };
    } catch (failure) {
      answer = { failure };
    }
    if (mine.signal.aborted) return;
    held = answer.failure !== null && passes(answer.failure) && !answered;
    show(answer);
    // A call that leaves a line in Stash's log would fill it within minutes.
    const pause = answer.failure?.logged ? Math.max(seconds, LOGGED_SECONDS) : seconds;
    due = seconds ? Date.now() + pause * 1000 : Infinity;
    wait();
  };

  const goOn = () => {
    answered = true;
    if (!held) return;
    show({ failure: null });
    void ask();
  };

  window.addEventListener(ANSWERED, goOn);
  document.addEventListener("visibilitychange", wait);
  if (!document.hidden) void ask();

  return {
    refresh: ask,
    stop: () => {
      stopped = true;
      clearTimeout(timer);
      running.abort();
      window.removeEventListener(ANSWERED, goOn);
      document.removeEventListener("visibilitychange", wait);
    },
  };
};
