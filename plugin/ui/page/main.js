// The page: its header, what is wrong with all of it, and one of three views, chosen by the route.
import { call, changed } from "./api.js";
import { Banner } from "./banner.js";
import { BugReport } from "./bug_report.js";
import { Connections } from "./connections.js";
import { DeadLetters } from "./dead_letters.js";
import { outdated } from "./failures.js";
import { Above, FailureNotice } from "./notice.js";
import { usePolling } from "./poll.js";
import { Scenes } from "./scenes.js";
import { Bootstrap, React, Router, h, path, version } from "./stash.js";
import { useTitle } from "./title.js";
import { number } from "./words.js";

/** @typedef {{part: string, label: string, View: (props: ViewProps) => any, seconds: number}} Tab */
/** @typedef {{overview: import("./poll.js").Polled<any>}} ViewProps what every view gets */

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
