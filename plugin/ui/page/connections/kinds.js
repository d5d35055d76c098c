// Where changes can go: the kinds of connection, and for webhooks each receiver.
import { call } from "../shared/api.js";
import { FailureNotice } from "../shared/notice.js";
import { usePolling } from "../shared/poll.js";
import { Bootstrap, h, React } from "../shared/stash.js";

const MESSAGE = "A message for each change, to a chat or a phone.";
const EVENT = "Each change as JSON, to a program.";

/** @param {{go: import("./connections.js").Go, first: boolean}} props `first`: there is no connection yet */
export const Kinds = ({ go, first }) => {
  const { data, failure, refresh } = usePolling((signal) => call("connection_kinds", {}, signal), 0);
  const heading = React.useRef(/** @type {HTMLElement | null} */ (null));
  React.useEffect(() => {
    if (!first) heading.current?.focus();
  }, [first]);
  return h(
    "section",
    { className: "courier-view", "aria-labelledby": "courier-kinds" },
    h("h2", { id: "courier-kinds", tabIndex: -1, ref: heading }, "Where should changes go?"),
    first ? h("p", null, "Nothing is connected yet. Choose what gets the changes that you make in Stash.") : null,
    failure ? h(FailureNotice, { failure, retry: refresh }) : null,
    data
      ? h(
          "ul",
          { className: "courier-kinds" },
          choices(data.kinds).map((one) => h(Choice, { ...one, go })),
        )
      : null,
    first ? null : h(Bootstrap.Button, { variant: "secondary", onClick: () => go() }, "Cancel"),
  );
};

/**
 * What can be chosen: media servers that were tried with real servers first, then the others, then receivers.
 * @param {import("./draft.js").Kind[]} kinds
 */
const choices = (kinds) => {
  const servers = kinds.filter((kind) => !kind.variants.length);
  const ordered = [...servers.filter((kind) => !isTrial(kind)), ...servers.filter(isTrial)];
  return [
    ...ordered.map((kind) => ({ key: kind.kind, label: kind.name, help: kind.help, query: { new: kind.kind } })),
    ...kinds.flatMap((kind) =>
      kind.variants.map((one) => ({
        key: `${kind.kind} ${one.value}`,
        label: one.label,
        help: one.is_message ? MESSAGE : EVENT,
        query: { new: kind.kind, preset: one.value },
      })),
    ),
  ];
};

/** @param {import("./draft.js").Kind} kind */
const isTrial = (kind) => kind.name.includes("experimental");

/** @param {any} props */
const Choice = ({ label, help, query, go }) =>
  h(
    "li",
    null,
    h(
      "button",
      { type: "button", className: "courier-choice", onClick: () => go(query) },
      h("strong", null, label),
      " ",
      h("small", null, help),
    ),
  );
