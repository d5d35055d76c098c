// Waits for the first edit after a connection was made, and shows it arrive.
import { call } from "./api.js";
import { FailureNotice } from "./notice.js";
import { usePolling } from "./poll.js";
import { React, Router, h } from "./stash.js";
import { WebLink } from "./web_link.js";
import { duration } from "./words.js";

const EVERY = 2; // seconds
const DELIVERED = new Set(["delivered", "deleted", "digest"]); // outcomes with which something was sent

/**
 * @param {{connection: string, name: string, since: number, on: boolean}} props
 *   `since`: when it was saved, unix seconds of the server; `on`: whether it sends anything
 */
export const FirstDelivery = ({ connection, name, since, on }) => {
  const done = React.useRef(/** @type {any} */ (null)); // the answer that it was delivered, after which nothing is asked
  const { data, failure, refresh } = usePolling(
    async (signal) => {
      const answer = done.current ?? (await call("first_delivery", { connection, since }, signal));
      if (isDelivered(answer)) done.current = answer;
      return answer;
    },
    on ? EVERY : 0,
  );
  if (!on) return h("p", null, "It is paused or off, so nothing is sent yet.");
  return h(
    "div",
    { className: "courier-first" },
    h("p", { role: "status" }, h(Progress, { data, name })),
    failure ? h(FailureNotice, { failure, retry: refresh }) : null,
  );
};

/** @param {any} answer */
const isDelivered = (answer) => answer.state === "done" && DELIVERED.has(answer.outcome);

/** @param {{data: any, name: string}} props */
const Progress = ({ data, name }) => {
  if (!data || data.state === "nothing") {
    return h(
      "span",
      null,
      h("strong", null, "Edit any scene in Stash now."),
      " Change its title, for example. This page shows how it arrives. ",
      h(Router.Link, { to: "/scenes", target: "_blank" }, "Open scenes in a new tab"),
    );
  }
  const scene = data.scene
    ? h(Router.Link, { to: `/scenes/${data.scene.id}`, target: "_blank" }, data.scene.title || `scene ${data.scene.id}`)
    : "a scene";
  if (data.state !== "done") {
    const doing = data.state === "arrived" ? "Your edit has arrived: " : "Sending: ";
    return h("span", null, doing, scene, data.text ? `. ${data.text}` : "…");
  }
  const seconds = data.seconds === null ? "" : ` ${duration(data.seconds)} after your edit`;
  return h(
    "span",
    null,
    isDelivered(data)
      ? h("strong", { className: "courier-ok" }, `Delivered${seconds}.`)
      : h("strong", { className: "courier-warn" }, data.text),
    " ",
    scene,
    data.link ? " · " : "",
    h(WebLink, { href: data.link }, `Open it at ${name}`),
  );
};
