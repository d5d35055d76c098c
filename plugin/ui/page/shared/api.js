// Calls of the plugin's modes. Plain fetch: Stash's own client sends the user to the login when the session has
// ended, and what was typed would be lost.
import { classify, FACTS, isUnclear } from "./failures.js";
import { base, pluginId } from "./stash.js";

/** An event of `window`: a mode has answered, so what kept all calls from being answered has passed. */
export const ANSWERED = "stash-courier:answered";

const QUERY = "mutation StashCourier($id: ID!, $args: Map) { runPluginOperation(plugin_id: $id, args: $args) }";

// After so many seconds without an answer a call ends, which ends its process. What is asked again and again has the
// shortest limit.
const SECONDS = 120;
/** @type {Readonly<Record<string, number>>} */
const LIMITS = {
  badge: 30,
  overview: 30,
  dead_letters: 30,
  outcomes: 30,
  receipt: 30,
  first_delivery: 30,
  test_connection: 300, // several requests, each with a limit of its own
  library_report: 3600, // compares all scenes
  send_existing: 3600, // reads all scenes
};

/**
 * Runs a mode of the plugin.
 * @param {string} mode
 * @param {Record<string, unknown>} [args]
 * @param {AbortSignal} [signal] ends the call, which kills the plugin's process
 * @returns {Promise<any>} the mode's answer; rejects with a `Failure` (failures.js), whose kind is "problem" if the
 *   mode answered with one, or with the signal's AbortError
 */
export const call = async (mode, args = {}, signal = undefined) => {
  const known = disabled;
  if (known && (await isDisabled(signal))) throw known;
  disabled = null;
  const answer = await send(QUERY, { id: pluginId, args: { ...args, mode } }, signal, LIMITS[mode]);
  const error = answer.body?.errors?.[0]?.message;
  const output = answer.body?.data?.runPluginOperation;
  if (answer.status === 200 && error === undefined && typeof output === "object" && output) {
    window.dispatchEvent(new Event(ANSWERED));
    if (output.problem) throw { kind: "problem", message: output.problem, steps: output.steps };
    return output;
  }
  const { status, late } = answer;
  const seen = { status, late, json: answer.body !== undefined, error, id: pluginId };
  const failure = classify(isUnclear(seen) ? { ...seen, facts: (await send(FACTS, {}, signal)).body?.data } : seen);
  if (failure.kind !== "disabled") throw failure;
  throw (disabled = { ...failure, logged: false });
};

// While the plugin is disabled, each call of a mode would leave a line in Stash's log. This query leaves none.
const PLUGINS = "{ plugins { id enabled } }";
/** @type {import("./failures.js").Failure | null} */
let disabled = null; // the failure, since a call found out

/** @param {AbortSignal} [signal] */
const isDisabled = async (signal) => {
  const { body } = await send(PLUGINS, {}, signal);
  return body?.data?.plugins?.some((/** @type {any} */ one) => one.id === pluginId && !one.enabled) ?? false;
};

/**
 * Asks Stash.
 * @param {string} query
 * @param {Record<string, unknown>} [variables]
 * @param {AbortSignal} [signal]
 * @param {number} [seconds] after which it gives up
 * @returns {Promise<{status?: number, body?: any, late?: number}>} without a status when there was no answer, and with the
 *   seconds as `late` when it gave up; without a body when it isn't JSON; rejects only with the signal's AbortError
 */
const send = async (query, variables = {}, signal = undefined, seconds = SECONDS) => {
  const ending = new AbortController();
  const end = () => ending.abort();
  if (signal?.aborted) end();
  signal?.addEventListener("abort", end);
  const timer = setTimeout(end, seconds * 1000);
  try {
    const response = await fetch(`${base}graphql`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ query, variables }),
      signal: ending.signal,
    });
    const text = await response.text();
    return { status: response.status, body: parsed(text) };
  } catch (error) {
    if (signal?.aborted) throw error;
    return ending.signal.aborted ? { late: seconds } : {};
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", end);
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
