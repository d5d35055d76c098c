"""What happened to each scene: its last outcome at each connection, its receipt, and sending it once more.

``outcomes``, ``receipt`` and ``first_delivery`` only read queue.db, and dlq.db where a row is a dead letter.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from stash_courier.plugin.errors import BadInputError
from stash_courier.plugin.text import outcomes as sentences
from stash_courier.plugin.text.words import flat, sentence
from stash_courier.queue import control, search
from stash_courier.queue.dead_letters import statements as dlq_statements
from stash_courier.queue.deliveries import backlog
from stash_courier.queue.deliveries.backlog import Live
from stash_courier.queue.history import ledger, receipts
from stash_courier.queue.history.receipts import Receipt
from stash_courier.queue.inbox import store
from stash_courier.worker.delivery import breaker
from stash_courier.worker.stash.address import StashUnavailable

if TYPE_CHECKING:
    from stash_courier.plugin.arguments import Arguments
    from stash_courier.plugin.context import Context

PAGE_ROWS = 50
LIVE_ROWS = 20  # deliveries on their way that come first where nothing is searched

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a scene at a connection, in an answer."""

    scene_id: int
    destination: str  # the connection's id
    at: float  # wall time of the outcome; of one on its way that of the last attempt, else of the edit
    outcome: str  # one of receipts.Code, or backlog.State
    text: str
    title: str = ""
    path: str = ""
    event: str = ""  # "" if it isn't known
    event_at: float | None = None  # wall time of the edit
    live: bool = False  # it is on its way
    has_receipt: bool = False
    dead_letter: int | None = None


def outcomes(context: Context, arguments: Arguments) -> Row:
    """The last outcome of each scene and connection, newest first: all, or those that a text finds.

    With a scene's id, that scene's rows come first, even from connections without a receipt of it.
    """
    text, page = (arguments.text or "").strip(), arguments.page or 1
    scene_id = search.scene_id(text)
    with _opened(context) as shown:
        if shown is None:
            return {"page": page, "more": False, "waiting": None if text else 0, "rows": []}
        only = arguments.connection
        place = PAGE_ROWS, (page - 1) * PAGE_ROWS
        listed, more = receipts.page(shown.conn, *place, search=text, destination=only, without=scene_id)
        rows: list[Row] = []
        if page == 1 and scene_id is not None:
            rows = [row for name in shown.names_of(only) if (row := shown.outcome(scene_id, name)) is not None]
            rows.sort(key=lambda row: (row["live"], row["at"]), reverse=True)
        elif page == 1 and text:
            # What waits has no title, but other connections may have a receipt of the same scene.
            rows = shown.on_their_way([one.scene_id for one in listed], only)
        elif page == 1:
            rows = [
                shown.live(one) for one in backlog.some(shown.conn, shown.names_of(only), shown.now, LIVE_ROWS)
            ]
        there = {(row["scene_id"], row["destination"]) for row in rows}
        rows += [shown.of_receipt(one) for one in listed if (one.scene_id, one.destination) not in there]
        waiting = None if text else backlog.scenes(shown.conn, only)
        return {"page": page, "more": more, "waiting": waiting, "rows": rows}


def receipt(context: Context, arguments: Arguments) -> Row:
    """One outcome, with what the delivery changed there and what it left alone."""
    scene_id, name = _named(arguments)
    with _opened(context) as shown:
        row = None if shown is None else shown.outcome(scene_id, name)
        if shown is None or row is None:
            raise BadInputError(f"Nothing is recorded of scene {scene_id} and this connection.")
        found = receipts.find(shown.conn, name, scene_id)
        return {**row, **_detail(found)}


def send_scene(context: Context, arguments: Arguments) -> Row:
    """Queues one scene for one connection, as an edit."""
    scene_id, name = _named(arguments)
    _check_connection(context, name)
    _check_scene(context, scene_id)
    at = time.time()
    event = {"scene": scene_id, "event": "update", "changed": [], "at": at, "to": [name]}
    store.put(str(context.folder), store.encode(event), at)
    context.wake_worker()
    return {"queued": True}


