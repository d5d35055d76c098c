// Asks before a connection is deleted, and what becomes of the deliveries that wait for it.
import { Dialog } from "./dialog.js";
import { Bootstrap, React, h } from "./stash.js";
import { plural } from "./words.js";

const CHOICES = [
  ["send", "Send them first. The connection is deleted when all are sent."],
  ["dead_letter", "Make them dead letters."],
  ["discard", "Discard them. They are not sent."],
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
    Dialog,
    {
      id: "courier-delete",
      title: `Delete ${card.name}?`,
      close,
      footer: h(
        React.Fragment,
        null,
        h(Bootstrap.Button, { variant: "secondary", autoFocus: true, onClick: close }, "Cancel"),
        h(Bootstrap.Button, { variant: "danger", onClick: confirm }, "Delete"),
      ),
    },
    h("p", null, "Nothing is deleted at the receiver. Dead letters of this connection stay."),
    count
      ? h(
          "fieldset",
          null,
          h(
            "legend",
            { className: "courier-legend" },
            `What should happen to what waits (${plural(count, "delivery", "deliveries")})?`,
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
  );
};
