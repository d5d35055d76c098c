// Sends scenes that Stash has already to one connection. How many, and how long it takes, is said first.
import { call } from "../shared/api.js";
import { Dialog } from "../shared/dialog.js";
import { FailureNotice } from "../shared/notice.js";
import { usePolling } from "../shared/poll.js";
import { Bootstrap, h, React } from "../shared/stash.js";
import { number, plural } from "../shared/words.js";

const CHOICES = [
  ["days", "Changed in the last 30 days"],
  ["since", "Changed since a date"],
  ["all", "All scenes"],
];

/** @param {{card: any, since?: number, close: () => void}} props `since`: the date to begin with, unix seconds */
export const SendExisting = ({ card, since, close }) => {
  const [which, setWhich] = React.useState(since ? "since" : "days");
  const [date, setDate] = React.useState(since ? dateOf(since) : "");
  const chosen = argumentsOf(which, date);
  const { sent, sending, failure, send } = useSending(card.id);
  const counted = usePolling(
    async (signal) => chosen && call("send_existing", { connection: card.id, ...chosen, count: true }, signal),
    0,
    JSON.stringify(chosen),
  );
  const scenes = counted.data?.scenes;
  const done = sent === null ? "" : `Queued: ${plural(sent, "scene")}. Edits are sent before them.`;
  const ready = !sending && Boolean(scenes);
  const what = counted.data?.digest && scenes > 1 ? "one digest" : plural(scenes ?? 0, "scene");
  const button = sending ? "Queuing…" : scenes ? `Send ${what}` : "Send";
  const waiting = sending ? "Keep this open. Closing it ends the queuing; what is queued by then is sent." : "";
  return h(
    Dialog,
    {
      id: "courier-existing",
      title: `Send existing scenes to ${card.name}`,
      close,
      footer: h(
        React.Fragment,
        null,
        h(Bootstrap.Button, { variant: "secondary", autoFocus: true, onClick: close }, done ? "Close" : "Cancel"),
        done ? null : h(Bootstrap.Button, { variant: "primary", disabled: !ready, onClick: () => send(chosen) }, button),
      ),
    },
    h(Choice, { disabled: sending || Boolean(done), which, setWhich, date, setDate }),
    h("p", { role: "status" }, done || waiting || expected(counted, Boolean(chosen))),
    counted.failure ? h(FailureNotice, { failure: counted.failure, retry: counted.refresh }) : null,
    failure ? h(FailureNotice, { failure }) : null,
  );
};

/**
 * Queues scenes for a connection. Closing the dialog ends it; what is queued by then is sent.
 * @param {string} connection
 */
const useSending = (connection) => {
  const [sent, setSent] = React.useState(/** @type {number | null} */ (null));
  const [sending, setSending] = React.useState(false);
  const [failure, setFailure] = React.useState(/** @type {any} */ (null));
  const running = React.useRef(new AbortController());
  React.useEffect(() => () => running.current.abort(), []);
  /** @param {object | null} chosen which scenes */
  const send = async (chosen) => {
    const { signal } = running.current;
    setSending(true);
    setFailure(null);
    try {
      const { queued } = await call("send_existing", { connection, ...chosen }, signal);
      setSent(queued);
    } catch (problem) {
      if (!signal.aborted) setFailure(problem);
    }
    if (!signal.aborted) setSending(false);
  };
  return { sent, sending, failure, send };
};

/**
 * @param {{disabled: boolean, which: string, setWhich: (which: string) => void, date: string,
 *   setDate: (date: string) => void}} props
 */
const Choice = ({ disabled, which, setWhich, date, setDate }) =>
  h(
    "fieldset",
    { disabled },
    h("legend", { className: "courier-legend" }, "Which scenes?"),
    CHOICES.map(([value, label]) =>
      h(Bootstrap.Form.Check, {
        key: value,
        id: `courier-existing-${value}`,
        type: "radio",
        name: "courier-existing",
        label,
        checked: which === value,
        onChange: () => setWhich(value),
      }),
    ),
    which === "since"
      ? h("input", {
          type: "date",
          className: "form-control text-input courier-date",
          "aria-label": "Date",
          value: date,
          onChange: (/** @type {any} */ event) => setDate(event.target.value),
        })
      : null,
  );

/**
 * What sending would mean.
 * @param {import("../shared/poll.js").Polled<any>} counted
 * @param {boolean} chosen
 */
const expected = ({ data, loading, failure }, chosen) => {
  if (!chosen) return "Choose a date.";
  if (failure) return "";
  if (loading || !data) return "Counting…";
  if (!data.scenes) return "There are no such scenes.";
  return [`Scenes: ${number(data.scenes)}.`, data.text].filter(Boolean).join(" ");
};

/**
 * The arguments of the choice; null while the date is missing.
 * @param {string} which
 * @param {string} date
 */
const argumentsOf = (which, date) => {
  if (which === "all") return { all: true };
  if (which === "days") return { days: 30 };
  const [year, month, day] = date.split("-").map(Number);
  return date ? { since: new Date(year, month - 1, day).getTime() / 1000 } : null;
};

/** @param {number} at */
const dateOf = (at) => {
  const then = new Date(at * 1000);
  const two = (/** @type {number} */ value) => String(value).padStart(2, "0");
  return `${then.getFullYear()}-${two(then.getMonth() + 1)}-${two(then.getDate())}`;
};
