// What would be sent to a connection at this moment. Nothing is sent, and the connection's host isn't asked.
import { call } from "./api.js";
import { FailureNotice } from "./notice.js";
import { usePolling } from "./poll.js";
import { h } from "./stash.js";

/**
 * @param {{destination: string, scene: number}} props
 */
export const SentNow = ({ destination, scene }) => {
  const key = JSON.stringify([destination, scene]);
  const { data, failure, refresh } = usePolling((signal) => call("preview", { destination, scene }, signal), 0, key);
  if (failure) return h(FailureNotice, { failure, retry: refresh });
  if (!data) return h("p", { className: "courier-muted" }, "Stash is asked for the scene.");
  return h("pre", { className: "courier-answer", tabIndex: 0, "aria-label": "What would be sent now" }, data.text);
};
