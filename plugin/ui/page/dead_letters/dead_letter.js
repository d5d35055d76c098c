// One dead letter, opened: the scene, every attempt, what would be sent now, and what can be done.
import { call } from "../shared/api.js";
import { CopyButton } from "../shared/copy_button.js";
import { Dialog } from "../shared/dialog.js";
import { SceneLink } from "../shared/links.js";
import { FailureNotice } from "../shared/notice.js";
import { usePolling } from "../shared/poll.js";
import { Bootstrap, h, React } from "../shared/stash.js";
import { ago, clock, number } from "../shared/words.js";
import { STATES } from "./letter_rows.js";

/**
 * @typedef {import("./letters_state.js").Row & {
 *   history: Attempt[], stack_trace: string, plugin_version: string, copy: string,
 * }} Letter
 * @typedef {import("./letters_state.js").Group} Group
 * @typedef {(action: import("./letter_actions.js").Action, args: Record<string, unknown>) => void} Act
 */

/**
 * @param {object} props
 * @param {number} props.id
 * @param {Group[]} props.groups
 * @param {number} props.asOf the moment of the groups' counts
 * @param {boolean} props.busy
 * @param {Act} props.act
 * @param {() => void} props.close
 */
export const DeadLetterDialog = ({ id, groups, asOf, busy, act, close }) => {
  const {
    data: letter,
    failure,
    refresh,
  } = usePolling((signal) => call("dead_letter", { ids: [id] }, signal), 0, String(id));
  const group = letter && groups.find((one) => one.group === letter.group);
  return h(
    Dialog,
    {
      id: "courier-letter",
      title: letter ? h(SceneLink, { sceneId: letter.scene_id, title: letter.title }) : "Dead letter",
      large: true,
      close,
      footer: h(
        React.Fragment,
        null,
        letter && h(Actions, { letter, group, asOf, busy, act }),
        h(Bootstrap.Button, { variant: "secondary", onClick: close }, "Close"),
      ),
    },
    failure && h(FailureNotice, { failure, retry: failure.kind === "problem" ? undefined : refresh }),
    letter && h(Content, { letter }),
    !letter && !failure && h("p", { className: "courier-muted" }, "Loading…"),
  );
};

/** @param {{letter: Letter}} props */
const Content = ({ letter }) =>
  h(
    React.Fragment,
    null,
    h(
      "dl",
      { className: "courier-facts" },
      h(Fact, { name: "Connection" }, letter.name),
      letter.path && h(Fact, { name: "Path" }, letter.path),
      h(Fact, { name: "What went wrong" }, h("strong", null, letter.label), " ", letter.error_message),
      h(Fact, { name: "Failed" }, `${clock(letter.failed_at)} (${ago(letter.failed_at)})`),
      h(Fact, { name: "Attempts" }, number(letter.attempts)),
      STATES[letter.state] && h(Fact, { name: "Now" }, STATES[letter.state]),
    ),
    h("h3", null, "Attempts"),
    letter.attempts > letter.history.length && h("p", { className: "courier-muted" }, "Only the latest are recorded."),
    h(Timeline, { history: letter.history }),
    letter.sendable && letter.scene_id > 0 && h(SentNow, { destination: letter.destination, scene: letter.scene_id }),
    letter.stack_trace &&
      h(
        "details",
        null,
        h("summary", null, "Stack trace"),
        h("pre", { className: "courier-text", tabIndex: 0, "aria-label": "Stack trace" }, letter.stack_trace),
      ),
  );

/** @param {{name: string, children?: any}} props */
const Fact = ({ name, children }) => h("div", null, h("dt", null, name), h("dd", null, children));

const OPEN = new Set(["dead", "after_one", "asked"]); // states that can be discarded

/** @param {{letter: Letter, group: Group | undefined, asOf: number, busy: boolean, act: Act}} props */
const Actions = ({ letter, group, asOf, busy, act }) =>
  h(
    React.Fragment,
    null,
    h(CopyButton, { text: letter.copy, label: "Copy" }),
    h(
      Bootstrap.Button,
      {
        variant: "danger",
        disabled: busy || !OPEN.has(letter.state),
        onClick: () => act("discard", { ids: [letter.id] }),
      },
      "Discard",
    ),
    group &&
      group.count > 1 &&
      letter.sendable &&
      h(
        Bootstrap.Button,
        {
          variant: "secondary",
          disabled: busy,
          title: "All dead letters with the same cause",
          onClick: () => act("careful", { group: group.group, as_of: asOf }),
        },
        `Retry one first, then the rest (${number(group.count)})`,
      ),
    letter.sendable &&
      h(
        Bootstrap.Button,
        { variant: "primary", disabled: busy, onClick: () => act("retry", { ids: [letter.id] }) },
        "Retry",
      ),
  );

// Every failed attempt of a delivery, oldest first, with the receiver's answer.

/**
 * @typedef {{at: number, failure: string, label: string, message: string, status: number | null, answer: string}} Attempt
 */

/** @param {{history: Attempt[]}} props */
const Timeline = ({ history }) =>
  history.length
    ? h(
        "ol",
        { className: "courier-timeline" },
        history.map((attempt, index) => h("li", { key: index }, h(AttemptText, { attempt }))),
      )
    : h("p", { className: "courier-muted" }, "No attempt is recorded.");

/** @param {{attempt: Attempt}} props */
const AttemptText = ({ attempt: { at, label, message, status, answer } }) =>
  h(
    "div",
    null,
    h("time", { dateTime: new Date(at * 1000).toISOString(), title: ago(at) }, clock(at)),
    " ",
    h("strong", null, status ? `${label} (HTTP ${status})` : label),
    h("div", null, message),
    answer && h("pre", { className: "courier-text", tabIndex: 0, "aria-label": "The answer" }, answer),
  );

// What would be sent to a connection at this moment. Nothing is sent, and the connection's host isn't asked.

const TITLE = "What would be sent now";

/**
 * @param {{destination: string, scene: number}} props
 */
const SentNow = ({ destination, scene }) => {
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
