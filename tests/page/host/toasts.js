// PluginApi.hooks.useToast: one short message at the bottom of the page. A success doesn't replace an error.
import React from "react";
import { Toast } from "react-bootstrap";

const h = React.createElement;
/** @typedef {{content: any, variant: string} | null} Shown */
const Context = React.createContext(/** @type {(next: Shown) => void} */ (() => {}));

/** @param {{children?: any}} props */
export const ToastProvider = ({ children }) => {
  const [shown, show] = React.useState(/** @type {Shown} */ (null));
  const add = React.useCallback(
    (/** @type {Shown} */ next) => show((old) => (old?.variant === "danger" && next?.variant === "success" ? old : next)),
    [],
  );
  return h(
    Context.Provider,
    { value: add },
    children,
    h(
      "div",
      { className: "toast-container", "aria-live": "polite" },
      shown ? h(/** @type {any} */ (Toast), { onClose: () => show(null), className: `toast-${shown.variant}` }, shown.content) : null,
    ),
  );
};

export const useToast = () => {
  const add = React.useContext(Context);
  return React.useMemo(
    () => ({
      toast: add,
      success: (/** @type {any} */ content) => add({ content, variant: "success" }),
      error: (/** @type {any} */ error) => add({ content: error?.message ?? String(error), variant: "danger" }),
    }),
    [add],
  );
};
