// The buttons of a card. The action that the state calls for comes first.
import { call } from "../shared/api.js";
import { Dialog } from "../shared/dialog.js";
import { Bootstrap, h, path, React, Router, settingsPath } from "../shared/stash.js";
import { plural } from "../shared/words.js";
import { SendExisting } from "./send_existing.js";

const SOON = [300, 700, 1500]; // milliseconds between looks at whether a connection is gone
const ENDING = new Set(["leaving", "burying"]); // states of a connection that is being deleted

/**
 * @param {{card: any, revision: number, go: import("./connections.js").Go, running: import("../shared/running.js").Running,
 *   test: import("./test_steps.js").Test, report: (() => void) | null}} props
 *   `report` shows the library report of a media server
 */
export const CardActions = ({ card, revision, go, running: { busy, run }, test, report }) => {
  const [dialog, setDialog] = React.useState("");
  const history = Router.useHistory();
  const deliver = () => run(() => deliverNow(card));
  const openSettings = () => history.push(settingsPath);
  const resume = () => run(() => (card.state === "on" ? resumeAll() : setState(card, revision, "on")));
  /** @type {Record<string, (action: any) => void>} */
  const doing = {
    open_settings: openSettings,
    edit: ({ field }) => go(field ? { edit: card.id, field } : { edit: card.id }),
    open_dead_letters: () => history.push(`${path}/dead_letters?${new URLSearchParams({ connection: card.id })}`),
    deliver_now: deliver,
    resume,
    test: test.start,
  };
  const first = card.action;
  const ending = ENDING.has(card.state);
  /** @type {[string, string, () => void, boolean][]} label, the action that it repeats, what it does, if it is shown */
  const buttons = [
    ["Test", "test", test.start, true],
    ["Deliver now", "deliver_now", deliver, card.state !== "off" && card.health !== "paused"],
    ["Pause", "", () => run(() => setState(card, revision, "paused")), card.state === "on" && !card.from_settings],
    [card.state === "off" ? "Switch on" : "Resume", "resume", resume, card.state !== "on" && !ending],
    ["Keep the connection", "", () => run(() => setState(card, revision, "on")), card.state === "leaving"],
    ["Edit", "", () => go({ edit: card.id }), !ending && !card.from_settings],
    ["Edit in Stash's settings", "open_settings", openSettings, card.from_settings],
  ];
  const look = { variant: "secondary", disabled: busy, "aria-describedby": `courier-card-${card.id}` };
  return h(
    "div",
    { className: "courier-actions" },
    first
      ? h(
          Bootstrap.Button,
          {
            ...look,
            variant: "primary",
            "aria-label": `${first.label}: ${card.name}`,
            onClick: () => doing[first.do]?.(first),
          },
          first.label,
        )
      : null,
    buttons
      .filter(([, repeats, , shown]) => shown && (!repeats || repeats !== first?.do))
      .map(([label, , onClick]) =>
        h(Bootstrap.Button, { ...look, key: label, onClick, "aria-label": `${label}: ${card.name}` }, label),
      ),
    h(More, { card, go, open: setDialog, report, sendSkipped: () => run(() => sendSkipped(card)) }),
    dialog === "send" ? h(SendExisting, { card, close: () => setDialog("") }) : null,
    dialog === "delete"
      ? h(DeleteDialog, {
          card,
          close: () => setDialog(""),
          remove: (waiting) => run(() => remove(card, revision, waiting)),
        })
      : null,
  );
};

/**
 * The actions that are needed less often.
 * @param {{card: any, go: import("./connections.js").Go, open: (dialog: string) => void,
 *   report: (() => void) | null, sendSkipped: () => void}} props
 */
const More = ({ card, go, open, report, sendSkipped }) => {
  const ending = ENDING.has(card.state);
  /** @type {[string, (() => void) | null][]} */
  const items = [
    ["Duplicate", () => go({ copy: card.id })],
    ["Send existing scenes", ending || card.state === "off" ? null : () => open("send")],
    ["Send again what the server didn't have", card.not_on_server > 0 ? sendSkipped : null],
    ["Library report", report],
    ["Delete", card.state === "burying" || card.from_settings ? null : () => open("delete")],
  ];
  const { Item, Menu, Toggle } = Bootstrap.Dropdown;
  return h(
    Bootstrap.Dropdown,
    null,
    h(Toggle, { id: `courier-more-${card.id}`, variant: "secondary", "aria-label": `More: ${card.name}` }, "More"),
    h(
      Menu,
      { className: "courier-menu" },
      items.map(([label, onClick]) =>
        onClick ? h(Item, { key: label, as: "button", type: "button", onClick }, label) : null,
      ),
    ),
  );
};

