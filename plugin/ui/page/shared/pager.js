// Turns the pages of a list.
import { Bootstrap, h } from "./stash.js";

/**
 * @param {{page: number, pages: number | null, more: boolean, turn: (page: number) => void}} props
 *   `pages` is null where the number of pages is unknown
 */
export const Pager = ({ page, pages, more, turn }) => {
  if (page === 1 && !more) return null;
  const place = pages === null ? `Page ${page}` : `Page ${page} of ${pages}`;
  return h(
    "nav",
    { className: "courier-pager", "aria-label": "Pages of the list" },
    h(Bootstrap.Button, { variant: "secondary", disabled: page === 1, onClick: () => turn(page - 1) }, "Previous"),
    h("span", { "aria-live": "polite" }, place),
    h(Bootstrap.Button, { variant: "secondary", disabled: !more, onClick: () => turn(page + 1) }, "Next"),
  );
};
