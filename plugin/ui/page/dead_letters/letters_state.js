// The list of dead letters: when it takes over what a call brings, as pure functions, and when it asks.
//
// Rows never move while something is selected. Then a poll asks only for what existed when the rows were shown
// (`as_of`), and the number of those that came since is all that changes.
import { call } from "../shared/api.js";
import { usePolling } from "../shared/poll.js";
import { React } from "../shared/stash.js";
import { asArguments } from "./letter_filters.js";

/**
 * @typedef {object} Row
 * @property {number} id
 * @property {number} scene_id negative: a message about trouble; 0: unknown
 * @property {string} title
 * @property {string} path
 * @property {string} destination the connection's id
 * @property {string} name the connection's name
 * @property {string} event
 * @property {string} group
 * @property {string} error_type
 * @property {string} label
 * @property {string} error_message
 * @property {string} cause the status and what the receiver answered, or else the message
 * @property {number} attempts
 * @property {number} failed_at
 * @property {string} state
 * @property {boolean} sendable
 *
 * @typedef {object} Group
 * @property {string} group
 * @property {string} destination
 * @property {string} name
 * @property {string} error_type
 * @property {string} label
 * @property {string} text
 * @property {number} count
 *
 * @typedef {{batch: number, count: number, until: number}} Discarded
 * @typedef {{first: number, count: number, scene_id: number | null, title: string | null}} Waiting how many follow
 *   when the dead letter `first` is delivered; 0: it was
 *
 * @typedef {object} Answer
 * @property {number} as_of
 * @property {number} total
 * @property {number} matching
 * @property {number} newer
 * @property {number} page
 * @property {number} pages
 * @property {Group[]} groups
 * @property {{id: string, name: string, count: number}[]} connections
 * @property {{error_type: string, label: string, count: number}[]} errors
 * @property {Row[]} rows
 * @property {Waiting[]} waiting
 * @property {Discarded | null} discarded
 *
 * @typedef {{filters: string, page: number}} View which rows are wanted: the filters, written as one text, and the page
 *
 * @typedef {object} Shown what the list shows
 * @property {Answer | null} answer null until the first one came
 * @property {View} view what it answers
 * @property {number} newer how many match and came since
 * @property {Discarded | null} discarded
 */

const SECONDS = 5; // between two polls
/** @type {Shown} */
const EMPTY = { answer: null, view: { filters: "", page: 1 }, newer: 0, discarded: null };

/**
 * The moment that the next call asks for; null: now. Further pages belong to the first one, so they don't move either.
 * @param {Shown} shown
 * @param {View} wanted
 * @param {boolean} held whether rows must not move
 */
export const momentFor = (shown, wanted, held) => {
  if (shown.answer === null || shown.view.filters !== wanted.filters) return null;
  return held || wanted.page > 1 ? shown.answer.as_of : null;
};

/**
 * What is shown after an answer.
 * @param {Shown} shown
 * @param {Answer} answer
 * @param {{view: View, moment: number | null, fresh: boolean}} asked what the call asked for; `fresh`: a person wants
 *   the rows as they are now
 * @param {{view: View, held: boolean}} now what is wanted now that the answer is here
 * @returns {Shown}
 */
export const received = (shown, answer, asked, now) => {
  if (!sameView(asked.view, now.view)) return shown; // changed meanwhile: another call is on its way
  if (now.held && !asked.fresh && sameView(shown.view, now.view)) {
    if (asked.moment === null) return shown; // it was asked before the first row was selected
    return { ...shown, newer: answer.newer, discarded: answer.discarded };
  }
  return { answer, view: asked.view, newer: answer.newer, discarded: answer.discarded };
};

/**
 * Whether two views are of the same rows.
 * @param {View} one
 * @param {View} other
 */
const sameView = (one, other) => one.filters === other.filters && one.page === other.page;

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
