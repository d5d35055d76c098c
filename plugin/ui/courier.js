// What Stash loads with each of its pages: wakes the worker, and adds the link, the badge, the page and a line above
// the plugin's settings. Everything else is loaded when it is shown. A throw in a part of Stash's page would blank
// all of Stash, so each of ours has a boundary around it, and nothing here throws.
(() => {
  const VERSION = "0.0.0"; // also in the manifest's assets, so that a browser never mixes two versions
  const WAKE_DELAY = 3000; // milliseconds, so that the page's own requests go first
  const WAKE_LIMIT = 60 * 1000; // milliseconds, because a browser has few connections to Stash
  const BADGE_EVERY = 60 * 1000; // milliseconds
  const PASSES_AFTER = 3 * 1000; // milliseconds, until what passes by itself is looked at again
  const LOGGED_EVERY = 600 * 1000; // milliseconds, between calls that fail with a line in Stash's log
  const LATE = [50, 500, 2000]; // milliseconds after the start
  const MARK = "__stashCourier";

  // Stash inserts the scripts again when its list of plugins changes.
  if (window[MARK]) return;
  window[MARK] = VERSION;

  const script = /** @type {HTMLScriptElement | null} */ (document.currentScript);
  const id = decodeURIComponent(/\/plugin\/([^/?]+)\/javascript/.exec(script?.src ?? "")?.[1] ?? "");
  const base = document.querySelector("base")?.href;
  if (!id || !base) return;
  const assets = `${base}plugin/${encodeURIComponent(id)}/assets/${VERSION}/`;
  const path = `/plugins/${id}`;

  // Stash starts no plugin when it starts. Reports no errors: a disabled or unreachable plugin must not disturb.
  const wake = async () => {
    const ending = new AbortController();
    const timer = setTimeout(() => ending.abort(), WAKE_LIMIT);
    try {
      await fetch(`${base}graphql`, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({
          query:
            "mutation StashCourierWake($id: ID!, $args: Map) { runPluginOperation(plugin_id: $id, args: $args) }",
          variables: { id, args: { mode: "wake" } },
        }),
        keepalive: true, // the request survives leaving the page
        signal: ending.signal,
      });
    } catch {
      // The next page load tries again.
    }
    clearTimeout(timer);
  };
  setTimeout(wake, WAKE_DELAY);

  const api = window.PluginApi;
  const React = api?.React;
  const Router = api?.libraries?.ReactRouterDOM;
  if (!React || !Router || !api.register?.route || !api.patch?.before) return; // older than 0.24
  const h = React.createElement;

  /** Shows `instead` when something inside throws. @extends {React.Component<any, {failed: boolean}>} */
  class Boundary extends React.Component {
    /** @param {any} props */
    constructor(props) {
      super(props);
      this.state = { failed: false };
    }

    static getDerivedStateFromError() {
      return { failed: true };
    }

    render() {
      return this.state.failed ? (this.props.instead ?? null) : this.props.children;
    }
  }

  // The badge. Stash shows its bar twice, wide and narrow, so the state is here.

  /** @typedef {{count: number, text: string, down: string[], passes?: boolean, version?: string}} Badge */
  /** @type {Badge} */
  let badge = { count: 0, text: "", down: [] };
  /** @type {Set<(badge: Badge) => void>} */
  const shown = new Set();
  let asked = 0; // when the badge was asked for last, in milliseconds
  let every = BADGE_EVERY;
  let asking = false;
  let again = false; // something changed while it was asked for

  const showBadge = (/** @type {Badge} */ now) => {
    badge = now;
    shown.forEach((show) => show(badge));
  };

  const refreshBadge = async () => {
    if (document.hidden) return;
    if (asking) {
      again = true;
      return;
    }
    asking = true;
    asked = Date.now();
    try {
      const [{ call }, { outdated }] = await Promise.all([import(`${assets}shared/api.js`), import(`${assets}shared/failures.js`)]);
      every = BADGE_EVERY;
      badge = await call("badge").catch((/** @type {any} */ failure) => {
        if (failure.logged) every = LOGGED_EVERY;
        return { count: 0, down: [], text: failure.message };
      });
      if (!badge.text) badge.text = outdated(VERSION, badge.version)?.message ?? "";
    } catch {
      badge = { count: 0, down: [], text: "The page can't be loaded. Reload this tab." };
    }
    asking = false;
    showBadge(badge);
    if (badge.passes) setTimeout(refreshBadge, PASSES_AFTER);
    if (again) {
      again = false;
      refreshBadge();
    }
  };

  const watchBadge = () => {
    const ifDue = () => {
      if (Date.now() - asked >= every - BADGE_EVERY / 2) refreshBadge();
    };
    setTimeout(ifDue, WAKE_DELAY / 3);
    setInterval(ifDue, BADGE_EVERY);
    document.addEventListener("visibilitychange", ifDue);
    window.addEventListener("stash-courier:changed", (event) => {
      const failed = /** @type {CustomEvent} */ (event).detail;
      if (failed) showBadge({ count: 0, down: [], text: failed });
      else refreshBadge();
    });
  };

  const NavLink = () => {
    const [now, show] = React.useState(badge);
    React.useEffect(() => {
      shown.add(show);
      return () => {
        shown.delete(show);
      };
    }, []);
    const title = now.text ? `Stash Courier: ${now.text}` : "Stash Courier";
    return h(
      Router.NavLink,
      { to: path, className: "btn btn-primary minimal nav-utility courier-nav", title, "aria-label": title },
      h(
        "svg",
        { viewBox: "0 0 24 24", width: 18, height: 18, "aria-hidden": true, fill: "none", stroke: "currentColor" },
        h("path", { d: "M22 2 2 10l8 4 4 8z M10 14 22 2", strokeWidth: 2, strokeLinejoin: "round" }),
      ),
      now.text || now.count
        ? h("span", { className: "badge badge-danger courier-badge", "aria-hidden": true }, now.count || "!")
        : null,
    );
  };

  // The page and the line above the settings

  const TooOld = () =>
    h(
      "main",
      { className: "courier-page" },
      h("h1", null, "Stash Courier"),
      h("p", null, "This page needs Stash 0.27 or newer. In this version use the buttons in Settings → Tasks."),
    );

  const NotLoaded = () =>
    h(
      "main",
      { className: "courier-page" },
      h("h1", null, "Stash Courier"),
      h("p", { role: "alert" }, "This page failed. Nothing in the queue is lost, and deliveries go on."),
      h("button", { className: "btn btn-primary", onClick: () => window.location.reload() }, "Reload"),
    );

  /**
   * A component that is loaded when it is shown for the first time.
   * @param {string} file a module of page/ whose default export is the component
   * @param {any} [instead] shown when it can't be loaded
   */
  const lazy = (file, instead) => (/** @type {any} */ props) => {
    const [Loaded, show] = React.useState(/** @type {any} */ (null));
    React.useEffect(() => {
      let gone = false;
      import(`${assets}${file}`).then(
        (module) => gone || show(() => module.default),
        () => gone || show(() => instead ?? (() => null)),
      );
      return () => {
        gone = true;
      };
    }, []);
    return Loaded && h(Loaded, props);
  };

  const Page = lazy("main.js", NotLoaded);
  const PluginSettings = lazy("connections/settings.js", (/** @type {any} */ { original }) => original);
  const Original = (/** @type {any} */ { props, next }) => next(props);

  const extend = () => {
    api.register.route(path, () => h(Boundary, { instead: h(NotLoaded) }, h("useToast" in (api.hooks ?? {}) ? Page : TooOld)));
    api.patch.before("MainNavBar.UtilityItems", (/** @type {any} */ props) => [
      { ...props, children: h(React.Fragment, null, props?.children, h(Boundary, null, h(NavLink))) },
    ]);
    api.patch.instead("PluginSettings", (/** @type {any} */ props, /** @type {any[]} */ ...rest) => {
      const original = h(Original, { props, next: rest[rest.length - 1] });
      if (props?.pluginID !== id) return original;
      return h(Boundary, { instead: original }, h(PluginSettings, { original }));
    });
    watchBadge();
    LATE.forEach((delay) => setTimeout(renderAgain, delay));
  };

  // Before 0.28 Stash may have shown its page before our script ran, and wouldn't look at what it registered. Going
  // to where the user already is makes it look.
  const renderAgain = () => {
    if (!document.querySelector("nav.top-nav") || document.querySelector(".courier-nav")) return;
    window.dispatchEvent(new PopStateEvent("popstate", { state: window.history.state }));
  };

  try {
    extend();
  } catch (error) {
    console.error("Stash Courier:", error);
  }
})();
