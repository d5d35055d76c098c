// One sentence with its next click, for banners and failed calls.
import { base, Bootstrap, h, React, Router } from "./stash.js";

const VARIANTS = /** @type {Record<string, string>} */ ({ ok: "success", warn: "warning", fail: "danger", info: "info" });

/**
 * @param {object} props
 * @param {string} [props.status] ok, warn, fail or info
 * @param {any} [props.children] the sentence
 * @param {any} [props.action] a button or link
 */
export const Notice = ({ status = "info", children, action }) =>
  h(
    Bootstrap.Alert,
    { variant: VARIANTS[status] ?? "info", className: "courier-notice", role: status === "fail" ? "alert" : "status" },
    h("span", null, children),
    action,
  );

/** What the page's own banner says, which nothing below it says again. */
export const Above = React.createContext("");

/**
 * A failed call.
 * @param {object} props
 * @param {import("./failures.js").Failure} props.failure
 * @param {string} [props.status] as of `Notice`
 * @param {() => void} [props.retry] adds a button that tries again, if the failure has no other next click
 * @param {boolean} [props.ofAction] a person pressed something, and sees beside it that it failed in any case
 */
export const FailureNotice = ({ failure, status = "fail", retry, ofAction = false }) => {
  const said = React.useContext(Above) === failure.message;
  if (said) return ofAction ? h(Notice, { status }, "This failed. The reason is at the top of the page.") : null;
  return h(Notice, { status, action: nextClick(failure, retry) }, failure.message);
};

/**
 * @param {import("./failures.js").Failure} failure
 * @param {(() => void) | undefined} retry
 */
const nextClick = ({ kind, action }, retry) => {
  const look = { variant: "secondary", size: "sm" };
  if (action?.reload) return h(Bootstrap.Button, { ...look, onClick: () => window.location.reload() }, action.label);
  if (kind === "session" && action?.to) {
    // A new tab, so that nothing typed here is lost.
    return h(
      "a",
      { className: "btn btn-secondary btn-sm", href: base + action.to.slice(1), target: "_blank", rel: "noopener" },
      action.label,
    );
  }
  if (action?.to) return h(Router.Link, { className: "btn btn-secondary btn-sm", to: action.to }, action.label);
  return retry ? h(Bootstrap.Button, { ...look, onClick: retry }, "Try again") : null;
};
