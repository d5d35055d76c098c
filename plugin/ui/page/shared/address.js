// What the page's address says after the question mark: filters, the page of a list, what is open.
import { Router } from "./stash.js";

/**
 * The query with some values changed; an empty value is left out. Pure.
 * @param {string} query
 * @param {Readonly<Record<string, string | number | null>>} changes
 */
export const changed = (query, changes) => {
  const values = new URLSearchParams(query);
  for (const [name, value] of Object.entries(changes)) {
    if (value === null || value === "") values.delete(name);
    else values.set(name, String(value));
  }
  return values.toString();
};

/**
 * Reads and changes the address. `change` adds a step to the browser's history, unless it is told to replace.
 */
export const useAddress = () => {
  const history = Router.useHistory();
  const location = Router.useLocation();
  const values = new URLSearchParams(location.search);
  return {
    /** @param {string} name */
    get: (name) => values.get(name) ?? "",
    /**
     * @param {Readonly<Record<string, string | number | null>>} changes
     * @param {{replace?: boolean}} [how]
     */
    change: (changes, { replace = false } = {}) => {
      const now = history.location; // not what was rendered: two changes in a row must both count
      const next = { pathname: now.pathname, search: changed(now.search, changes) };
      if (replace) history.replace(next);
      else history.push(next);
    },
  };
};

/**
 * The page's number in the address; 1 if there is none.
 * @param {string} value
 */
export const pageNumber = (value) => (/^[1-9]\d{0,5}$/.test(value) ? Number(value) : 1);
