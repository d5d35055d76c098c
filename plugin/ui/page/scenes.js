// The view "Scenes".
import { h } from "./stash.js";

/** @param {import("./main.js").ViewProps} _props */
export const Scenes = (_props) => h("section", { className: "courier-view" }, "No scene is shown yet.");
