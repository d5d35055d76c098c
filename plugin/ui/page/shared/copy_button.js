// A button that copies a text and says so. Where the browser allows no copying, it shows the text to copy by hand.
import { Bootstrap, h, React } from "./stash.js";

/**
 * @param {object} props
 * @param {string} props.text
 * @param {string} props.label
 * @param {string} [props.variant]
 * @param {boolean} [props.atOnce] also copies when it is shown, which a click must have led to
 */
export const CopyButton = ({ text, label, variant = "secondary", atOnce = false }) => {
  const [done, setDone] = React.useState(/** @type {boolean | null} */ (null));
  const field = React.useRef(/** @type {HTMLTextAreaElement | null} */ (null));
  const button = React.useRef(/** @type {HTMLButtonElement | null} */ (null));
  React.useEffect(() => {
    setDone(null);
    if (atOnce && button.current) copy(text, placeOf(button.current)).then((copied) => copied && setDone(true));
  }, [text, atOnce]);
  React.useEffect(() => {
    if (done === false) field.current?.select();
  }, [done]);
  return h(
    React.Fragment,
    null,
    h(
      Bootstrap.Button,
      {
        variant,
        ref: button,
        onClick: async (/** @type {any} */ event) => setDone(await copy(text, placeOf(event.currentTarget))),
      },
      label,
    ),
    h("span", { role: "status", className: "courier-copied" }, done === true ? "Copied." : null),
    done === false &&
      h(
        "div",
        { className: "courier-copy-by-hand" },
        h("p", null, "This browser allows no copying here. Press Ctrl+C to copy the selected text."),
        h("textarea", { ref: field, readOnly: true, value: text, rows: 8, "aria-label": label }),
      ),
  );
};

/** @param {Element} button */
const placeOf = (button) => button.parentElement ?? document.body;

// Browsers offer their clipboard on https and localhost only; elsewhere an older way is tried.

/**
 * @param {string} text
 * @param {Element} place an element of the dialog that is open, or of the page: a dialog lets no other take the focus
 * @returns {Promise<boolean>} whether the text was copied
 */
const copy = async (text, place) => {
  if (navigator.clipboard) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      // Not permitted: the older way may be.
    }
  }
  return copyBySelecting(text, place);
};

/**
 * @param {string} text
 * @param {Element} place
 */
const copyBySelecting = (text, place) => {
  const focused = document.activeElement;
  const field = document.createElement("textarea");
  field.value = text;
  field.readOnly = true; // or a phone opens its keyboard
  field.className = "courier-offscreen";
  place.append(field);
  field.select();
  try {
    return document.execCommand("copy");
  } catch {
    return false;
  } finally {
    field.remove();
    if (focused instanceof HTMLElement) focused.focus();
  }
};
