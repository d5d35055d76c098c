// The line above the plugin's settings in Settings → Plugins.
import { Router, h } from "./stash.js";

/** @param {{path: string}} props */
const SettingsLine = ({ path }) =>
  h(
    "div",
    { className: "courier-settings-line" },
    h(Router.Link, { className: "btn btn-primary", to: path }, "Open Stash Courier"),
  );
export default SettingsLine;
