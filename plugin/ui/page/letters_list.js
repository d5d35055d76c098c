// Loads the list of dead letters: at first, when filters or page change, on each poll, and after an action.
import { call } from "./api.js";
import { asArguments } from "./letter_filters.js";
import { EMPTY, momentFor, received, sameView } from "./letters_state.js";
import { usePolling } from "./poll.js";
import { React } from "./stash.js";

const SECONDS = 5; // between two polls

/**
 * @param {import("./letter_filters.js").Filters} filters
 * @param {number} page
 * @param {boolean} held whether rows must not move
 */
export const useLetters = (filters, page, held) => {
  const view = { filters: JSON.stringify(asArguments(filters)), page };
  const now = React.useRef({ view, held });
  now.current = { view, held };
  const shown = React.useRef(EMPTY); // stays while other filters are asked for, so that the list doesn't blink
  const fresh = React.useRef(false);

  const load = async (/** @type {AbortSignal} */ signal) => {
    const asked = {
      view: now.current.view,
      fresh: fresh.current,
      moment: fresh.current ? null : momentFor(shown.current, now.current.view, now.current.held),
    };
    const args = { ...JSON.parse(asked.view.filters), page: asked.view.page };
    const answer = await call("dead_letters", asked.moment === null ? args : { ...args, as_of: asked.moment }, signal);
    fresh.current = false;
    shown.current = received(shown.current, answer, asked, now.current);
    return shown.current;
  };
  const { failure, loading, refresh } = usePolling(load, SECONDS, JSON.stringify(view));

  return {
    shown: shown.current,
    failure,
    loading,
    /** Whether the rows are those of other filters or another page than the address names. */
    stale: !sameView(shown.current.view, view),
    /** Loads the rows as they are now, also while some are selected. */
    reload: () => {
      fresh.current = true;
      return refresh();
    },
  };
};
