// The view "DeadLetters".
import { h } from "./stash.js";

/** @param {import("./main.js").ViewProps} _props */
export const DeadLetters = (_props) => h("section", { className: "courier-view" }, "No dead letter is shown yet.");
