// The plugin's part of Settings → Plugins: one line with the state in words, and the short list of common settings.
import { call, send } from "../shared/api.js";
import { classify } from "../shared/failures.js";
import { FailureNotice } from "../shared/notice.js";
import { usePolling } from "../shared/poll.js";
import { Bootstrap, h, parts, path, pluginId, React, Router, useSettings } from "../shared/stash.js";
import { number } from "../shared/words.js";
import { HEALTH } from "./health.js";

/**
 * @typedef {object} Setting as Stash describes it
 * @property {string} name
 * @property {string} [display_name]
 * @property {string} [description]
 * @property {string} type
 */

/** "1 to 100. Not set (0): 10." at the end of a number's description */
const RANGE = /(\d+) to (\d+)\. Not set \(0\): (.+)\.$/;

/** @param {{settings: Setting[], original: any}} props `original` is Stash's own form, for what can't be drawn here */
const PluginSettings = ({ settings, original }) => {
  const drawn = settings.every(({ type }) => type in FIELDS) && parts().Setting && parts().StringSetting;
  return h(React.Fragment, null, h(StateLine), drawn ? h(Form, { settings }) : original);
};
export default PluginSettings;

const StateLine = () => {
  const { data, failure } = usePolling((signal) => call("overview", {}, signal), 30);
  const [text, level] = failure ? [failure.message, "fail"] : inWords(data);
  return h(
    "div",
    { className: "courier-settings-line" },
    h(Router.Link, { className: "btn btn-primary", to: path }, "Open Stash Courier"),
    h("span", { role: "status", className: `courier-${level}` }, text),
  );
};

/**
 * The state in words, and how good it is.
 * @param {any} overview
 * @returns {[string, string]}
 */
const inWords = (overview) => {
  if (!overview) return ["", "muted"];
  const { banners, connections, dead_letters: dead } = overview;
  if (banners.length) return [banners[0].text, banners[0].status];
  if (!connections.length) return ["No connection yet, so nothing is sent.", "muted"];
  const found = Object.entries(HEALTH)
    .map(([health, [words, level]]) => {
      const count = connections.filter((/** @type {any} */ one) => one.health === health).length;
      return { count, level, text: `${number(count)} ${words[0].toLowerCase()}${words.slice(1)}` };
    })
    .filter(({ count }) => count);
  const waiting = connections.reduce(
    (/** @type {number} */ sum, /** @type {any} */ one) => sum + one.waiting + one.in_flight,
    overview.inbox,
  );
  const said = [
    dead ? `Dead letters: ${number(dead)}.` : "",
    `Connections: ${found.map(({ text }) => text).join(", ")}.`,
    waiting ? `Deliveries that wait: ${number(waiting)}.` : "",
  ];
  return [said.filter(Boolean).join(" "), dead ? "fail" : found[0].level];
};

/** @param {{settings: Setting[]}} props */
const Form = ({ settings }) => {
  const { values, failure, save, reload } = useValues();
  return h(
    "div",
    { className: "plugin-settings" },
    failure ? h(FailureNotice, { failure, retry: reload }) : null,
    values &&
      settings.map((setting) =>
        h(FIELDS[setting.type], {
          key: setting.name,
          id: `courier-${setting.name}`,
          setting,
          value: values[setting.name],
          save: (/** @type {unknown} */ value) => save(setting.name, value),
        }),
      ),
  );
};

/** @typedef {{id: string, setting: Setting, value: any, save: (value: unknown) => void}} FieldProps */

/** @param {Setting} setting */
const texts = ({ name, display_name: label, description }) => ({ heading: label ?? name, subHeading: description });

/** @param {FieldProps} props */
const StringField = ({ id, setting, value, save }) =>
  h(parts().StringSetting, {
    ...texts(setting),
    id,
    value: value ?? "",
    onChange: (/** @type {string} */ text) => save(text || undefined),
  });

/** @param {FieldProps} props */
const BooleanField = ({ id, setting, value, save }) =>
  h(parts().BooleanSetting, { ...texts(setting), id, checked: value ?? false, onChange: save });

/**
 * A number that is empty when it isn't set. Stash's own field would show 0, and can't make it unset again.
 * @param {FieldProps} props
 */
const NumberField = ({ id, setting, value, save }) => {
  const stored = value ? String(value) : ""; // 0 means that it isn't set
  const [typed, type] = React.useState(/** @type {string | null} */ (null));
  const [, low, high, unset] = RANGE.exec(setting.description ?? "") ?? [];
  const text = typed ?? stored;
  const wrong = wrongNumber(text, low, high);
  const enter = () => {
    if (typed === null || wrong) return;
    if (text.trim() !== stored) save(Number(text) || undefined);
    type(null);
  };
  return h(
    parts().Setting,
    { ...texts(setting), id },
    h(Bootstrap.Form.Control, {
      className: "text-input courier-number",
      "aria-label": setting.display_name ?? setting.name,
      "aria-describedby": wrong ? `${id}-wrong` : undefined,
      inputMode: "numeric",
      isInvalid: Boolean(wrong),
      placeholder: unset,
      value: text,
      onChange: (/** @type {any} */ { target }) => type(target.value),
      onBlur: enter,
      onKeyDown: (/** @type {any} */ { key }) => {
        if (key === "Enter") enter();
        if (key === "Escape") type(null);
      },
    }),
    wrong ? h("div", { id: `${id}-wrong`, role: "alert", className: "courier-fail" }, wrong) : null,
  );
};

