// The view "Connections".
import { h } from "./stash.js";

/** @param {import("./main.js").ViewProps} _props */
export const Connections = (_props) => h("section", { className: "courier-view" }, "No connection is shown yet.");
