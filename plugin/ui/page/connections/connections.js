// The view "Connections": a card for each, or the form of one, or the choice of a kind.
import { changed } from "../shared/api.js";
import { useBriefly } from "../shared/running.js";
import { Bootstrap, h, path, React, Router } from "../shared/stash.js";
import { Card } from "./card.js";
import { AfterSave } from "./after_save.js";
import { ConnectionForm } from "./form.js";
import { Kinds } from "./kinds.js";

/** @typedef {(query?: Record<string, string>, state?: object) => void} Go shows another part of this view */

/** @param {import("../main.js").ViewProps} props */
export const Connections = ({ overview }) => {
  const location = /** @type {any} */ (Router.useLocation());
  const history = Router.useHistory();
  const query = new URLSearchParams(location.search);
  const moved = React.useRef(false); // within this view, so that what is shown next gets the focus
  /** @type {Go} */
  const go = (next = {}, state = undefined) => {
    moved.current = true;
    history.push({ pathname: path, search: new URLSearchParams(next).toString(), state });
  };
  /** A card's fix is put into the draft once: after a reload it would undo what was typed since. */
  const forgetFix = () => history.replace({ ...history.location, state: undefined });
  const forgetOffer = () => {
    query.delete("offer");
    history.replace({ pathname: path, search: query.toString() });
  };
  const what = whatOf(query);
  const [said, say] = useBriefly();
  const { data } = overview;

  /** @param {any} answer @param {boolean} isNew */
  const onSaved = (answer, isNew) => {
    changed();
    const shown = overview.refresh();
    const [offer] = answer.offers;
    const since = String(data?.at ?? Date.now() / 1000); // the server's clock, if it is known
    /** @type {Record<string, string>} */
    const offered = offer ? { offer: String(offer.since ?? "all") } : {};
    if (isNew) go({ saved: answer.id, at: since, ...offered });
    else if (offer) go({ saved: answer.id, ...offered });
    else {
      void shown.then(() => say("Saved."));
      go();
    }
  };

  if (what) {
    const focus = query.get("field") ?? "";
    const fix = location.state?.fix ?? null;
    return h(ConnectionForm, { key: JSON.stringify(what), what, fix, forgetFix, focus, onSaved, onCancel: () => go() });
  }
  if (query.has("new")) return h(Kinds, { go, first: data?.connections.length === 0 });
  if (!data) return overview.failure ? null : h("p", { role: "status" }, "Loading…");
  if (!data.connections.length && !query.has("saved")) return h(Kinds, { go, first: true });
  return h(List, { overview, go, forgetOffer, query, said, focused: moved.current });
};

/**
 * @param {{overview: import("../shared/poll.js").Polled<any>, go: Go, forgetOffer: () => void, query: URLSearchParams,
 *   said: string, focused: boolean}} props `said`: what was just done
 */
const List = ({ overview, go, forgetOffer, query, said, focused }) => {
  const { data, refresh } = overview;
  const saved = query.get("saved"); // then its own heading gets the focus
  const card = saved ? data.connections.find((/** @type {any} */ one) => one.id === saved) : undefined;
  const heading = React.useRef(/** @type {HTMLElement | null} */ (null));
  React.useEffect(() => {
    if (focused && !saved) heading.current?.focus();
  }, [focused, saved]);
  return h(
    "section",
    { className: "courier-view" },
    h(
      "div",
      { className: "courier-toolbar" },
      h("h2", { tabIndex: -1, ref: heading }, "Connections"),
      h("span", { role: "status" }, said),
      h(Bootstrap.Button, { variant: "primary", onClick: () => go({ new: "" }) }, "Add connection"),
    ),
    saved && !card ? h("p", { role: "status" }, "Saved. Loading…") : null,
    card
      ? h(AfterSave, { key: card.id, card, at: query.get("at"), offer: query.get("offer"), forgetOffer, close: () => go() })
      : null,
    data.connections.map((/** @type {any} */ one) =>
      h(Card, { key: one.id, card: one, revision: data.revision, now: data.at, refresh, go }),
    ),
  );
};

/**
 * Which form the address names.
 * @param {URLSearchParams} query
 * @returns {import("./form_state.js").What | null}
 */
const whatOf = (query) => {
  const [edit, copy, kind] = [query.get("edit"), query.get("copy"), query.get("new")];
  if (edit) return { mode: "edit", id: edit, preset: "" };
  if (copy) return { mode: "copy", id: copy, preset: "" };
  return kind ? { mode: "new", id: kind, preset: query.get("preset") ?? "" } : null;
};