def first_delivery(context: Context, arguments: Arguments) -> Row:
    """How far the newest edit since a wall time has got on its way to one connection."""
    name, since = arguments.connection, arguments.since
    if name is None or since is None:
        raise BadInputError("first_delivery needs connection and since.")
    nothing: Row = {"state": "nothing", "scene": None, "outcome": None, "text": "", "seconds": None, "link": ""}
    with _opened(context) as shown:
        if shown is None:
            return nothing
        waiting = backlog.edited_since(shown.conn, name, since, shown.now)
        done = receipts.of_edit(shown.conn, name, since)
        if done is not None and (waiting is None or waiting.delivery.at < done.event_at):
            row = shown.of_receipt(done, alone=True)
            known = {"outcome": row["outcome"], "text": row["text"], "seconds": done.seconds}
            scene = {"id": done.scene_id, "title": done.title}
            return {**nothing, "state": "done", "scene": scene, **known, "link": done.detail.link}
        if waiting is not None:
            row = shown.live(waiting)
            state = "sending" if waiting.state == "sending" else "arrived"
            scene = {"id": waiting.delivery.scene_id, "title": row["title"]}
            return {**nothing, "state": state, "scene": scene, "outcome": row["outcome"], "text": row["text"]}
        arrived = backlog.arrived(shown.conn, name, since)
        return (
            nothing if arrived is None else {**nothing, "state": "arrived", "scene": {"id": arrived, "title": ""}}
        )


def _named(arguments: Arguments) -> tuple[int, str]:
    if arguments.scene is None or arguments.connection is None:
        raise BadInputError("This needs scene and connection.")
    return arguments.scene, arguments.connection


def _check_connection(context: Context, name: str) -> None:
    """Raises BadInputError unless a connection takes scenes."""
    entry = context.store.read().find(name)
    if entry is None:  # perhaps of the quick start: then the worker knows it
        with _opened(context) as shown:
            if shown is None or name not in shown.states or shown.states[name].get("removed_at"):
                raise BadInputError(f"There is no connection {flat(name)!r}. Reload the page.")
    elif entry.state not in {"on", "paused"}:
        raise BadInputError(f"{entry.name} is switched off or deleted. Switch it on first.")


def _check_scene(context: Context, scene_id: int) -> None:
    """Raises BadInputError unless Stash has a scene."""
    try:
        there = context.stash.titles({scene_id})
    except StashUnavailable as error:
        raise BadInputError(
            f"Stash can't be asked for this scene. {sentence(str(error))} Nothing was queued."
        ) from error
    if scene_id not in there:
        raise BadInputError(f"Stash has no scene {scene_id}. Nothing was queued.")


def _detail(found: Receipt | None) -> Row:
    if found is None:
        return {"changes": [], "left": [], "link": "", "changed": [], "seconds": None}
    detail = found.detail
    changes = [{"field": field, "before": before, "after": after} for field, before, after in detail.changes]
    left = {"left": [*detail.left], "link": detail.link}
    return {"changes": changes, **left, "changed": sentences.edited(found.changed), "seconds": found.seconds}


@contextmanager
def _opened(context: Context) -> Iterator[_Shown | None]:
    """The queue; None if there is none yet."""
    with ExitStack() as opened:
        conn, dlq = opened.enter_context(context.read_queue()), None
        with suppress(store.QueueUnavailable, sqlite3.Error):  # the view of the dead letters says why
            dlq = opened.enter_context(context.read_dead_letters())
        yield None if conn is None else _Shown(context, conn, dlq)