/** @param {any} card */
const deliverNow = async (card) => {
  await call("expedite", { connection: card.id });
  return waitsFor(card) ? "What waits is being sent now." : "Nothing waits.";
};

/** How many deliveries wait for a connection. @param {any} card */
const waitsFor = (card) => card.waiting + card.in_flight;

/** Ends the pause of all deliveries, which holds up a connection that is on. */
const resumeAll = async () => {
  await call("resume");
  return "All deliveries are resumed.";
};

/** @param {any} card */
const sendSkipped = async (card) => {
  const { queued } = await call("send_skipped", { connection: card.id });
  return `Queued again: ${plural(queued, "scene")}.`;
};

/**
 * Pauses a connection or switches it on. Only the state is written, so another change meanwhile doesn't matter.
 * @param {any} card
 * @param {number} revision
 * @param {"on" | "paused"} state
 */
const setState = async (card, revision, state) => {
  const answer = await onNewest(revision, (newest) =>
    call("save_connection", { id: card.id, state, revision: newest }),
  );
  if (!answer.saved) {
    const why = answer.problems.map((/** @type {any} */ one) => one.message).join(" ");
    throw {
      kind: "problem",
      message: `It was not changed. ${why || "Somebody else is changing the connections. Try again."}`,
    };
  }
  if (state === "paused") return "Paused. Changes are kept, and nothing is sent.";
  return card.state === "paused" ? "Resumed." : "Switched on.";
};

/**
 * @param {any} card
 * @param {number} revision
 * @param {string} waiting
 */
const remove = async (card, revision, waiting) => {
  const answer = await onNewest(revision, (newest) =>
    call("delete_connection", { id: card.id, waiting, revision: newest }),
  );
  if (!answer.deleted)
    throw {
      kind: "problem",
      message: "It was not deleted, because somebody else is changing the connections. Try again.",
    };
  if (!waitsFor(card) || waiting === "discard") {
    await gone(card);
    return "";
  }
  return waiting === "send" ? "It is deleted when what waits is sent." : "What waits becomes dead letters, then it is deleted.";
};

/**
 * Waits until the worker has deleted a connection for which nothing waits, which it does at once unless it is busy.
 * @param {any} card
 */
const gone = async ({ id }) => {
  for (const pause of SOON) {
    await new Promise((resolve) => setTimeout(resolve, pause));
    const { connections } = await call("overview");
    if (!connections.some((/** @type {any} */ one) => one.id === id)) return;
  }
};

/**
 * Makes a change once more if another one came before it.
 * @param {number} revision
 * @param {(revision: number) => Promise<any>} change
 */
const onNewest = async (revision, change) => {
  const answer = await change(revision);
  return answer.conflict ? change(answer.revision) : answer;
};

// Asks before a connection is deleted, and what becomes of the deliveries that wait for it.

const CHOICES = [
  ["send", "Send them first. The connection is deleted when all are sent."],
  ["dead_letter", "Make them dead letters."],
  ["discard", "Discard them. They are not sent."],
];

/** @param {{card: any, close: () => void, remove: (waiting: string) => void}} props */
const DeleteDialog = ({ card, close, remove }) => {
  const [waiting, setWaiting] = React.useState("send");
  const confirm = () => {
    close();
    remove(waiting);
  };
  const count = card.waiting + card.in_flight;
  return h(
    Dialog,
    {
      id: "courier-delete",
      title: `Delete ${card.name}?`,
      close,
      footer: h(
        React.Fragment,
        null,
        h(Bootstrap.Button, { variant: "secondary", autoFocus: true, onClick: close }, "Cancel"),
        h(Bootstrap.Button, { variant: "danger", onClick: confirm }, "Delete"),
      ),
    },
    h("p", null, "Nothing is deleted at the receiver. Dead letters of this connection stay."),
    count
      ? h(
          "fieldset",
          null,
          h(
            "legend",
            { className: "courier-legend" },
            `What should happen to what waits (${plural(count, "delivery", "deliveries")})?`,
          ),
          CHOICES.map(([value, label]) =>
            h(Bootstrap.Form.Check, {
              key: value,
              id: `courier-waiting-${value}`,
              type: "radio",
              name: "courier-waiting",
              label,
              checked: waiting === value,
              onChange: () => setWaiting(value),
            }),
          ),
        )
      : null,
  );
};
