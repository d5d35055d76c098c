// What a person typed into the form of a connection, and what of it is sent to the plugin. Nothing here draws.
//
// A draft holds only what was touched. So what somebody else saved meanwhile can be put below it.

/**
 * @typedef {{value: string, label: string}} Choice
 * @typedef {{key: string, type: string, label: string, help: string, unset: string, example: string,
 *   choices: Choice[], basic: boolean, required: boolean}} Field
 * @typedef {{value: string, label: string, help: string, address: string, is_message: boolean,
 *   address_is_secret: boolean, advanced: string[], fields: Field[]}} Variant
 * @typedef {{kind: string, name: string, help: string, fields: Field[], variants: Variant[]}} Kind
 * @typedef {{id: string|null, copyOf: string|null, name: string, state: string, revision: number,
 *   values: Record<string, unknown>, secrets: Record<string, boolean>}} Base what is stored, without its secrets
 * @typedef {string|boolean} Input
 * @typedef {{name?: string, state?: string, values: Record<string, Input>, removed: string[]}} Draft
 *   ``removed``: secrets that are deleted by the save
 */

/** Fields whose entries are words, so that one line may hold several. Elsewhere a line is one entry. */
const WORDS = new Set(["events", "schedule", "skip_fields"]);
const FOLDERS = new Set(["path_map", "folders"]);

/** @type {Draft} */
export const UNTOUCHED = { values: {}, removed: [] };

/**
 * The receiver that is chosen; undefined for kinds that have no choice of receivers.
 * @param {Kind} kind
 * @param {Base} base
 * @param {Draft} draft
 * @returns {Variant|undefined}
 */
export function variantOf(kind, base, draft) {
  const chosen = draft.values.preset || base.values.preset;
  return kind.variants.find((one) => one.value === chosen) || kind.variants[0];
}

/**
 * The fields of the form, those of the chosen receiver after the address.
 * @param {Kind} kind
 * @param {Variant|undefined} variant
 * @returns {Field[]}
 */
export function fieldsOf(kind, variant) {
  if (!variant) return kind.fields;
  return kind.fields.flatMap((field) => {
    if (variant.advanced.includes(field.key)) return [{ ...field, basic: false }];
    if (field.key !== "url") return [field];
    return [{ ...field, help: variant.help, example: variant.address }, ...variant.fields];
  });
}

/**
 * Whether a stored value is never shown. This depends on what is stored: an address may be a secret, too.
 * @param {Field} field
 * @param {Base} base
 */
export function isSecret(field, base) {
  return field.type === "secret" || field.key in base.secrets;
}

/**
 * A stored value as the form shows it.
 * @param {Field} field
 * @param {unknown} raw
 * @returns {Input}
 */
export function shown(field, raw) {
  if (field.type === "switch") {
    if (raw === undefined || raw === null || raw === "") return field.unset.startsWith("on");
    return raw === true || (typeof raw === "string" && raw.toLowerCase() === "true");
  }
  if (field.type === "choice") return String(raw || (field.choices[0] || { value: "" }).value);
  if (field.type === "list") return entries(field, raw).join("\n");
  return raw === undefined || raw === null ? "" : String(raw);
}

/**
 * What the field shows now.
 * @param {Field} field
 * @param {Base} base
 * @param {Draft} draft
 * @returns {Input}
 */
export function inputOf(field, base, draft) {
  const typed = draft.values[field.key];
  if (typed !== undefined) return typed;
  return isSecret(field, base) ? "" : shown(field, base.values[field.key]);
}

/**
 * The example of a field, one entry per line for a list.
 * @param {Field} field
 */
export function exampleOf(field) {
  if (field.type !== "list") return field.example;
  return WORDS.has(field.key) ? entries(field, field.example).join("\n") : field.example;
}

/**
 * The draft with another value, as a fix gives it or a person typed it.
 * @param {Draft} draft
 * @param {Field[]} fields
 * @param {Record<string, unknown>} values
 * @returns {Draft}
 */
export function withValues(draft, fields, values) {
  /** @type {Record<string, Input>} */
  const changed = {};
  for (const [key, raw] of Object.entries(values)) {
    const field = fields.find((one) => one.key === key);
    changed[key] = field ? shown(field, raw) : String(raw);
  }
  const removed = draft.removed.filter((key) => !changed[key]);
  return { ...draft, values: { ...draft.values, ...changed }, removed };
}

