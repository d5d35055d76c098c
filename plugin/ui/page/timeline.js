// Every failed attempt of a delivery, oldest first, with the receiver's answer.
import { h } from "./stash.js";
import { ago, clock } from "./words.js";

/**
 * @typedef {{at: number, failure: string, label: string, message: string, status: number | null, answer: string}} Attempt
 */

/** @param {{history: Attempt[]}} props */
export const Timeline = ({ history }) =>
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
