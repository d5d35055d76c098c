// Copies a text. Browsers offer their clipboard on https and localhost only; elsewhere an older way is tried.

/**
 * @param {string} text
 * @param {Element} place an element of the dialog that is open, or of the page: a dialog lets no other take the focus
 * @returns {Promise<boolean>} whether the text was copied
 */
export const copy = async (text, place) => {
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
