// A sentence about all connections, such as that the worker doesn't run, with the click that helps.
import { call } from "./api.js";
import { FailureNotice, Notice } from "./notice.js";
import { useRunning } from "./running.js";
import { Bootstrap, React, h } from "./stash.js";
import { clock } from "./words.js";

const MODES = new Set(["resume", "restart_worker"]); // actions that are modes of the plugin

/**
 * @param {{banner: {status: string, text: string, since: number | null, action: any}, now: number,
 *   refresh: () => Promise<void>}} props
 */
export const Banner = ({ banner: { status, text, since, action }, now, refresh }) => {
  const { busy, failure, run } = useRunning(refresh);
  const act = () => run(async () => (await call(action.do), ""));
  const button =
    action && MODES.has(action.do)
      ? h(Bootstrap.Button, { variant: "secondary", size: "sm", disabled: busy, onClick: act }, action.label)
      : null;
  return h(
    React.Fragment,
    null,
    h(Notice, { status, action: button }, since ? `${text} Since ${clock(since, now)}.` : text),
    failure ? h(FailureNotice, { failure }) : null,
  );
};
