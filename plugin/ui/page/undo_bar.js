// "10 discarded. Undo", for as long as that is possible: the server says until when, its clock counts.
import { Notice } from "./notice.js";
import { Bootstrap, h } from "./stash.js";
import { clock, number } from "./words.js";

/**
 * @param {{discarded: import("./letters_state.js").Discarded | null, undo: (batch: number) => void, busy: boolean}} props
 */
export const UndoBar = ({ discarded, undo, busy }) => {
  if (discarded === null) return null;
  const action = h(Bootstrap.Button, { variant: "secondary", disabled: busy, onClick: () => undo(discarded.batch) }, "Undo");
  return h(Notice, { action }, `${number(discarded.count)} discarded. They can be restored until ${clock(discarded.until)}.`);
};