/**
 * The values that the save changes, as the plugin takes them. "" unsets a field.
 * @param {Field[]} fields
 * @param {Base} base
 * @param {Draft} draft
 * @returns {Record<string, unknown>}
 */
export function changes(fields, base, draft) {
  /** @type {Record<string, unknown>} */
  const changed = {};
  for (const field of fields) {
    const typed = draft.values[field.key];
    if (isSecret(field, base)) {
      if (typed) changed[field.key] = typed;
      else if (draft.removed.includes(field.key)) changed[field.key] = "";
    } else if (typed !== undefined && typed !== shown(field, base.values[field.key])) {
      changed[field.key] = sent(field, typed);
    }
  }
  return changed;
}

/**
 * The arguments of save_connection and test_connection.
 * @param {Kind} kind
 * @param {Base} base
 * @param {Draft} draft
 * @returns {Record<string, unknown>}
 */
export function argumentsOf(kind, base, draft) {
  const values = changes(fieldsOf(kind, variantOf(kind, base, draft)), base, draft);
  if (base.id !== null) return { id: base.id, name: draft.name, state: draft.state, values };
  const common = { kind: kind.kind, name: given(draft.name, base.name), state: given(draft.state, base.state) };
  if (base.copyOf !== null) return { ...common, values, copy_of: base.copyOf };
  return { ...common, values: { ...base.values, ...values } };
}

/** @param {string|undefined} typed @param {string} stored */
const given = (typed, stored) => (typed === undefined ? stored : typed);

/**
 * Whether anything would be lost by leaving the form.
 * @param {Kind} kind
 * @param {Base} base
 * @param {Draft} draft
 */
export function isChanged(kind, base, draft) {
  const fields = fieldsOf(kind, variantOf(kind, base, draft));
  return (
    (draft.name !== undefined && draft.name !== base.name) ||
    (draft.state !== undefined && draft.state !== base.state) ||
    Object.keys(changes(fields, base, draft)).length > 0
  );
}

/**
 * The draft without what must not be kept in the browser: secrets, and addresses that may contain one.
 * @param {Kind} kind
 * @param {Base} base
 * @param {Draft} draft
 * @returns {Draft}
 */
export function withoutSecrets(kind, base, draft) {
  const variant = variantOf(kind, base, draft);
  const open = fieldsOf(kind, variant).filter((field) => {
    if (isSecret(field, base)) return false;
    if (!field.key.endsWith("url")) return true;
    return (
      !(field.key === "url" && variant && variant.address_is_secret) && !/[@?]/.test(String(draft.values[field.key]))
    );
  });
  const kept = open.filter((field) => draft.values[field.key] !== undefined);
  return { ...draft, values: Object.fromEntries(kept.map((field) => [field.key, draft.values[field.key]])) };
}

/**
 * Labels of what somebody else changed while a person typed.
 * @param {Field[]} fields
 * @param {Base} before
 * @param {Base} now
 */
export function changedElsewhere(fields, before, now) {
  const labels = fields
    .filter((field) => shown(field, before.values[field.key]) !== shown(field, now.values[field.key]))
    .map((field) => field.label);
  if (before.name !== now.name) labels.unshift("Name");
  if (before.state !== now.state) labels.unshift("State");
  return labels;
}

/**
 * @param {Field} field
 * @param {unknown} raw a list, or one text with separators, as the settings in Stash have it
 * @returns {string[]}
 */
function entries(field, raw) {
  if (Array.isArray(raw)) return raw.map(String);
  const separator = WORDS.has(field.key) ? /[\s,;]+/ : FOLDERS.has(field.key) ? /[;\n]/ : /[,;\n]/;
  return String(raw === undefined || raw === null ? "" : raw)
    .split(separator)
    .map((entry) => entry.trim())
    .filter(Boolean);
}

/**
 * @param {Field} field
 * @param {Input} typed
 * @returns {unknown}
 */
function sent(field, typed) {
  if (field.type !== "list") return typeof typed === "string" && field.type === "number" ? typed.trim() : typed;
  const separator = WORDS.has(field.key) ? /[\s,;]+/ : /\n/;
  const lines = String(typed)
    .split(separator)
    .map((line) => line.trim())
    .filter(Boolean);
  return lines.length ? lines : "";
}
