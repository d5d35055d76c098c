// The state of a connection's form: what is stored, what was typed, what is wrong with it.
import { call } from "../shared/api.js";
import { useFailure } from "../shared/running.js";
import { pluginId, React } from "../shared/stash.js";
import {
  argumentsOf,
  changedElsewhere,
  fieldsOf,
  isChanged,
  UNTOUCHED,
  variantOf,
  withoutSecrets,
  withValues,
} from "./draft.js";

/**
 * @typedef {{mode: "edit" | "new" | "copy", id: string, preset: string}} What
 *   `id`: of the connection that is edited or copied, or the kind of a new one
 * @typedef {{label: string, values: Record<string, unknown>}} Fix a change that one click applies
 * @typedef {{field: string, message: string, fix?: Fix | null}} Problem
 * @typedef {import("./draft.js").Draft} Draft
 * @typedef {{kind: import("./draft.js").Kind, base: import("./draft.js").Base}} Loaded
 * @typedef {ReturnType<typeof useConnectionForm>} Form
 */

/**
 * @param {What} given
 * @param {Record<string, unknown> | null} offered values that a card's button puts into the draft
 * @param {(answer: any) => void} onSaved
 */
export const useConnectionForm = (given, offered, onSaved) => {
  const [what] = React.useState(given); // this form is of one connection from beginning to end
  const [fix] = React.useState(offered);
  const typed = useDraft(what, fix);
  const { loaded, draft, setDraft, setRestored } = typed;
  const saving = useSaving(what, typed, onSaved);
  const { setProblems } = saving;
  const variant = loaded ? variantOf(loaded.kind, loaded.base, draft) : undefined;
  const fields = loaded ? fieldsOf(loaded.kind, variant) : [];
  return {
    ...typed,
    ...saving,
    fields,
    variant,
    /** Whether a card's button put values into the draft. */
    fixed: fix !== null,
    /** Puts values into the draft. @param {Record<string, unknown>} values */
    apply: (values) => {
      setDraft((/** @type {Draft} */ now) => withValues(now, fields, values));
      setProblems((/** @type {Problem[]} */ now) => now.filter((one) => !(one.field in values)));
    },
    /** Forgets what was typed. */
    forget: () => {
      keep(what, null);
      setRestored(false);
      setProblems([]);
      setDraft(UNTOUCHED);
    },
  };
};

/**
 * What is stored and what was typed, which the tab keeps.
 * @param {What} what
 * @param {Record<string, unknown> | null} fix
 */
const useDraft = (what, fix) => {
  const [tries, setTries] = React.useState(0);
  const [loaded, setLoaded] = React.useState(/** @type {Loaded | null} */ (null));
  const [draft, setDraft] = React.useState(/** @type {Draft} */ (UNTOUCHED));
  const { failure, passed, fail } = useFailure();
  const [restored, setRestored] = React.useState(false);
  const gone = React.useRef(false); // the form was left

  React.useEffect(() => () => void (gone.current = true), []);
  React.useEffect(() => {
    load(what).then(
      (found) => {
        if (gone.current) return;
        const before = kept(what);
        const fields = fieldsOf(found.kind, variantOf(found.kind, found.base, UNTOUCHED));
        fail(null);
        setRestored(Boolean(before));
        setDraft(fix ? withValues(before ?? UNTOUCHED, fields, fix) : (before ?? UNTOUCHED));
        setLoaded(found);
      },
      (problem) => gone.current || fail(problem),
    );
  }, [what, fix, tries, fail]);

  const changed = loaded !== null && isChanged(loaded.kind, loaded.base, draft);
  React.useEffect(() => {
    if (loaded) keep(what, changed ? withoutSecrets(loaded.kind, loaded.base, draft) : null);
  }, [what, loaded, draft, changed]);

  const retry = React.useCallback(() => setTries((/** @type {number} */ now) => now + 1), []);
  React.useEffect(() => {
    if (passed && !loaded) retry();
  }, [passed, loaded, retry]);
  return { loaded, setLoaded, draft, setDraft, failure, passed, fail, restored, setRestored, changed, gone, retry };
};

/**
 * @param {What} what
 * @param {ReturnType<typeof useDraft>} typed
 * @param {(answer: any) => void} onSaved
 */
