// The card of one connection: its state in words, counts, and what can be done.
import { SceneLink, WebLink } from "../shared/links.js";
import { FailureNotice } from "../shared/notice.js";
import { useRunning } from "../shared/running.js";
import { h, path, React, Router } from "../shared/stash.js";
import { ago, ahead, clock, number } from "../shared/words.js";
import { CardActions } from "./card_actions.js";
import { HEALTH } from "./health.js";
import { LibraryReport } from "./library_report.js";
import { TestPanel, useTest } from "./test_steps.js";

const SINCE = new Set(["waiting", "paused", "off", "gone"]); // of these it matters since when

/**
 * @param {{card: any, revision: number, now: number, refresh: () => Promise<void>,
 *   go: import("./connections.js").Go}} props `card` as in the mode overview
 */
export const Card = ({ card, revision, now, refresh, go }) => {
  const running = useRunning(refresh);
  const [reporting, setReporting] = React.useState(false);
  const webhook = card.kind === "webhook";
  const test = useTest(() => ({ id: card.id }), { webhook, message: card.is_message }, refresh);
  const report = webhook ? null : () => setReporting(true);
  const title = `courier-card-${card.id}`;
  return h(
    "article",
    { className: "card courier-card", "aria-labelledby": title },
    h(
      "div",
      { className: "card-body" },
      h(
        "div",
        { className: "courier-card-head" },
        h("h3", { id: title }, card.name),
        h("span", { className: "courier-muted" }, [card.kind_name, card.host, card.from_settings && "from Stash's settings"].filter(Boolean).join(" · ")),
        h(WebLink, { href: card.link }, `Open ${card.name}`),
      ),
      h(State, { card, now }),
      h(Counts, { card, now }),
      card.remarks.map((/** @type {Remark} */ remark) => h(RemarkText, { key: remark.text, remark })),
      h(CardActions, {
        card,
        revision,
        go,
        running,
        test,
        report,
      }),
      h("div", { role: "status", className: "courier-said" }, running.said),
      running.failure ? h(FailureNotice, { failure: running.failure, ofAction: true }) : null,
      h(TestPanel, {
        test,
        report,
        draft: false,
        label: () => "",
        onField: card.from_settings ? null : (key) => go({ edit: card.id, field: key }),
        onFix: card.from_settings ? null : (fix) => go({ edit: card.id }, { fix: fix.values }),
      }),
      reporting ? h(LibraryReport, { connection: card.id, close: () => setReporting(false) }) : null,
    ),
  );
};

/** @typedef {{text: string, count: number, scenes: number[], advice: string}} Remark */

/** @param {{remark: Remark}} props */
const RemarkText = ({ remark: { text, count, scenes, advice } }) =>
  h(
    "p",
    { className: "courier-help" },
    `${text}: ${number(count)} (${count > scenes.length ? "such as " : ""}`,
    scenes.map((id, place) => [place ? ", " : "", h(SceneLink, { key: id, sceneId: id, title: "" })]),
    `). ${advice}`,
  );

/** @param {{card: any, now: number}} props */
const State = ({ card, now }) => {
  const [words, color] = HEALTH[card.health] ?? [card.health, "muted"];
  const since = SINCE.has(card.health) && card.since ? ` since ${clock(card.since, now)}` : "";
  const more = [card.reason, card.advice].filter(Boolean).join(" ");
  const next = card.next_try && card.health === "waiting" ? ` Next try: ${ahead(card.next_try, now)}.` : "";
  return h(
    "p",
    { className: "courier-state" },
    h("strong", { className: `courier-${color}` }, `${words}${since}.`),
    more ? ` ${more}` : "",
    next,
  );
};

/** @param {{card: any, now: number}} props */
const Counts = ({ card, now }) => {
  const query = new URLSearchParams({ connection: card.id });
  const letters = h(Router.Link, { to: `${path}/dead_letters?${query}` }, number(card.dead_letters));
  /** @type {[string, any, boolean][]} a count, and whether it is shown */
  const counts = [
    ["Waiting", number(card.waiting), true],
    ["Retrying", number(card.retrying), card.retrying > 0],
    ["In progress", number(card.in_flight), card.in_flight > 0],
    ["Oldest", card.oldest && ago(card.oldest, now), card.waiting > 0 && Boolean(card.oldest)],
    ["Delivered in the last hour", number(card.delivered_hour), true],
    ["Delivered in the last day", number(card.delivered_day), true],
    ["Last delivery", card.last_success ? ago(card.last_success, now) : "none yet", true],
    ["Dead letters", letters, card.dead_letters > 0],
    ["Not on the server", number(card.not_on_server ?? 0), card.not_on_server > 0],
  ];
  return h(
    "dl",
    { className: "courier-counts" },
    counts
      .filter(([, , shown]) => shown)
      .map(([label, value]) => h("div", { key: label }, h("dt", null, label), h("dd", null, value))),
  );
};
