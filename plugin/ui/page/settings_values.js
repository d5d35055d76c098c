// The plugin's settings on Stash's page: read and saved so that nothing else is overwritten.
//
// Stash's settings page reads the settings of all plugins once, and each of its saves writes all of them from that
// copy, a moment later. So an old tab, or one that was open while the plugin emptied a setting, would bring back what
// is gone. Here, what Stash has now is read first, whatever differs in Stash's copy is brought up to date, and only
// then is a key changed, all by Stash's own save. That also keeps Apollo's cache right; a direct write would not.
import { send } from "./api.js";
import { classify } from "./failures.js";
import { React, pluginId, useSettings } from "./stash.js";

const QUERY = "{ configuration { plugins } }";
const STASH_SAVES = 2000; // milliseconds in which Stash's page has saved what was changed there
const TRIES = 5; // until what was entered here must have been saved

/** @typedef {Record<string, unknown>} Values the settings of one plugin that are set, by key */
/** @typedef {{values: Values | null, failure: import("./failures.js").Failure | null, error?: unknown}} State */

/**
 * @returns {State & {save: (key: string, value: unknown) => void, reload: () => void}} values is null before the
 *   first answer; saving `undefined` makes a setting unset
 */
export const useValues = () => {
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