class _Shown:
    """Rows of queue.db as the page shows them. ``dlq`` is None if there is no dlq.db, or it can't be read."""

    def __init__(self, context: Context, conn: sqlite3.Connection, dlq: sqlite3.Connection | None) -> None:
        self.conn = conn
        self.now = time.time()
        self.states = control.states(conn)
        self._dlq = dlq
        self._entries = {entry.id: entry for entry in context.store.read().entries}

    def names_of(self, only: str | None) -> list[str]:
        """The ids of one connection, or of all that may have something."""
        return [only] if only is not None else [*dict.fromkeys((*self._entries, *self.states))]

    def on_their_way(self, scene_ids: Iterable[int], only: str | None) -> list[Row]:
        """The deliveries of these scenes that are on their way."""
        places = [(scene_id, name) for scene_id in dict.fromkeys(scene_ids) for name in self.names_of(only)]
        waiting = [one for scene_id, name in places if (one := backlog.find(self.conn, name, scene_id, self.now))]
        return [*map(self.live, waiting)]

    def outcome(self, scene_id: int, name: str) -> Row | None:
        """What is known of a scene and a connection; None if nothing is."""
        found = receipts.find(self.conn, name, scene_id)
        if found is not None:
            return self.of_receipt(found)
        if (waiting := backlog.find(self.conn, name, scene_id, self.now)) is not None:
            return self.live(waiting)
        sent = ledger.find(self.conn, name, scene_id)
        if sent is None:
            return None
        code, text = sentences.from_ledger(sent, self.now)
        return self._row(Outcome(scene_id, name, sent.fetched_at, code, text, path=sent.path))

    def of_receipt(self, found: Receipt, *, alone: bool = False) -> Row:
        """A receipt, or the delivery that is on its way since, unless it is wanted ``alone``."""
        waiting = None if alone else backlog.find(self.conn, found.destination, found.scene_id, self.now)
        if waiting is not None:
            return self.live(waiting, found)
        dead_letter = self._dead_letter(found) if found.outcome == "dead" else None
        text = sentences.recorded(found, dead_letter=dead_letter)
        return self._row(
            Outcome(
                *(found.scene_id, found.destination, found.at, found.outcome, text),
                title=found.title,
                path=found.path,
                event=found.event,
                event_at=found.event_at,
                has_receipt=True,
                dead_letter=dead_letter,
            )
        )

    def live(self, one: Live, found: Receipt | None = None) -> Row:
        """A delivery on its way; ``found`` is the receipt of the scene's last one."""
        job = one.delivery
        found = found or receipts.find(self.conn, job.destination, job.scene_id)
        # A delivery knows neither title nor path, but another connection's receipt of the scene does.
        others = (receipts.find(self.conn, name, job.scene_id) for name in self.names_of(None))
        known = found or next(filter(None, others), None)
        path = known.path if known else job.path
        if not path and (sent := ledger.find(self.conn, job.destination, job.scene_id)) is not None:
            path = sent.path
        return self._row(
            Outcome(
                *(job.scene_id, job.destination, one.at, one.state),
                sentences.live(one, self._hold(job.destination)),
                title=known.title if known else "",
                path=path,
                event=job.event,
                event_at=job.at,
                live=True,
                has_receipt=found is not None,
            )
        )

    def _row(self, outcome: Outcome) -> Row:
        return {**asdict(outcome), "name": self._name(outcome.destination)}

    def _name(self, name: str) -> str:
        return self._entries[name].name if name in self._entries else name

    def _hold(self, name: str) -> str:
        """Why nothing is sent to a connection now, in a sentence; "" if it is."""
        entry, health = self._entries.get(name), breaker.from_json(self.states.get(name, {}))
        if control.get(self.conn, control.PAUSED) is not None:
            return "Deliveries are paused."
        if control.get(self.conn, control.DISABLED):
            return "Stash Courier is disabled in Stash."
        if entry is not None and entry.state != "on":
            return "This connection is paused." if entry.state == "paused" else "This connection is switched off."
        if health.removed_at:
            return "This connection was removed."
        if health.state != "well":
            return sentence(health.reason)
        if health.retry_at > self.now:
            return "The receiver asked to get nothing for a while."
        away = control.get(self.conn, control.STASH)
        return f"Stash can't be asked for the scene. {sentence(away['reason'])}" if away else ""

    def _dead_letter(self, found: Receipt) -> int | None:
        """The id of a scene's dead letter if it is still one."""
        if self._dlq is None:
            return None
        try:
            known = self._dlq.execute(dlq_statements.BY_SCENE, (found.scene_id, found.destination)).fetchone()
        except sqlite3.Error:
            return None
        return known[0] if known is not None and known[1] in {"dead", "asked"} else None
