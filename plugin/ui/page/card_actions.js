// The buttons of a card. The action that the state calls for comes first.
import { call, changed } from "./api.js";
import { DeleteDialog } from "./delete_dialog.js";
import { SendExisting } from "./send_existing.js";
import { Bootstrap, React, Router, h, path } from "./stash.js";
import { plural } from "./words.js";

/**
 * @param {{card: any, revision: number, refresh: () => Promise<void>, go: import("./connections.js").Go,
 *   say: (text: string) => void, fail: (failure: any) => void, test: ReturnType<typeof import("./test_steps.js").useTest>,
 *   report: (() => void) | null}} props `report` shows the library report of a media server
 */
export const CardActions = ({ card, revision, refresh, go, say, fail, test, report }) => {
  const [busy, setBusy] = React.useState(false);
  const [dialog, setDialog] = React.useState("");
  const history = Router.useHistory();
  const ending = card.state === "leaving" || card.state === "burying";

  /** @param {() => Promise<string>} work returns what to say when it is done */
  const run = async (work) => {
    setBusy(true);
    fail(null);
    say("");
    try {
      say(await work());
      changed();
      await refresh();
    } catch (failure) {
      fail(failure);
    }
    setBusy(false);
  };
  const deliver = () =>
    run(async () => {
      await call("expedite", { connection: card.id });
      return "What waits is being sent now.";
    });
  const resume = () => run(() => setState(card, revision, "on"));
  const sendSkipped = () =>
    run(async () => {
      const { queued } = await call("send_skipped", { connection: card.id });
      return `Queued again: ${plural(queued, "scene")}.`;
    });

  /** @type {Record<string, (action: any) => void>} */
  const doing = {
    edit: ({ field }) => go(field ? { edit: card.id, field } : { edit: card.id }),
    fix: ({ values }) => go({ edit: card.id }, { fix: values }),
    open_dead_letters: () => history.push(`${path}/dead_letters?${new URLSearchParams({ connection: card.id })}`),
    deliver_now: deliver,
    resume,
    test: test.start,
  };
  const first = card.action;
  const isFirst = (/** @type {string} */ name) => first?.do === name;
  /** @param {string} label @param {() => void} onClick */
  const button = (label, onClick) =>
    h(
      Bootstrap.Button,
      { key: label, variant: "secondary", disabled: busy, onClick, "aria-label": `${label}: ${card.name}` },
      label,
    );
  const { Item } = Bootstrap.Dropdown;

  return h(
    "div",
    { className: "courier-actions" },
    first
      ? h(
          Bootstrap.Button,
          { variant: "primary", disabled: busy, onClick: () => doing[first.do]?.(first) },
          first.label,
        )
      : null,
    isFirst("test") ? null : button("Test", test.start),
    isFirst("deliver_now") || card.state === "off" ? null : button("Deliver now", deliver),
    ending || isFirst("resume")
      ? null
      : card.state === "on"
        ? button("Pause", () => run(() => setState(card, revision, "paused")))
        : button(card.state === "off" ? "Switch on" : "Resume", resume),
    ending ? null : button("Edit", () => go({ edit: card.id })),
    h(
      Bootstrap.Dropdown,
      null,
      h(
        Bootstrap.Dropdown.Toggle,
        { id: `courier-more-${card.id}`, variant: "secondary", "aria-label": `More: ${card.name}` },
        "More",
      ),
      h(
        Bootstrap.Dropdown.Menu,
        { className: "bg-secondary text-white" },
        h(
          Item,
          { as: "button", type: "button", className: "text-white", onClick: () => go({ copy: card.id }) },
          "Duplicate",
        ),
        ending || card.state === "off"
          ? null
          : h(
              Item,
              { as: "button", type: "button", className: "text-white", onClick: () => setDialog("send") },
              "Send existing scenes",
            ),
        card.not_on_server > 0
          ? h(
              Item,
              { as: "button", type: "button", className: "text-white", onClick: sendSkipped },
              "Look again for what the server didn't have",
            )
          : null,
        report
          ? h(Item, { as: "button", type: "button", className: "text-white", onClick: report }, "Library report")
          : null,
        card.implicit || ending
          ? null
          : h(
              Item,
              { as: "button", type: "button", className: "text-white", onClick: () => setDialog("delete") },
              "Delete",
            ),
      ),
    ),
    dialog === "send" ? h(SendExisting, { card, close: () => setDialog("") }) : null,
    dialog === "delete"
      ? h(DeleteDialog, {
          card,
          close: () => setDialog(""),
          remove: (waiting) => {
            setDialog("");
            return run(() => remove(card, revision, waiting));
          },
        })
      : null,
  );
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
  return state === "on" ? "Switched on." : "Paused. Changes are kept, and nothing is sent.";
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
  return "Deleted.";
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
