// Links to scenes, and out of Stash.
import { h, Router } from "./stash.js";

/**
 * @param {number} sceneId negative: a message about trouble; 0: unknown
 * @param {string} title
 */
export const sceneName = (sceneId, title) => {
  if (sceneId < 0) return title || "A message about trouble";
  if (sceneId === 0) return title || "An unreadable event";
  return title || `Scene ${sceneId}`;
};

/**
 * A link to the scene in Stash; only its name if it is none.
 * @param {{sceneId: number, title: string}} props
 */
export const SceneLink = ({ sceneId, title }) =>
  sceneId > 0
    ? h(Router.Link, { to: `/scenes/${sceneId}` }, sceneName(sceneId, title))
    : h("span", null, sceneName(sceneId, title));

/**
 * Nothing if the address isn't one of the web: whatever else an answer holds, such as javascript:, is no link.
 * @param {{href: string | null | undefined, children?: any}} props
 */
export const WebLink = ({ href, children }) =>
  href && /^https?:\/\//i.test(href) ? h("a", { href, target: "_blank", rel: "noopener noreferrer" }, children) : null;
