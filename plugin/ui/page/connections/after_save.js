// What comes after a save: the first delivery as it arrives, and once the offer to send scenes that Stash has already.
import { call } from "../shared/api.js";
import { WebLink } from "../shared/links.js";
import { FailureNotice } from "../shared/notice.js";
import { usePolling } from "../shared/poll.js";
import { Bootstrap, h, React, Router } from "../shared/stash.js";
import { duration } from "../shared/words.js";
import { SendExisting } from "./send_existing.js";

const EVERY = 2; // seconds
const DELIVERED = new Set(["delivered", "deleted", "digest"]); // outcomes with which something was sent

/**
 * @param {{connection: string, name: string, since: number, on: boolean}} props
 *   `since`: when it was saved, unix seconds of the server; `on`: whether it sends anything
 */
const FirstDelivery = ({ connection, name, since, on }) => {
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

/**
 * @param {{card: any, at: string | null, offer: string | null, forgetOffer: () => void, close: () => void}} props
 *   `at`: when a new connection was saved, unix seconds; null if it isn't new. `offer`: "all", or since when, or null
 */
export const AfterSave = ({ card, at, offer, forgetOffer, close }) => {
  const [sending, setSending] = React.useState(false);
  const heading = React.useRef(/** @type {HTMLElement | null} */ (null));
  React.useEffect(() => heading.current?.focus(), []);
  return h(
    "section",
    { className: "card courier-card", "aria-labelledby": "courier-after" },
    h(
      "div",
      { className: "card-body" },
      h("h3", { id: "courier-after", tabIndex: -1, ref: heading }, `${card.name} is saved`),
      at ? h(FirstDelivery, { connection: card.id, name: card.name, since: Number(at), on: card.state === "on" }) : null,
      h(
        "div",
        { className: "courier-actions" },
        offer
          ? h(Bootstrap.Button, { variant: "secondary", onClick: () => setSending(true) }, "Send existing scenes")
          : null,
        h(Bootstrap.Button, { variant: "secondary", onClick: close }, "Done"),
      ),
      sending
        ? h(SendExisting, {
            card,
            since: offer && offer !== "all" ? Number(offer) : undefined,
            close: () => {
              setSending(false);
              forgetOffer();
            },
          })
        : null,
    ),
  );
};
