// Why a call failed, in one sentence, with what to do next.

/**
 * @typedef {object} Failure
 * @property {string} kind one of: problem, away, session, disabled, plugin
 * @property {string} message a sentence for a person
 * @property {{label: string, to?: string, reload?: boolean}} [action] the next click: a path inside Stash, or a reload
 */

/**
 * @typedef {object} Answer what came back from Stash; nothing of it when Stash didn't answer
 * @property {number} [status] of HTTP
 * @property {boolean} [redirected] to another address, such as the login
 * @property {string} [error] the message of the first GraphQL error
 */

/** @type {Failure} */
const AWAY = {
  kind: "away",
  message: "Stash doesn't answer. The page goes on by itself when Stash is back.",
};

/**
 * The reason of a failed call.
 * @param {Answer} answer
 * @returns {Failure}
 */
export const classify = ({ status, redirected, error }) => {
  if (status === undefined || status >= 502) return AWAY;
  if (status === 401 || redirected) {
    return {
      kind: "session",
      message: "Your session in Stash has ended. Log in again in another tab; what you typed here stays.",
      action: { label: "Log in", to: "/login" },
    };
  }
  if (error?.includes("is disabled")) {
    return {
      kind: "disabled",
      message: "The plugin is disabled, so nothing is delivered.",
      action: { label: "Open Plugins", to: "/settings?tab=plugins" },
    };
  }
  return { kind: "plugin", message: `The plugin failed: ${error || `HTTP ${status}`}` };
};
