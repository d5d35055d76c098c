// Which dead letters are selected. Pure functions: a selection is never changed, each returns a new one.
//
// A selection holds rows of the page that is shown, or all that match the filters. "All" means those that existed
// when their number was shown: it remembers that moment (`asOf`) and that number.

/**
 * @typedef {{ids: ReadonlySet<number>, all: {asOf: number, count: number} | null}} Selection
 */

/** @type {Selection} */
export const NOTHING = { ids: new Set(), all: null };

/**
 * How many dead letters are selected.
 * @param {Selection} selection
 */
export const countOf = (selection) => (selection.all ? selection.all.count : selection.ids.size);

/**
 * Whether a row of the page is selected.
 * @param {Selection} selection
 * @param {number} id
 */
export const isSelected = (selection, id) => selection.all !== null || selection.ids.has(id);

/**
 * A click on a row's box. One row taken out of "all that match" leaves the rest of the page: what isn't in sight
 * is not selected any more.
 * @param {Selection} selection
 * @param {number} id
 * @param {readonly number[]} page the ids of the page's rows
 * @returns {Selection}
 */
export const toggled = (selection, id, page) => {
  const ids = new Set(selection.all ? page : selection.ids);
  if (!ids.delete(id)) ids.add(id);
  return { ids, all: null };
};

/**
 * A click on a row's box with Shift: this row and those between it and the row that was clicked before become
 * what that one is.
 * @param {Selection} selection
 * @param {number} from the id of the row that was clicked before
 * @param {number} to the id of this row
 * @param {readonly number[]} page
 * @returns {Selection}
 */
export const stretched = (selection, from, to, page) => {
  const [first, last] = [page.indexOf(from), page.indexOf(to)].sort((a, b) => a - b);
  if (first < 0) return toggled(selection, to, page);
  const ids = new Set(selection.all ? page : selection.ids);
  const selected = ids.has(from);
  for (const id of page.slice(first, last + 1)) {
    if (selected) ids.add(id);
    else ids.delete(id);
  }
  return { ids, all: null };
};

/**
 * What the box above the rows shows.
 * @param {Selection} selection
 * @param {readonly number[]} page
 * @returns {"none" | "some" | "all"}
 */
export const pageState = (selection, page) => {
  const chosen = page.filter((id) => isSelected(selection, id)).length;
  if (chosen === 0) return "none";
  return chosen === page.length ? "all" : "some";
};

/**
 * A click on the box above the rows: the whole page, or nothing if the whole page is selected.
 * @param {Selection} selection
 * @param {readonly number[]} page
 * @returns {Selection}
 */
export const pageToggled = (selection, page) =>
  pageState(selection, page) === "all" ? NOTHING : { ids: new Set(page), all: null };

/**
 * All that match the filters and existed at a moment.
 * @param {number} asOf unix seconds, as the answer with the count tells it
 * @param {number} count
 * @returns {Selection}
 */
export const everything = (asOf, count) => ({ ids: new Set(), all: { asOf, count } });

/**
 * What stays selected when the rows were replaced: those that are still shown.
 * @param {Selection} selection
 * @param {readonly number[]} page
 * @returns {Selection}
 */
export const kept = (selection, page) =>
  countOf(selection) === 0 ? selection : { ids: new Set(page.filter((id) => selection.ids.has(id))), all: null };

/**
 * The arguments with which a mode acts on the selection.
 * @param {Selection} selection
 * @param {Readonly<Record<string, unknown>>} filters the arguments for the filters, without empty ones
 * @returns {Record<string, unknown>}
 */
export const argumentsFor = (selection, filters) =>
  selection.all ? { ...filters, as_of: selection.all.asOf } : { ids: [...selection.ids] };
