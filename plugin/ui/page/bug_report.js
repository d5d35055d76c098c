// "Copy for a bug report": versions, kinds, states, counts and causes; no text that could be private.
import { call } from "./api.js";
import { CopyButton } from "./copy_button.js";
import { Dialog } from "./dialog.js";
import { FailureNotice } from "./notice.js";
import { usePolling } from "./poll.js";
import { Bootstrap, React, h } from "./stash.js";

export const BugReport = () => {
  const [shown, show] = React.useState(false);
  return h(
    React.Fragment,
    null,
    h(
      Bootstrap.Button,
      { variant: "secondary", size: "sm", className: "courier-bug-report", onClick: () => show(true) },
      "Copy for a bug report",
    ),
    shown && h(Report, { close: () => show(false) }),
  );
};

/** @param {{close: () => void}} props */
const Report = ({ close }) => {
  const { data, failure, refresh } = usePolling((signal) => call("bug_report", {}, signal), 0);
  return h(
    Dialog,
    {
      id: "courier-report",
      title: "For a bug report",
      large: true,
      close,
      footer: h(
        React.Fragment,
        null,
        data && h(CopyButton, { text: data.text, label: "Copy", variant: "primary", atOnce: true }),
        h(Bootstrap.Button, { variant: "secondary", onClick: close }, "Close"),
      ),
    },
    h("p", null, "It has no names, titles, paths or addresses, so it can be posted in public."),
    failure && h(FailureNotice, { failure, retry: refresh }),
    h("textarea", {
      className: "form-control courier-report-text",
      readOnly: true,
      rows: 14,
      value: data?.text ?? "",
      "aria-label": "Text for a bug report",
      "aria-busy": !data && !failure,
    }),
  );
};
