// A link out of Stash, in a new tab.
import { h } from "./stash.js";

/**
 * Nothing if the address isn't one of the web: whatever else an answer holds, such as javascript:, is no link.
 * @param {{href: string | null | undefined, children?: any}} props
 */
export const WebLink = ({ href, children }) =>
  href && /^https?:\/\//i.test(href) ? h("a", { href, target: "_blank", rel: "noopener noreferrer" }, children) : null;
