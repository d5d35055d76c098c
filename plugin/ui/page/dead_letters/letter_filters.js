// The groups of dead letters, by connection and error, and the filters above the list.
import { FilterChoice, SearchText } from "../shared/search.js";
import { h } from "../shared/stash.js";
import { number } from "../shared/words.js";

/**
 * @typedef {{connection: string, error: string, group: string, text: string}} Filters
 * @typedef {import("./letters_state.js").Answer} Answer
 */

/** @type {Filters} */
export const NO_FILTERS = { connection: "", error: "", group: "", text: "" };

/**
 * The filters as a mode's arguments.
 * @param {Filters} filters
 */
export const asArguments = ({ connection, error, group, text }) => {
  const given = { destination: connection, error_type: error, group, text: text.trim() };
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== ""));
};

/**
 * @param {{answer: Answer, filters: Filters, change: (changes: Partial<Filters>) => void}} props
 */
export const Groups = ({ answer, filters, change }) => {
  return h(
    "ul",
    { className: "courier-groups", "aria-label": "Groups of dead letters with the same cause" },
    answer.groups.map((group) => {
      const chosen = group.group === filters.group;
      return h(
        "li",
        { key: group.group },
        h(
          "button",
          {
            type: "button",
            "aria-pressed": chosen,
            className: "courier-choice",
            onClick: () => change({ ...NO_FILTERS, text: filters.text, group: chosen ? "" : group.group }),
          },
          h("strong", null, number(group.count)),
          " ",
          h("span", null, `${group.name}: ${group.label}`),
          h("small", null, group.text),
        ),
      );
    }),
  );
};

/**
 * @param {{answer: Answer, filters: Filters, change: (changes: Partial<Filters>, how?: {replace: boolean}) => void}} props
 */
export const FilterForm = ({ answer, filters, change }) => {
  return h(
    "form",
    { className: "courier-filters", role: "search", onSubmit: (event) => event.preventDefault() },
    h(FilterChoice, {
      label: "Connection",
      value: filters.connection,
      choices: answer.connections.map(({ id, name, count }) => ({ value: id, text: `${name} (${number(count)})` })),
      choose: (connection) => change({ connection, group: "" }),
    }),
    h(FilterChoice, {
      label: "Error",
      value: filters.error,
      choices: answer.errors.map((one) => ({ value: one.error_type, text: `${one.label} (${number(one.count)})` })),
      choose: (error) => change({ error, group: "" }),
    }),
    h(SearchText, {
      label: "Title, path or scene id",
      value: filters.text,
      search: (text) => change({ text }, { replace: true }),
    }),
  );
};
