// "Copy for a bug report": versions, states, counts and the last errors, without anything private.
import { call } from "./api.js";
import { CopyButton } from "./copy_button.js";
import { FailureNotice } from "./notice.js";
import { usePolling } from "./poll.js";
import { Bootstrap, React, h } from "./stash.js";

export const BugReport = () => {
  const [shown, show] = React.useState(false);
  const close = () => show(false);
  return h(
    React.Fragment,
    null,
    h(
      Bootstrap.Button,
      { variant: "secondary", size: "sm", className: "courier-bug-report", onClick: () => show(true) },
      "Copy for a bug report",
    ),
    h(
      Bootstrap.Modal,
      { show: shown, onHide: close, size: "lg", className: "courier-modal", "aria-labelledby": "courier-report" },
      h(
        Bootstrap.Modal.Header,
        { closeButton: true },
        h(Bootstrap.Modal.Title, { id: "courier-report", as: "h2" }, "For a bug report"),
      ),
      shown && h(Report, { close }),
    ),
  );
};

/** @param {{close: () => void}} props */
const Report = ({ close }) => {
  const { data, failure, refresh } = usePolling((signal) => call("bug_report", {}, signal), 0);
  return h(
    React.Fragment,
    null,
    h(
      Bootstrap.Modal.Body,
      null,
      h("p", null, "Titles, paths, hosts and names are replaced, so that this can be posted in public. Read it first."),
      failure && h(FailureNotice, { failure, retry: refresh }),
      h("textarea", {
        className: "form-control courier-report",
        readOnly: true,
        rows: 14,
        value: data?.text ?? "",
        "aria-label": "Text for a bug report",
        "aria-busy": !data && !failure,
      }),
    ),
    h(
      Bootstrap.Modal.Footer,
      null,
      data && h(CopyButton, { text: data.text, label: "Copy", variant: "primary", atOnce: true }),
      h(Bootstrap.Button, { variant: "secondary", onClick: close }, "Close"),
    ),
  );
};
