// One dead letter, opened: the scene, every attempt, what would be sent now, and what can be done.
import { call } from "./api.js";
import { CopyButton } from "./copy_button.js";
import { Dialog } from "./dialog.js";
import { FailureNotice } from "./notice.js";
import { usePolling } from "./poll.js";
import { STATES } from "./letter_rows.js";
import { SceneLink } from "./scene_name.js";
import { SentNow } from "./sent_now.js";
import { Bootstrap, React, h } from "./stash.js";
import { Timeline } from "./timeline.js";
import { ago, clock, number } from "./words.js";

/**
 * @typedef {import("./letters_state.js").Row & {
 *   history: import("./timeline.js").Attempt[], stack_trace: string, plugin_version: string, copy: string,
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
