// The state of a connection's form: what is stored, what was typed, what is wrong with it.

import {call} from "./api.js";
import {UNTOUCHED, argumentsOf, changedElsewhere, fieldsOf, isChanged, variantOf, withoutSecrets, withValues} from "./draft.js";
import {React, pluginId} from "./stash.js";

/**
 * @typedef {{mode: "edit"|"new"|"copy", id: string, preset: string}} What
 *   ``id``: of the connection that is edited or copied, or the kind of a new one
 * @typedef {{field: string, message: string, fix?: {label: string, values: Record<string, unknown>}|null}} Problem
 * @typedef {{kind: import("./draft.js").Kind, base: import("./draft.js").Base}} Loaded
 */

/** Where a tab keeps a draft, so that it survives a login or a reload. @param {What} what */
const place = (what) => `${pluginId}:draft:${what.mode}:${what.id}:${what.preset}`;

/**
 * @param {What} what
 * @returns {import("./draft.js").Draft|null}
 */
function kept(what) {
  try {
    const found = JSON.parse(sessionStorage.getItem(place(what)) || "null");
    return found && found.values && Array.isArray(found.removed) ? found : null;
  } catch {
    return null; // no storage, or not ours
  }
}

/**
 * @param {What} what
 * @param {import("./draft.js").Draft|null} draft
 */
function keep(what, draft) {
  try {
    if (draft) sessionStorage.setItem(place(what), JSON.stringify(draft));
    else sessionStorage.removeItem(place(what));
  } catch {
    // Without storage the draft lives as long as the page.
  }
}

/**
 * What is stored, and the kind's fields.
 * @param {What} what
 * @returns {Promise<Loaded>}
 */
async function load(what) {
  const [listed, known] = await Promise.all([call("connections"), call("connection_kinds")]);
  const entry = listed.connections.find((/** @type {any} */ one) => one.id === what.id);
  if (what.mode !== "new" && !entry) {
    throw new Error("This connection doesn't exist any more. Somebody may have deleted it.");
  }
  const wanted = what.mode === "new" ? what.id : entry.kind;
  const kind = known.kinds.find((/** @type {any} */ one) => one.kind === wanted);
  if (!kind) throw new Error(`There is no kind of connection with the name ${wanted}. Choose another one.`);
  const {revision} = listed;
  if (what.mode === "edit") return {kind, base: {...entry, copyOf: null, revision}};
  const taken = listed.connections.map((/** @type {any} */ one) => one.name.toLowerCase());
  if (what.mode === "copy") {
    const name = free(`${entry.name} copy`, taken);
    return {kind, base: {...entry, id: null, copyOf: entry.id, name, state: entry.state === "on" ? "on" : "paused", revision}};
  }
  const variant = kind.variants.find((/** @type {any} */ one) => one.value === what.preset);
  const name = free(((variant && variant.label) || kind.name).replace(/ \(experimental\)$/, ""), taken);
  const values = variant ? {preset: variant.value} : {};
  return {kind, base: {id: null, copyOf: null, name, state: "on", values, secrets: {}, revision}};
}

/**
 * A name that no connection has.
 * @param {string} name
 * @param {string[]} taken
 */
function free(name, taken) {
  let number = 2;
  let found = name;
  for (; taken.includes(found.toLowerCase()); number += 1) found = `${name} ${number}`;
  return found;
}

/**
 * @param {What} what
 * @param {Record<string, unknown>|null} fix values that a card's button puts into the draft
 * @param {(answer: any) => void} onSaved
 */
export function useConnectionForm(what, fix, onSaved) {
  const [loaded, setLoaded] = React.useState(/** @type {Loaded|null} */ (null));
  const [draft, setDraft] = React.useState(/** @type {import("./draft.js").Draft} */ (UNTOUCHED));
  const [problems, setProblems] = React.useState(/** @type {Problem[]} */ ([]));
  const [failed, setFailed] = React.useState(/** @type {Error|null} */ (null));
  const [restored, setRestored] = React.useState(false);
  const [elsewhere, setElsewhere] = React.useState(/** @type {string[]|null} */ (null));
  const [busy, setBusy] = React.useState(false);
  const alive = React.useRef(true);
  React.useEffect(() => () => void (alive.current = false), []);

  const start = React.useCallback(async () => {
    setFailed(null);
    try {
      const found = await load(what);
      if (!alive.current) return;
      const before = kept(what);
      const fields = fieldsOf(found.kind, variantOf(found.kind, found.base, UNTOUCHED));
      setLoaded(found);
      setRestored(Boolean(before));
      setDraft(fix ? withValues(before || UNTOUCHED, fields, fix) : before || UNTOUCHED);
    } catch (error) {
      if (alive.current) setFailed(/** @type {Error} */ (error));
    }
  }, [what.mode, what.id, what.preset]);
  React.useEffect(() => void start(), [start]);

  const changed = Boolean(loaded) && isChanged(/** @type {Loaded} */ (loaded).kind, /** @type {Loaded} */ (loaded).base, draft);
  React.useEffect(() => {
    if (loaded) keep(what, changed ? withoutSecrets(loaded.kind, loaded.base, draft) : null);
  }, [loaded, draft, changed]);

  /**
   * Saves. If only another connection was changed meanwhile, the save is made again on top of that.
   * @param {Loaded} on
   * @param {boolean} again
   */
  async function attempt(on, again) {
    const answer = await call("save_connection", {...argumentsOf(on.kind, on.base, draft), revision: on.base.revision});
    if (answer.saved) {
      keep(what, null);
      onSaved(answer);
      return;
    }
    if (!answer.conflict) {
      setProblems(answer.problems);
      return;
    }
    const now = await load(what);
    const labels = changedElsewhere(fieldsOf(now.kind, variantOf(now.kind, now.base, draft)), on.base, now.base);
    const base = what.mode === "new" || what.mode === "copy" ? {...now.base, name: on.base.name} : now.base;
    setLoaded({...now, base});
    if (!again || (labels.length && what.mode === "edit")) setElsewhere(labels);
    else await attempt({...now, base}, false);
  }

  async function save() {
    if (!loaded || busy) return;
    setBusy(true);
    setFailed(null);
    setProblems([]);
    setElsewhere(null);
    try {
      await attempt(loaded, true);
    } catch (error) {
      if (alive.current) setFailed(/** @type {Error} */ (error));
    } finally {
      if (alive.current) setBusy(false);
    }
  }

  const {kind, base} = loaded || {kind: null, base: null};
  const fields = kind && base ? fieldsOf(kind, variantOf(kind, base, draft)) : [];
  return {
    kind,
    base,
    draft,
    fields,
    variant: kind && base ? variantOf(kind, base, draft) : undefined,
    problems,
    setProblems,
    failed,
    restored,
    elsewhere,
    busy,
    changed,
    retry: start,
    save,
    setDraft,
    /** @param {Record<string, unknown>} values */
    apply: (values) => {
      setDraft((now) => withValues(now, fields, values));
      setProblems((now) => now.filter((one) => !(one.field in values)));
    },
    forget: () => {
      keep(what, null);
      setRestored(false);
      setProblems([]);
      setDraft(UNTOUCHED);
    },
  };
}
