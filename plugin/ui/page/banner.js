// A sentence about all connections, such as that the worker doesn't run, with the click that helps.
import { call } from "./api.js";
import { FailureNotice, Notice } from "./notice.js";
import { useRunning } from "./running.js";
import { Bootstrap, React, Router, h } from "./stash.js";
import { clock } from "./words.js";

const MODES = new Set(["resume", "restart_worker"]); // actions that are modes of the plugin

/** @param {{action: {do: string, label: string}, busy: boolean, act: () => void}} props */
const Click = ({ action, busy, act }) => {
  if (action.do === "open_settings") {
    return h(Router.Link, { className: "btn btn-secondary btn-sm", to: "/settings?tab=plugins" }, action.label);
  }
  if (!MODES.has(action.do)) return null;
  return h(Bootstrap.Button, { variant: "secondary", size: "sm", disabled: busy, onClick: act }, action.label);
};

/**
 * @param {{banner: {status: string, text: string, since: number | null, action: any}, now: number,
 *   refresh: () => Promise<void>}} props
 */
export const Banner = ({ banner: { status, text, since, action }, now, refresh }) => {
  const { busy, failure, run } = useRunning(refresh);
  const act = () => run(async () => (await call(action.do), ""));
  return h(
    React.Fragment,
    null,
    h(Notice, { status, action: action && h(Click, { action, busy, act }) }, since ? `${text} Since ${clock(since, now)}.` : text),
    failure ? h(FailureNotice, { failure }) : null,
  );
};
