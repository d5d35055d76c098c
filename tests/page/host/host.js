// A small page that gives plugins what Stash's page gives them, with the same libraries in the same versions. It does
// what was observed in a real Stash (docs/architecture.md); nothing of it is taken from Stash.
import { ApolloClient, ApolloLink, ApolloProvider, HttpLink, InMemoryCache, gql } from "@apollo/client";
import * as Apollo from "@apollo/client";
import { onError } from "@apollo/client/link/error";
import * as FontAwesomeSolid from "@fortawesome/free-solid-svg-icons";
import * as FontAwesomeRegular from "@fortawesome/free-regular-svg-icons";
import { FontAwesomeIcon } from "@fortawesome/react-fontawesome";
import React from "react";
import * as Bootstrap from "react-bootstrap";
import ReactDOM from "react-dom";
import { Helmet } from "react-helmet";
import * as Intl from "react-intl";
import * as ReactRouterDOM from "react-router-dom";

import { BooleanSetting, PluginSettings, Setting, SettingsProvider, StringSetting, useSettings } from "./settings.js";
import { before, after, instead, patched } from "./patches.js";

const h = React.createElement;
const { BrowserRouter, Link, Route, useLocation } = ReactRouterDOM;
const base = document.querySelector("base")?.getAttribute("href") ?? "/";

// Stash's own requests send the user to the login when the session has ended.
const toLogin = onError(({ networkError }) => {
  if (networkError && "statusCode" in networkError && networkError.statusCode === 401) {
    window.location.href = `${base}login?returnURL=${encodeURIComponent(window.location.href)}`;
  }
});
const client = new ApolloClient({
  link: ApolloLink.from([toLogin, new HttpLink({ uri: `${base}graphql` })]),
  cache: new InMemoryCache(),
});

/** @type {Map<string, React.ComponentType>} */
const routes = new Map();
/** @type {Set<() => void>} */
const watchers = new Set();

window.PluginApi = /** @type {any} */ ({
  React,
  ReactDOM,
  libraries: {
    ReactRouterDOM,
    Bootstrap,
    Apollo,
    Intl,
    FontAwesomeSolid,
    FontAwesomeRegular,
  },
  register: {
    route: (/** @type {string} */ path, /** @type {React.ComponentType} */ component) => {
      routes.set(path, component);
      watchers.forEach((watch) => watch());
    },
  },
  patch: { before, after, instead },
  components: {
    Icon: (/** @type {any} */ props) => h(FontAwesomeIcon, props),
    Setting,
    BooleanSetting,
    StringSetting,
  },
  loadableComponents: { Settings: () => Promise.resolve() },
  utils: {
    StashService: { getClient: () => client },
    loadComponents: (/** @type {Array<() => Promise<void>>} */ parts) => Promise.all(parts.map((load) => load())),
  },
  hooks: { useToast: () => {}, useSettings }, // the page only looks whether there are toasts, as from 0.27 on
});

/** Blanks everything when a part of the page throws. @extends {React.Component<{}, {failed: boolean}>} */
class Everything extends React.Component {
  /** @param {{}} props */
  constructor(props) {
    super(props);
    this.state = { failed: false };
  }

  static getDerivedStateFromError() {
    return { failed: true };
  }

  render() {
    return this.state.failed ? h("h1", null, "Something went wrong") : this.props.children;
  }
}

const UtilityItems = patched("MainNavBar.UtilityItems", (props) => h(React.Fragment, null, props.children));

/** Twice, as in Stash: the first is in the menu of narrow screens. */
const NavBar = () =>
  h(
    "nav",
    { className: "top-nav navbar", "aria-label": "Stash" },
    h(Link, { to: "/", className: "navbar-brand" }, "Stash"),
    ["menu", "navbar-buttons"].map((row) =>
      h(
        "div",
        { key: row, className: row },
        h(
          UtilityItems,
          null,
          h(Link, { to: "/settings?tab=plugins", className: "nav-utility btn btn-primary minimal" }, "Settings"),
        ),
      ),
    ),
  );

const Settings = () => {
  const { data } = Apollo.useQuery(
    gql`
      {
        plugins {
          id
          name
          settings {
            name
            display_name
            description
            type
          }
        }
      }
    `,
  );
  return h(
    "div",
    { className: "settings-page" },
    h(Helmet, { title: "Settings | Stash" }),
    h(
      SettingsProvider,
      null,
      (data?.plugins ?? []).map((/** @type {any} */ plugin) =>
        h(
          "div",
          { key: plugin.id, className: "card" },
          h("h2", null, plugin.name),
          h(PluginSettings, { pluginID: plugin.id, settings: plugin.settings }),
        ),
      ),
    ),
  );
};

const Scene = () => {
  const { pathname } = useLocation();
  return h("div", null, h(Helmet, { title: "Scene | Stash" }), h("h1", null, `Scene ${pathname.split("/")[2]}`));
};

const Pages = () => {
  const [, again] = React.useReducer((count) => count + 1, 0);
  React.useEffect(() => {
    watchers.add(again);
    return () => {
      watchers.delete(again);
    };
  }, []);
  return h(
    React.Fragment,
    null,
    h(Route, { exact: true, path: "/" }, h("div", null, h(Helmet, { title: "Stash" }), h("h1", null, "Start"))),
    h(Route, { path: "/scenes/:id", component: Scene }),
    h(Route, { path: "/settings", component: Settings }),
    // Neither exact nor in a Switch, as in Stash.
    [...routes].map(([path, component]) => h(Route, { key: path, path, component })),
  );
};

/** Stash writes the title again now and then, for example when something of it is loaded later. */
const Titles = () => {
  const { pathname } = useLocation();
  const [count, again] = React.useReducer((value) => value + 1, 0);
  React.useEffect(() => {
    const timer = setTimeout(again, 300);
    return () => clearTimeout(timer);
  }, [pathname]);
  return h(Helmet, { defaultTitle: "Stash", title: count % 2 ? "Stash " : "Stash" });
};

/** Inserts the scripts and styles of all plugins once, and waits for them. */
const loadPlugins = async () => {
  /** @type {Promise<void>[]} */
  const loading = [];
  const { data } = await client.query({ query: gql("{ plugins { id enabled paths { javascript css } } }") });
  for (const plugin of data.plugins) {
    if (!plugin.enabled) continue;
    for (const href of plugin.paths.css ?? []) {
      document.head.append(Object.assign(document.createElement("link"), { rel: "stylesheet", href }));
    }
    for (const src of plugin.paths.javascript ?? []) {
      const script = Object.assign(document.createElement("script"), { src, async: false });
      loading.push(new Promise((resolve) => (script.onload = script.onerror = () => resolve())));
      document.body.append(script);
    }
  }
  await Promise.all(loading);
};

const App = () => {
  const [loaded, setLoaded] = React.useState(false);
  React.useEffect(() => void loadPlugins().then(() => setLoaded(true)), []);
  if (!loaded) return null;
  return h(
    Everything,
    null,
    h(
      Intl.IntlProvider,
      { locale: "en-US" },
      h(
        ApolloProvider,
        { client, children: null },
        h(
          BrowserRouter,
          { basename: base.replace(/\/$/, "") },
          h(Titles),
          h(NavBar),
          h("div", { className: "main container-fluid" }, h(Pages)),
        ),
      ),
    ),
  );
};

ReactDOM.render(h(App), document.getElementById("root"));
