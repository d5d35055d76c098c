// Why a call failed, in one sentence, with what to do next. Pure, so that tests can replay what was seen in real
// versions of Stash: tests/samples/stash_failures.
import { duration } from "./words.js";

/**
 * @typedef {object} Failure
 * @property {string} kind "problem" (the mode's own sentence) or a key of `Kind`
 * @property {string} message a sentence for a person
 * @property {{label: string, to?: string, reload?: boolean}} [action] the next click: a path inside Stash, or a reload
 * @property {import("../connections/test_steps.js").Step[]} [steps] what is wrong with the values that were given
 * @property {boolean} [logged] each such call leaves a line in Stash's log, so it is repeated less often
 */

/**
 * @typedef {object} Answer what came back; empty when there was no answer
 * @property {number} [status] of HTTP
 * @property {number} [late] seconds after which the call was ended without an answer
 * @property {boolean} [json] whether the body was JSON
 * @property {string} [error] the message of the first GraphQL error
 * @property {Facts | null} [facts] what Stash says about the plugin, if it was asked
 * @property {string} [id] the plugin's id
 */

/**
 * @typedef {object} Facts the answer to `FACTS`
 * @property {{id: string, enabled: boolean}[] | null} plugins null when there is none
 * @property {{general: {pythonPath: string}}} configuration
 * @property {{message: string}[]} logs newest first
 */

/** The query for `Facts`. */
export const FACTS = "{ plugins { id enabled } configuration { general { pythonPath } } logs { message } }";

const SYSTEM = { label: "Open Settings → System", to: "/settings?tab=system" };
const PLUGINS = { label: "Open Settings → Plugins", to: "/settings?tab=plugins" };
const LOGS = { label: "Open Stash's log", to: "/settings?tab=logs" };
const RELOAD = { label: "Reload", reload: true };
const OUR_LINE = /^\[Plugin \/ Stash Courier\] /;