/**
 * What is wrong with a number that was typed, or "".
 * @param {string} text
 * @param {string | undefined} low
 * @param {string | undefined} high
 */
const wrongNumber = (text, low = "0", high = "Infinity") => {
  const entered = Number(text);
  if (!text.trim() || entered === 0) return "";
  if (/^\s*\d+\s*$/.test(text) && entered >= Number(low) && entered <= Number(high)) return "";
  return `Enter a whole number from ${low} to ${high}, or nothing. It isn't saved yet.`;
};

const FIELDS = /** @type {Record<string, (props: FieldProps) => any>} */ ({
  STRING: StringField,
  NUMBER: NumberField,
  BOOLEAN: BooleanField,
});

// The plugin's settings on Stash's page: read and saved so that nothing else is overwritten.
//
// Stash's settings page reads the settings of all plugins once, and each of its saves writes all of them from that
// copy, a moment later. So an old tab, or one that was open while the plugin emptied a setting, would bring back what
// is gone. Here, what Stash has now is read first, whatever differs in Stash's copy is brought up to date, and only
// then is a key changed, all by Stash's own save. That also keeps Apollo's cache right; a direct write would not.

const QUERY = "{ configuration { plugins } }";
const STASH_SAVES = 2000; // milliseconds in which Stash's page has saved what was changed there
const TRIES = 5; // until what was entered here must have been saved

/** @typedef {Record<string, unknown>} Values the settings of one plugin that are set, by key */
/** @typedef {{values: Values | null, failure: import("../shared/failures.js").Failure | null, error?: unknown}} State */

/**
 * @returns {State & {save: (key: string, value: unknown) => void, reload: () => void}} values is null before the
 *   first answer; saving `undefined` makes a setting unset
 */
const useValues = () => {
  const context = useSettings();
  const latest = React.useRef(context);
  latest.current = context;
  const entered = React.useRef(/** @type {Values} */ ({})); // here, and not yet seen in an answer
  const [state, show] = React.useState(/** @type {State} */ ({ values: null, failure: null }));
  const last = React.useRef(Promise.resolve());

  const start = React.useCallback((/** @type {number} */ tries) => {
    const run = async () => {
      const plugins = await settled(await read(), () => latest.current.plugins);
      const ours = plugins[pluginId] ?? {};
      for (const [key, value] of Object.entries(entered.current)) {
        if (!tries || same([ours[key]], [value])) delete entered.current[key];
      }
      const wanted = applied(ours, entered.current);
      show({ values: wanted, failure: null });
      for (const [id, values] of Object.entries({ ...plugins, [pluginId]: wanted })) {
        if (same(values, latest.current.plugins[id] ?? {})) continue;
        latest.current.savePluginSettings(id, values);
        await pause(0); // Stash's next save begins with what this one has changed
      }
      if (Object.keys(entered.current).length) setTimeout(start, STASH_SAVES, tries - 1);
    };
    last.current = last.current.then(run).catch((failure) =>
      // What isn't a failed call is a mistake of ours: Stash's own form is shown instead.
      show((old) => (failure?.kind ? { ...old, failure } : { ...old, error: failure })),
    );
  }, []);
  if (state.error) throw state.error;

  const reload = React.useCallback(() => start(TRIES), [start]);
  React.useEffect(() => {
    if (context.loading) return undefined; // Stash has no copy yet
    const onVisible = () => document.hidden || reload();
    reload();
    document.addEventListener("visibilitychange", onVisible);
    return () => document.removeEventListener("visibilitychange", onVisible);
  }, [context.loading, reload]);

  const save = React.useCallback(
    (/** @type {string} */ key, /** @type {unknown} */ value) => {
      entered.current[key] = value;
      show((old) => ({ ...old, values: applied(old.values ?? {}, entered.current) }));
      reload();
    },
    [reload],
  );
  return { ...state, save, reload };
};

/**
 * What Stash has. If another plugin's settings differ from the copy of Stash's page, that may be about to be saved,
 * so they are read once more after a moment.
 * @param {Record<string, Values>} plugins
 * @param {() => Record<string, Values>} copy
 */
const settled = async (plugins, copy) => {
  const differs = Object.keys(plugins).some((id) => id !== pluginId && !same(plugins[id], copy()[id] ?? {}));
  if (!differs) return plugins;
  await pause(STASH_SAVES);
  return read();
};

/**
 * @param {Values} values
 * @param {Values} changes `undefined` makes a setting unset
 * @returns {Values}
 */
const applied = (values, changes) =>
  Object.fromEntries(Object.entries({ ...values, ...changes }).filter(([, value]) => value !== undefined));

/** @returns {Promise<Record<string, Values>>} the settings of all plugins, as Stash has them now */
const read = async () => {
  const { status, body } = await send(QUERY);
  const error = body?.errors?.[0]?.message;
  if (!body?.data?.configuration) throw classify({ status, json: body !== undefined, error });
  return body.data.configuration.plugins ?? {};
};

/**
 * @param {Values | unknown[]} one
 * @param {Values | unknown[]} other
 */
const same = (one, other) => inOrder(one) === inOrder(other);

/** @param {Values | unknown[]} values */
const inOrder = (values) => JSON.stringify(Object.entries(values).sort(([a], [b]) => (a < b ? -1 : 1)));

/** @param {number} milliseconds */
const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
