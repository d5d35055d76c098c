// The page: its header, what is wrong with all of it, and one of three views, chosen by the route.
import { Connections } from "./connections/connections.js";
import { DeadLetters } from "./dead_letters/dead_letters.js";
import { Scenes } from "./scenes/scenes.js";
import { call, changed } from "./shared/api.js";
import { CopyButton } from "./shared/copy_button.js";
import { Dialog } from "./shared/dialog.js";
import { outdated } from "./shared/failures.js";
import { Above, FailureNotice, Notice } from "./shared/notice.js";
import { usePolling } from "./shared/poll.js";
import { useRunning } from "./shared/running.js";
import { Bootstrap, h, path, React, Router, settingsPath, version } from "./shared/stash.js";
import { clock, number } from "./shared/words.js";

/** @typedef {{part: string, label: string, View: (props: ViewProps) => any, seconds: number}} Tab */
/** @typedef {{overview: import("./shared/poll.js").Polled<any>}} ViewProps what every view gets */

// The header needs the overview in each view. Only the cards show all of it, so elsewhere it is asked for less often.
/** @type {Tab[]} */
const TABS = [
  { part: "", label: "Connections", View: Connections, seconds: 5 },
  { part: "/dead_letters", label: "Dead letters", View: DeadLetters, seconds: 30 },
  { part: "/scenes", label: "Scenes", View: Scenes, seconds: 30 },
];

const Main = () => {
  useTitle("Stash Courier");
  const { pathname } = Router.useLocation();
  const part = pathname.slice(path.length).replace(/\/$/, "");
  const tab = TABS.find((one) => one.part === part) ?? TABS[0];
  const polled = usePolling((signal) => call("overview", {}, signal), tab.seconds);
  // An answer of another version may lack what this one draws.
  const old = outdated(version, polled.data?.version);
  const overview = old ? { ...polled, data: undefined, failure: old } : polled;
  const failed = overview.failure?.message;
  React.useEffect(() => {
    if (!failed) return undefined;
    changed(failed);
    return () => void changed();
  }, [failed]);
  const counted = overview.data && badgeCounts(overview.data);
  React.useEffect(() => {
    if (counted) changed();
  }, [counted]);
  return h(
    "main",
    { className: "courier-page" },
    h(Header, { overview: overview.data }),
    h(Tabs, { deadLetters: overview.data?.dead_letters }),
    h(Banners, { overview }),
    h(Above.Provider, { value: failed ?? "" }, h(tab.View, { overview })),
  );
};
export default Main;

/** What the badge counts, as one text, so that it is asked for when that changes. @param {any} overview */
const badgeCounts = ({ dead_letters: letters, banners, connections }) =>
  JSON.stringify([
    letters,
    banners.map((/** @type {any} */ one) => one.text),
    connections.map((/** @type {any} */ one) => [one.id, one.health, one.often_off]),
  ]);

/** @param {{overview: any}} props */
const Header = ({ overview }) =>
  h(
    "header",
    { className: "courier-header" },
    h("h1", null, "Stash Courier"),
    overview?.worker ? h("span", { className: "courier-muted" }, overview.worker.text) : null,
    h(BugReport),
  );

/** @param {{deadLetters: number | undefined}} props */
const Tabs = ({ deadLetters }) =>
  h(
    "nav",
    { className: "nav nav-tabs courier-tabs", "aria-label": "Stash Courier" },
    TABS.map(({ part, label }) =>
      h(
        Router.NavLink,
        { key: part, to: path + part, exact: true, className: "nav-link" },
        label,
        part === "/dead_letters" && deadLetters
          ? h(Bootstrap.Badge, { variant: "danger", pill: true, className: "courier-badge" }, number(deadLetters))
          : null,
      ),
    ),
  );

/** @param {ViewProps} props */
const Banners = ({ overview: { data, failure, refresh } }) =>
  h(
    "div",
    null,
    failure
      ? h(FailureNotice, { failure, retry: refresh, status: failure.kind === "outdated" ? "warn" : "fail" })
      : null,
    (data?.banners ?? []).map((/** @type {any} */ banner) =>
      h(Banner, { key: banner.text, banner, now: data.at, refresh }),
    ),
  );

// A sentence about all connections, such as that the worker doesn't run, with the click that helps.

const MODES = new Set(["resume", "restart_worker"]); // actions that are modes of the plugin

/** @param {{action: {do: string, label: string}, busy: boolean, act: () => void}} props */
const Click = ({ action, busy, act }) => {
  if (action.do === "open_settings") {
    return h(Router.Link, { className: "btn btn-secondary btn-sm", to: settingsPath }, action.label);
  }
  if (!MODES.has(action.do)) return null;
  return h(Bootstrap.Button, { variant: "secondary", size: "sm", disabled: busy, onClick: act }, action.label);
};

/**
 * @param {{banner: {status: string, text: string, since: number | null, action: any}, now: number,
 *   refresh: () => Promise<void>}} props
 */
const Banner = ({ banner: { status, text, since, action }, now, refresh }) => {
  const { busy, failure, run } = useRunning(refresh);
  const act = () => run(async () => (await call(action.do), ""));
  return h(
    React.Fragment,
    null,
    h(Notice, { status, action: action && h(Click, { action, busy, act }) }, since ? `${text} Since ${clock(since, now)}.` : text),
    failure ? h(FailureNotice, { failure }) : null,
  );
};

// "Copy for a bug report": versions, kinds, states, counts and causes; no text that could be private.

const BugReport = () => {
  const [shown, show] = React.useState(false);
  return h(
    React.Fragment,
    null,
    h(
      Bootstrap.Button,
      { variant: "secondary", size: "sm", className: "courier-bug-report", onClick: () => show(true) },
      "Copy for a bug report",
    ),
    shown && h(Report, { close: () => show(false) }),
  );
};

/** @param {{close: () => void}} props */
const Report = ({ close }) => {
  const { data, failure, refresh } = usePolling((signal) => call("bug_report", {}, signal), 0);
  return h(
    Dialog,
    {
      id: "courier-report",
      title: "For a bug report",
      large: true,
      close,
      footer: h(
        React.Fragment,
        null,
        data && h(CopyButton, { text: data.text, label: "Copy", variant: "primary", atOnce: true }),
        h(Bootstrap.Button, { variant: "secondary", onClick: close }, "Close"),
      ),
    },
    h("p", null, "It has no names, titles, paths or addresses, so it can be posted in public."),
    failure && h(FailureNotice, { failure, retry: refresh }),
    h("textarea", {
      className: "form-control courier-report-text",
      readOnly: true,
      rows: 14,
      value: data?.text ?? "",
      "aria-label": "Text for a bug report",
      "aria-busy": !data && !failure,
    }),
  );
};

// The title of the browser's tab.

/**
 * Holds document.title while the component is shown: Stash sets its own again and again.
 * @param {string} title
 */
const useTitle = (title) => {
  React.useEffect(() => {
    let theirs = document.title;
    const hold = () => {
      if (document.title === title) return;
      theirs = document.title;
      document.title = title;
    };
    hold();
    const observer = new MutationObserver(hold);
    observer.observe(document.head, { childList: true, subtree: true, characterData: true });
    return () => {
      observer.disconnect();
      document.title = theirs;
    };
  }, [title]);
};
