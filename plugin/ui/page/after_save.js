// What comes after a save: the first delivery, and once the offer to send scenes that Stash has already.
import { FirstDelivery } from "./first_delivery.js";
import { SendExisting } from "./send_existing.js";
import { Bootstrap, React, h } from "./stash.js";

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
