// The receipt of a scene at a connection: what was changed there, what was left alone and why.
import { call } from "../shared/api.js";
import { Dialog } from "../shared/dialog.js";
import { SceneLink, WebLink } from "../shared/links.js";
import { FailureNotice, Notice } from "../shared/notice.js";
import { usePolling } from "../shared/poll.js";
import { useRunning } from "../shared/running.js";
import { Bootstrap, h, path, React, Router } from "../shared/stash.js";
import { CardTable, Cell, Row } from "../shared/table.js";
import { clock, duration } from "../shared/words.js";

const SECONDS = 5; // between two polls, for what is still on its way
const SHORTEST = 0.1; // seconds that are shown
const MOST_FIELDS = 5; // that are named
const DELIVERED = new Set(["delivered", "digest"]); // outcomes with which something was delivered
const NEVER = new Set(["filtered", "absent", "version", "locked"]); // outcomes of what was not sent

/**
 * @typedef {import("./scenes.js").Outcome & {
 *   changes: {field: string, before: unknown, after: unknown}[], left: string[], link: string,
 *   changed: string[], seconds: number | null,
 * }} Receipt
 * @typedef {{scene: number, connection: string}} Opened
 */

/** @param {{opened: Opened, close: () => void, sent: () => void}} props */
export const ReceiptDialog = ({ opened, close, sent }) => {
  const { data, failure, refresh } = usePolling((signal) => call("receipt", { ...opened }, signal), SECONDS);
  const sending = useRunning(refresh);
  const send = () =>
    sending.run(async () => {
      await call("send_scene", { ...opened });
      sent();
      return "Queued. It is sent like an edit.";
    });
  const title = [h(SceneLink, { key: "scene", sceneId: opened.scene, title: data?.title ?? "" }), data && ` → ${data.name}`];
  return h(
    Dialog,
    {
      id: "courier-receipt",
      title,
      large: true,
      close,
      footer: h(
        React.Fragment,
        null,
        h(Bootstrap.Button, { variant: "primary", disabled: sending.busy || !data, onClick: send }, wasSent(data) ? "Send again" : "Send"),
        h(Bootstrap.Button, { variant: "secondary", onClick: close }, "Close"),
      ),
    },
    failure && h(FailureNotice, { failure, retry: failure.kind === "problem" ? undefined : refresh }),
    sending.failure && h(FailureNotice, { failure: sending.failure }),
    sending.said && h(Notice, { status: "ok" }, sending.said),
    data && h(Content, { receipt: data }),
    !data && !failure && h("p", { className: "courier-muted" }, "Loading…"),
  );
};

/** Whether an earlier delivery of it is known. @param {Receipt | undefined} receipt */
const wasSent = (receipt) => !receipt || (receipt.live ? receipt.has_receipt : !NEVER.has(receipt.outcome));

/** @param {{receipt: Receipt}} props */
const Content = ({ receipt }) =>
  h(
    React.Fragment,
    null,
    h("p", { className: "courier-outcome" }, receipt.text),
    h(Facts, { receipt }),
    receipt.changes.length > 0 && h(Changes, { changes: receipt.changes }),
    receipt.left.length > 0 && h(Left, { left: receipt.left }),
  );

/** @param {{receipt: Receipt}} props */
const Facts = ({ receipt }) => {
  const { at, event_at: edited, seconds, changed, dead_letter: letter } = receipt;
  const when = [
    edited ? `Edited: ${clock(edited)}.` : "",
    at && !receipt.live ? `Ended: ${clock(at)}.` : "",
    seconds === null || !DELIVERED.has(receipt.outcome) ? "" : `Delivered ${duration(Math.max(seconds, SHORTEST))} after the edit.`,
  ];
  return h(
    "div",
    null,
    h("p", null, when.filter(Boolean).join(" ")),
    changed.length > 0 && h("p", null, whatWasEdited(changed)),
    receipt.link && h("p", null, h(WebLink, { href: receipt.link }, `Open it at ${receipt.name}`)),
    letter && h("p", null, h(Router.Link, { to: `${path}/dead_letters?open=${letter}` }, "Open the dead letter")),
  );
};

/**
 * What was edited. Stash's edit form names all the fields that it has, whatever was changed.
 * @param {string[]} changed
 */
const whatWasEdited = (changed) =>
  changed.length > MOST_FIELDS ? "Edited in Stash." : `Edited in Stash: ${changed.join(", ")}.`;

/** @param {{changes: Receipt["changes"]}} props */
const Changes = ({ changes }) =>
  h(
    React.Fragment,
    null,
    h("h3", null, "Changed"),
    h(
      CardTable,
      { caption: "Fields that were changed", head: ["Field", "Before", "After"] },
      changes.map(({ field, before, after }) =>
        h(
          Row,
          { key: field },
          h(Cell, { label: "Field" }, field),
          h(Cell, { label: "Before" }, asText(before)),
          h(Cell, { label: "After" }, asText(after)),
        ),
      ),
    ),
  );

/** @param {{left: string[]}} props */
const Left = ({ left }) =>
  h(
    React.Fragment,
    null,
    h("h3", null, "Left alone"),
    h(
      "ul",
      null,
      left.map((sentence) => h("li", { key: sentence }, sentence)),
    ),
  );

/**
 * A value as text; "nothing" for an empty one.
 * @param {unknown} value
 */
const asText = (value) => {
  if (value === null || value === undefined || value === "") return h("em", { className: "courier-muted" }, "nothing");
  return Array.isArray(value) ? value.join(", ") : String(value);
};
