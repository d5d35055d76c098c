// What the page gets from Stash. Other modules import it from here, so that one place knows Stash's names.

const api = window.PluginApi;

export const React = api.React;
export const h = React.createElement;
export const Bootstrap = api.libraries.Bootstrap;
export const Router = api.libraries.ReactRouterDOM;

/** Where Stash shows the settings of plugins. */
export const settingsPath = "/settings?tab=plugins";

// Where this file was loaded from says the rest: <base>plugin/<id>/assets/<version>/shared/stash.js
const [, root = "/", name = "", number = ""] =
  /^(.*\/)plugin\/([^/]+)\/assets\/([^/]+)\//.exec(import.meta.url) ?? [];

/** The address of Stash, with a slash at its end. */
export const base = root;
/** The plugin's id, which is the name of its folder's manifest. */
export const pluginId = decodeURIComponent(name);
/** The version of this page. */
export const version = number;
/** The page's own path inside Stash. */
export const path = `/plugins/${pluginId}`;
