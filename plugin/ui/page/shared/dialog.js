// A dialog. It is shown while it is rendered; Escape and a click beside it close it, and the focus goes back.
import { Above } from "./notice.js";
import { Bootstrap, h } from "./stash.js";

/**
 * @param {object} props
 * @param {string} props.id of its title
 * @param {any} props.title
 * @param {() => void} props.close
 * @param {any} props.footer its buttons
 * @param {boolean} [props.large] also with a button to close it at its top
 * @param {any} [props.children]
 */
export const Dialog = ({ id, title, close, footer, large = false, children }) => {
  const { Body, Footer, Header, Title } = Bootstrap.Modal;
  return h(
    Bootstrap.Modal,
    {
      show: true,
      onHide: close,
      size: large ? "lg" : undefined,
      scrollable: large,
      className: "courier-modal",
      "aria-labelledby": id,
    },
    h(Header, { closeButton: large }, h(Title, { id, as: "h2" }, title)),
    h(Above.Provider, { value: "" }, h(Body, null, children)), // it covers the page's banner
    h(Footer, null, footer),
  );
};
