// One dead letter, opened: the scene, every attempt, what would be sent now, and what can be done.
import { call } from "./api.js";
import { CopyButton } from "./copy_button.js";
import { FailureNotice } from "./notice.js";
import { usePolling } from "./poll.js";
import { SceneLink } from "./scene_name.js";
import { SentNow } from "./sent_now.js";
import { Bootstrap, React, h } from "./stash.js";
import { Timeline } from "./timeline.js";
import { ago, clock, number } from "./words.js";

/**
 * @typedef {import("./letters_state.js").Row & {
 *   history: import("./timeline.js").Attempt[], stack_trace: string, plugin_version: string, copy: string,
 * }} Letter
 * @typedef {import("./letter_actions.js").Action} Action
 * @typedef {(action: Action, args: Record<string, unknown>) => void} Act
 */