const useSaving = (what, { loaded, setLoaded, draft, fail, gone }, onSaved) => {
  const [problems, setProblems] = React.useState(/** @type {Problem[]} */ ([]));
  const [elsewhere, setElsewhere] = React.useState(/** @type {string[] | null} */ (null)); // labels
  const [busy, setBusy] = React.useState(false);

  /**
   * Saves. If only other connections were changed meanwhile, it saves again on top of that.
   * @param {Loaded} on
   * @param {boolean} again
   * @returns {Promise<Problem[]>}
   */
  const attempt = async (on, again) => {
    const revision = on.base.revision;
    const answer = await call("save_connection", { ...argumentsOf(on.kind, on.base, draft), revision });
    if (answer.saved) {
      keep(what, null);
      onSaved(answer);
      return [];
    }
    if (answer.conflict) {
      const now = await load(what);
      const base = what.mode === "edit" ? now.base : { ...on.base, revision: now.base.revision };
      const labels = changedElsewhere(fieldsOf(now.kind, variantOf(now.kind, base, draft)), on.base, base);
      setLoaded({ ...now, base });
      if (again && !labels.length) return attempt({ ...now, base }, false);
      setElsewhere(labels);
    }
    setProblems(answer.problems);
    return answer.problems;
  };

  /** @returns {Promise<Problem[]>} what is wrong with the values */
  const save = async () => {
    if (!loaded || busy) return [];
    setBusy(true);
    fail(null);
    setProblems([]);
    setElsewhere(null);
    try {
      return await attempt(loaded, true);
    } catch (problem) {
      if (!gone.current) fail(/** @type {import("../shared/failures.js").Failure} */ (problem));
      return [];
    } finally {
      if (!gone.current) setBusy(false);
    }
  };
  return { save, busy, problems, setProblems, elsewhere };
};

/**
 * What is stored, and the kind's fields.
 * @param {What} what
 * @returns {Promise<Loaded>}
 */
const load = async (what) => {
  const [listed, known] = await Promise.all([call("connections"), call("connection_kinds")]);
  const entry = listed.connections.find((/** @type {any} */ one) => one.id === what.id);
  if (what.mode !== "new" && !entry) {
    throw { kind: "problem", message: "This connection doesn't exist. Somebody may have deleted it." };
  }
  const wanted = what.mode === "new" ? what.id : entry.kind;
  const plain = known.kinds.find((/** @type {any} */ one) => one.kind === wanted);
  if (!plain) throw { kind: "problem", message: "There is no such kind of connection. Choose another one." };
  const kind = { ...plain, fields: plain.fields.map((/** @type {any} */ field) => withCommon(field, listed.common)) };
  const { revision } = listed;
  if (what.mode === "edit") return { kind, base: { ...entry, copyOf: null, revision } };
  const taken = listed.connections.map((/** @type {any} */ one) => one.name.toLowerCase());
  if (what.mode === "copy") {
    const state = entry.state === "on" ? "on" : "paused";
    const name = free(`${entry.name} copy`, taken);
    return { kind, base: { ...entry, id: null, copyOf: entry.id, name, state, revision } };
  }
  const variant = kind.variants.find((/** @type {any} */ one) => one.value === what.preset);
  const name = free((variant ?? { label: kind.name }).label.replace(/ \(experimental\)$/, ""), taken);
  const values = variant ? { preset: variant.value } : {};
  return { kind, base: { id: null, copyOf: null, name, state: "on", values, secrets: {}, revision } };
};

/**
 * A field that says which common setting applies while it is unset, and where that is.
 * @param {import("./draft.js").Field} field
 * @param {Record<string, string>} common
 */
const withCommon = (field, common) =>
  field.key in common ? { ...field, unset: `${common[field.key]}, from Settings → Plugins` } : field;

/**
 * A name that no connection has.
 * @param {string} name
 * @param {string[]} taken
 */
const free = (name, taken) => {
  let found = name;
  for (let number = 2; taken.includes(found.toLowerCase()); number += 1) found = `${name} ${number}`;
  return found;
};

// A tab keeps a draft, so that it survives a login or a reload.

/** @param {What} what */
const place = (what) => `${pluginId}:draft:${what.mode}:${what.id}:${what.preset}`;

/**
 * @param {What} what
 * @returns {Draft | null}
 */
const kept = (what) => {
  try {
    const found = JSON.parse(sessionStorage.getItem(place(what)) ?? "null");
    return found?.values && Array.isArray(found.removed) ? found : null;
  } catch {
    return null; // no storage, or not ours
  }
};

/**
 * @param {What} what
 * @param {Draft | null} draft
 */
const keep = (what, draft) => {
  try {
    if (draft) sessionStorage.setItem(place(what), JSON.stringify(draft));
    else sessionStorage.removeItem(place(what));
  } catch {
    // Without storage the draft lives as long as the page.
  }
};
