// Calls of the plugin's modes. Plain fetch: Stash's own client sends the user to the login when the session has
// ended, and what was typed would be lost.
import { FACTS, classify, isUnclear } from "./failures.js";
import { base, pluginId } from "./stash.js";

const QUERY = "mutation StashCourier($id: ID!, $args: Map) { runPluginOperation(plugin_id: $id, args: $args) }";

/**
 * Runs a mode of the plugin.
 * @param {string} mode
 * @param {Record<string, unknown>} [args]
 * @param {AbortSignal} [signal] ends the call, which kills the plugin's process
 * @returns {Promise<any>} the mode's answer; rejects with a `Failure` (failures.js), whose kind is "problem" if the
 *   mode answered with one, or with the signal's AbortError
 */
export const call = async (mode, args = {}, signal = undefined) => {
  const answer = await send(QUERY, { id: pluginId, args: { ...args, mode } }, signal);
  const error = answer.body?.errors?.[0]?.message;
  const output = answer.body?.data?.runPluginOperation;
  if (answer.status === 200 && error === undefined && typeof output === "object" && output) {
    if (output.problem) throw { kind: "problem", message: output.problem };
    return output;
  }
  const seen = { status: answer.status, json: answer.body !== undefined, error, id: pluginId };
  throw classify(isUnclear(seen) ? { ...seen, facts: (await send(FACTS, {}, signal)).body?.data } : seen);
};

/**
 * Asks Stash.
 * @param {string} query
 * @param {Record<string, unknown>} [variables]
 * @param {AbortSignal} [signal]
 * @returns {Promise<{status?: number, body?: any}>} without a status when nobody answered, without a body when it
 *   isn't JSON; rejects only with the signal's AbortError
 */
export const send = async (query, variables = {}, signal = undefined) => {
  try {
    const response = await fetch(`${base}graphql`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ query, variables }),
      signal,
    });
    const text = await response.text();
    return { status: response.status, body: parsed(text) };
  } catch (error) {
    if (signal?.aborted) throw error;
    return {};
  }
};

/** @param {string} text */
const parsed = (text) => {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
};

/**
 * Has the badge in the navigation bar asked for again; to be called after what may change it.
 * @param {string} [failed] why calls fail; the badge shows that instead
 */
export const changed = (failed) => window.dispatchEvent(new CustomEvent("stash-courier:changed", { detail: failed }));
