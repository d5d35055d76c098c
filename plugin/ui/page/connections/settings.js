// The plugin's part of Settings → Plugins: one line with the state in words, then Stash's own form.
import { call } from "../shared/api.js";
import { usePolling } from "../shared/poll.js";
import { h, path, React, Router } from "../shared/stash.js";
import { number } from "../shared/words.js";
import { HEALTH } from "./health.js";

/** @param {{original: any}} props `original` is Stash's own form */
const PluginSettings = ({ original }) => h(React.Fragment, null, h(StateLine), original);
export default PluginSettings;

const StateLine = () => {
  const { data, failure } = usePolling((signal) => call("overview", {}, signal), 30);
  const [text, level] = failure ? [failure.message, "fail"] : inWords(data);
  return h(
    "div",
    { className: "courier-settings-line" },
    h(Router.Link, { className: "btn btn-primary", to: path }, "Open Stash Courier"),
    h("span", { role: "status", className: `courier-${level}` }, text),
  );
};

/**
 * The state in words, and how good it is.
 * @param {any} overview
 * @returns {[string, string]}
 */
const inWords = (overview) => {
  if (!overview) return ["", "muted"];
  const { banners, connections, dead_letters: dead } = overview;
  if (banners.length) return [banners[0].text, banners[0].status];
  if (!connections.length) return ["No connection yet, so nothing is sent.", "muted"];
  const found = Object.entries(HEALTH)
    .map(([health, [words, level]]) => {
      const count = connections.filter((/** @type {any} */ one) => one.health === health).length;
      return { count, level, text: `${number(count)} ${words[0].toLowerCase()}${words.slice(1)}` };
    })
    .filter(({ count }) => count);
  const waiting = connections.reduce(
    (/** @type {number} */ sum, /** @type {any} */ one) => sum + one.waiting + one.in_flight,
    overview.inbox,
  );
  const said = [
    dead ? `Dead letters: ${number(dead)}.` : "",
    `Connections: ${found.map(({ text }) => text).join(", ")}.`,
    waiting ? `Deliveries that wait: ${number(waiting)}.` : "",
  ];
  return [said.filter(Boolean).join(" "), dead ? "fail" : found[0].level];
};
