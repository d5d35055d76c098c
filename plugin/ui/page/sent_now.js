// What would be sent to a connection at this moment. Nothing is sent, and the connection's host isn't asked.
import { call } from "./api.js";
import { FailureNotice } from "./notice.js";
import { usePolling } from "./poll.js";
import { h } from "./stash.js";

const TITLE = "What would be sent now";

/**
 * @param {{destination: string, scene: number}} props
 */
export const SentNow = ({ destination, scene }) => {
  const key = JSON.stringify([destination, scene]);
  const { data, failure, refresh } = usePolling((signal) => call("preview", { destination, scene }, signal), 0, key);
  return h(
    "section",
    { "aria-label": TITLE, "aria-busy": !data && !failure },
    h("h3", null, TITLE),
    failure && h(FailureNotice, { failure, retry: refresh }),
    data && h("pre", { className: "courier-text", tabIndex: 0 }, data.text),
    !data && !failure && h("p", { className: "courier-muted" }, "Loading…"),
  );
};
