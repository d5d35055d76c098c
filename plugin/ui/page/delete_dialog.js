// Asks before a connection is deleted, and what becomes of the deliveries that wait for it.
import { Bootstrap, React, h } from "./stash.js";
import { plural } from "./words.js";

const CHOICES = [
  ["send", "Send it first. The connection is deleted when all of it is sent."],
  ["dead_letter", "Make dead letters of it."],
  ["discard", "Discard it."],
];

/** @param {{card: any, close: () => void, remove: (waiting: string) => void}} props */
export const DeleteDialog = ({ card, close, remove }) => {
  const [waiting, setWaiting] = React.useState("send");
  const confirm = () => {
    close();
    remove(waiting);
  };
  const count = card.waiting + card.in_flight;
  return h(
    Bootstrap.Modal,
    { show: true, onHide: close, className: "courier-modal", "aria-labelledby": "courier-delete" },
    h(Bootstrap.Modal.Header, null, h(Bootstrap.Modal.Title, { id: "courier-delete" }, `Delete ${card.name}?`)),
    h(
      Bootstrap.Modal.Body,
      null,
      h("p", null, "Nothing is deleted at the receiver. Dead letters of this connection stay."),
      count
        ? h(
            "fieldset",
            null,
            h(
              "legend",
              { className: "courier-legend" },
              `What becomes of what waits (${plural(count, "delivery", "deliveries")})?`,
            ),
            CHOICES.map(([value, label]) =>
              h(Bootstrap.Form.Check, {
                key: value,
                id: `courier-waiting-${value}`,
                type: "radio",
                name: "courier-waiting",
                label,
                checked: waiting === value,
                onChange: () => setWaiting(value),
              }),
            ),
          )
        : null,
    ),
    h(
      Bootstrap.Modal.Footer,
      null,
      h(Bootstrap.Button, { variant: "secondary", autoFocus: true, onClick: close }, "Cancel"),
      h(Bootstrap.Button, { variant: "danger", onClick: confirm }, "Delete"),
    ),
  );
};
