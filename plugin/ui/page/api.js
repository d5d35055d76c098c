// Calls of the plugin's modes. Plain fetch: Stash's own client sends the user to the login when the session has
// ended, and what was typed would be lost.
import { classify } from "./failures.js";
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
  const { response, body } = await send(mode, args, signal);
  const error = body?.errors?.[0]?.message;
  const output = body?.data?.runPluginOperation;
  if (!response?.ok || error !== undefined || typeof output !== "object" || !output) {
    throw classify({ status: response?.status, redirected: response?.redirected, error });
  }
  if (output.problem) throw { kind: "problem", message: output.problem };
  return output;
};

/**
 * @param {string} mode
 * @param {Record<string, unknown>} args
 * @param {AbortSignal | undefined} signal
 * @returns {Promise<{response?: Response, body?: any}>} without a response when Stash didn't answer
 */
const send = async (mode, args, signal) => {
  let response;
  try {
    response = await fetch(`${base}graphql`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ query: QUERY, variables: { id: pluginId, args: { ...args, mode } } }),
      signal,
    });
    return { response, body: await response.json() };
  } catch (error) {
    if (signal?.aborted) throw error;
    return { response };
  }
};

/** Has the badge in the navigation bar asked for again; to be called after what may change it. */
export const changed = () => window.dispatchEvent(new Event("stash-courier:changed"));