/** What Stash and the plugin say. The first that fits counts. @type {[RegExp, keyof typeof Kind][]} */
const SAID = [
  [/executable file not found|exit status 9009/, "python_missing"], // 9009: Windows
  [/^error running plugin: /, "python_wrong"],
  [/^Python \S+ \(.*was found, and Python \S+ or newer/, "python_old"],
  [/^The plugin can't start \(/, "incomplete"],
  [/^plugin .* is disabled$/, "disabled"],
  [/nil pointer dereference/, "removed"],
  [/^The mode '.*' is unknown\./, "other_version"],
  [/^signal: /, "stopped"],
  [/^exit status /, "ended"],
];
/** Kinds that happen to one call. All others keep any call from being answered. */
const OF_ONE_CALL = ["problem", "late", "other_version", "stopped", "ended", "failed"];
/** Kinds for which Stash's answer alone isn't enough. */
const UNCLEAR = ["removed", "ended", "python_wrong", "failed"];

const Kind = {
  /** @param {Answer} answer */
  away: ({ status }) => ({
    message: `Stash doesn't answer${status ? ` (the server in front of it says ${status})` : ""}. This page continues by itself when Stash is back.`,
  }),
  /** @param {Answer} answer */
  late: ({ late = 0 }) => ({
    message: `There was no answer within ${duration(late)}. Stash or its disk may be busy. Nothing in the queue is lost. Try again.`,
  }),
  session: () => ({
    message: "Your session in Stash has ended. Log in again in another tab; what you typed here stays.",
    action: { label: "Log in", to: "/login" },
  }),
  /** @param {Answer} answer */
  not_stash: ({ status }) => ({
    message: `Something else answers instead of Stash (HTTP ${status}), for example a login page in front of it. Reload this page.`,
    action: RELOAD,
  }),
  python_missing: () => ({
    message:
      "Stash finds no Python. Install Python 3.11 or newer, or enter its path in Settings → System → Python Executable Path.",
    action: SYSTEM,
  }),
  /** @param {Answer} answer */
  python_wrong: ({ facts }) => {
    const path = facts?.configuration?.general?.pythonPath;
    return {
      message: path
        ? `The program in Settings → System → Python Executable Path (${path}) isn't a Python that works. Enter another, or none.`
        : "Stash can't start its Python. Enter the path of Python 3.11 or newer in Settings → System → Python Executable Path.",
      action: SYSTEM,
    };
  },
  /** @param {Answer} answer */
  python_old: ({ error = "" }) => {
    const [, found, needed] = /^(Python \S+ \(.*?\)).*?and (Python \S+ or newer.*?) is needed/.exec(error) ?? [];
    return {
      message: `${found ?? "This Python"} is too old: ${needed ?? "a newer Python"} is needed. Enter its path in Settings → System → Python Executable Path. Changes are kept until then.`,
      action: SYSTEM,
    };
  },
  /** @param {Answer} answer */
  incomplete: ({ error = "" }) => {
    const [, why] = /^The plugin can't start \((.*)\)\. Install/.exec(error) ?? [];
    return {
      message: `The plugin's folder isn't complete${why ? ` (${why})` : ""}. Install the plugin again.`,
      action: PLUGINS,
    };
  },
  disabled: () => ({
    message: "The plugin is disabled. Enable it in Settings → Plugins.",
    action: PLUGINS,
  }),
  /** @param {Answer} answer */
  removed: ({ id }) => ({
    message: `Stash knows no plugin "${id}": it was removed, or its folder can't be read. Install it again, or press "Reload plugins".`,
    action: PLUGINS,
  }),
  other_version: () => ({
    message:
      'This page and the plugin are of different versions. Reload this page. If that doesn\'t help, press "Reload plugins" in Settings → Plugins.',
    action: RELOAD,
  }),
  stopped: () => ({
    message: "The plugin was stopped before it had answered. Nothing in the queue is lost. Try again.",
  }),
  /** @param {Answer} answer */
  ended: ({ error }) => ({
    message: `The plugin failed (${error ?? "it said nothing"}). Stash's log has the reason.`,
    action: LOGS,
  }),
  /** @param {Answer} answer */
  failed: ({ error, status }) => ({ message: error || `Stash answered HTTP ${status}.` }),
};

/**
 * Whether Stash must be asked for `Facts` before the kind is known.
 * @param {Answer} answer
 */
export const isUnclear = (answer) => UNCLEAR.includes(kindOf(answer));

/**
 * Whether a failure has passed when any later call is answered.
 * @param {Failure} failure
 */
export const passes = ({ kind }) => !OF_ONE_CALL.includes(kind);

/**
 * The reason of a failed call.
 * @param {Answer} answer
 * @returns {Failure}
 */
export const classify = (answer) => {
  const kind = kindOf(answer);
  const logged = kind === "late" || (answer.status === 200 && kind !== "not_stash");
  return { kind, logged, ...Kind[kind](answer) };
};

/**
 * The failure that a page has which was loaded before the plugin was updated, or null.
 * @param {string} page the version of the page
 * @param {string | undefined} plugin the version in an answer
 * @returns {Failure | null}
 */
export const outdated = (page, plugin) =>
  !plugin || plugin === page
    ? null
    : {
        kind: "outdated",
        message: `This page is of version ${page}, but version ${plugin} of the plugin is installed. Reload this page.`,
        action: RELOAD,
      };

/**
 * @param {Answer} answer
 * @returns {keyof typeof Kind}
 */
const kindOf = ({ status, late, json, error, facts, id }) => {
  if (late) return "late";
  if (status === undefined || (status >= 502 && status <= 504)) return "away";
  if (status === 401) return "session";
  if (!json) return "not_stash";
  if (status !== 200 && error === undefined) return "failed";
  // An answer without an error and without an output: what was started isn't the plugin.
  const said = error === undefined ? "ended" : (SAID.find(([words]) => words.test(error))?.[1] ?? "failed");
  return facts && UNCLEAR.includes(said) ? withFacts(said, facts, id) : said;
};

/**
 * @param {keyof typeof Kind} said
 * @param {Facts} facts
 * @param {string | undefined} id
 * @returns {keyof typeof Kind}
 */
const withFacts = (said, facts, id) => {
  const plugin = facts.plugins?.find((one) => one.id === id);
  if (!plugin) return "removed";
  if (!plugin.enabled) return "disabled";
  if (said !== "ended") return said === "removed" ? "failed" : said;
  const lines = facts.logs.map(({ message }) => message).filter((line) => OUR_LINE.test(line));
  if (/can't open file/.test(lines[0] ?? "")) return "incomplete";
  const failedInPython = lines.some((line) => /Traceback/.test(line));
  return facts.configuration.general.pythonPath && !failedInPython ? "python_wrong" : "ended";
};
