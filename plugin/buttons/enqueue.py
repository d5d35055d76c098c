"""The task "Send all scenes", and the modes that queue other scenes which Stash already has.

Ids come from Stash and go into the inbox page by page, marked as bulk, so that every edit goes first. The worker
fetches and filters the scenes when it delivers them.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from stash_courier.plugin import log
from stash_courier.plugin.arguments import Arguments
from stash_courier.plugin.context import Context
from stash_courier.plugin.errors import BadInputError
from stash_courier.plugin.text.standings import NONE_SET_UP
from stash_courier.plugin.text.words import DAY, flat, joined, problem_line, sentence, span, to_correct
from stash_courier.queue import control
from stash_courier.queue.history import ledger, receipts
from stash_courier.queue.inbox import store
from stash_courier.queue.jobs import BULK
from stash_courier.worker import destinations
from stash_courier.worker.connections.model import Entry
from stash_courier.worker.delivery import breaker
from stash_courier.worker.stash.address import StashUnavailable

PAGE_SCENES = 2500  # ids in one request to Stash and one transaction: 40 requests for 100,000 scenes
DIGEST = 10  # scenes that people get in one message: as many as it lists, and as Stash is first asked for
BUSY_RATE = 1.0  # scenes a second in five minutes: fewer say more about how few were edited
RECENT_DAYS = 7  # in docs/api.md


def enqueue_all(context: Context, arguments: Arguments) -> dict[str, object]:
    """Queues every scene of the library."""
    return _enqueue(context, arguments.connection, None)


def enqueue_recent(context: Context, arguments: Arguments) -> dict[str, object]:
    """Queues the scenes that changed in the last days."""
    days = arguments.days or RECENT_DAYS
    return {**_enqueue(context, arguments.connection, time.time() - days * DAY), "days": days}


def send_existing(context: Context, arguments: Arguments) -> dict[str, object]:
    """Queues scenes for one connection, or only counts them: the last days, since a date, or all."""
    ways = [arguments.days is not None, arguments.since is not None, arguments.all is True]
    if arguments.connection is None or ways.count(True) != 1:
        raise BadInputError("send_existing needs connection, and one of days, since and all. Nothing was queued.")
    since = arguments.since
    if arguments.days is not None:
        since = time.time() - arguments.days * DAY
    if arguments.count:
        chosen = _chosen(context, arguments.connection)
        return {"connection": arguments.connection, **_forecast(chosen, _count(context, since))}
    return _enqueue(context, arguments.connection, since)


def send_skipped(context: Context, arguments: Arguments) -> dict[str, object]:
    """Queues what a connection skipped because its media server didn't have it, for this connection only."""
    name = arguments.connection
    if name is None:
        raise BadInputError("send_skipped needs the argument connection. Nothing was queued.")
    _chosen(context, name)
    queued = last = 0
    with context.queue() as queue:
        while scene_ids := ledger.absent(queue.connection, name, last, PAGE_SCENES):
            _put(context, scene_ids, [name])
            queued, last = queued + len(scene_ids), scene_ids[-1]
    if queued:
        context.start_work()
    return {"connection": name, "queued": queued}


def _forecast(chosen: _Chosen, scenes: int) -> dict[str, object]:
    """What sending this many scenes to one connection means for the person who asks."""
    if chosen.people:
        most = "one message" if scenes < 2 else "one digest"
        if scenes > DIGEST:
            most = f"one digest of the newest {DIGEST}"
        text = f"People get these messages, so at most {most} is sent."
        return {"scenes": scenes, "seconds": 1.0, "digest": True, "text": text}
    seconds = None if chosen.rate is None else scenes / chosen.rate
    took = "" if seconds is None or not scenes else f"This takes about {span(max(seconds, 1.0))}."
    return {"scenes": scenes, "seconds": seconds, "digest": False, "text": took}


def _count(context: Context, since: float | None) -> int:
    if since is None:
        return next(iter(context.stash.scene_ids(page_size=1))).total
    return sum(len(page.items) for page in context.stash.scene_ids(changed_since=since, page_size=PAGE_SCENES))


def _enqueue(context: Context, only: str | None, changed_since: float | None) -> dict[str, object]:
    """Queues scenes for one connection, or for all but people's."""
    chosen = _chosen(context, only)
    people = only is not None and bool(chosen.people)
    newest: deque[int] = deque(maxlen=DIGEST)  # for people
    began = time.monotonic()
    queued = 0
    try:
        for page in context.stash.scene_ids(changed_since=changed_since, page_size=PAGE_SCENES):
            if people:
                newest.extend(page.items)
            elif page.items:
                _put(context, page.items, chosen.to)
                if not queued:
                    context.wake_worker()
            queued += 0 if people else len(page.items)
            log.progress(page.examined / page.total if page.total else 1.0)
        if newest:
            _put(context, tuple(newest), chosen.to)
            queued = len(newest)
    except StashUnavailable as error:
        raise BadInputError(
            f"Scenes queued: {queued:,}. Then Stash was not available any more: {sentence(str(error))} What is "
            "queued will be delivered. Run this again for the rest; a scene that still waits is not "
            "sent twice."
        ) from error
    names = context.names()
    to = ", ".join(names.get(one, one) for one in chosen.ids)
    where = f"Connections: {to}. Time taken: {span(time.monotonic() - began)}."
    order = "Edits are delivered before them." if queued else ""
    left_out = ", ".join(names.get(one, one) for one in chosen.people if one not in chosen.ids)
    without = f"Left out, because people get its messages: {left_out}." if left_out else ""
    context.say(joined(f"Scenes queued: {queued:,}.", where, without, order))
    if queued:
        context.start_work()
    return {"queued": queued, "destinations": chosen.ids}


@dataclass(frozen=True, slots=True)
class _Chosen:
    """The connections that scenes are queued for."""

    ids: list[str]
    to: list[str]  # for the events; empty: all that there are when the worker routes them
    people: list[str]  # those that chats and phones get
    rate: float | None = None  # scenes a second, of a single one


def _chosen(context: Context, only: str | None) -> _Chosen:
    """The connection with this id. Without one: all that take scenes, but no chats and phones."""
    with context.setup() as setup:
        loaded, stored = setup.loaded, setup.stored
        for problem in setup.problems:
            context.warn(problem_line(problem))
    if loaded.empty:
        raise BadInputError(f"{NONE_SET_UP} Nothing was queued.")
    if only is None and stored.unknown:  # there may be chats and phones among the connections
        raise BadInputError(f"The connections can't be read. {stored.problem} Nothing was queued.")
    entries = [entry for entry in loaded.entries.values() if entry.state in {"on", "paused"}]
    people = sorted(entry.id for entry in entries if destinations.is_message(entry))
    targets = {entry.id for entry in entries}
    if loaded.unsure:
        with context.queue() as queue:
            known = control.states(queue.connection)
        targets.update(name for name, state in known.items() if not breaker.from_json(state).removed_at)
    if only is not None:
        if only not in targets:
            known_ids = ", ".join(sorted(targets)) or "none"
            wrong = f"There is no connection {flat(only)!r} that takes scenes. Connections: {known_ids}."
            raise BadInputError(f"{wrong} Nothing was queued.")
        entry = loaded.entries.get(only)
        rate = None if entry is None else _rate(context, entry)
        return _Chosen([only], [only], [one for one in people if one == only], rate)
    ids = sorted(targets.difference(people))
    if not ids:
        why = (
            to_correct(loaded.to_correct) if loaded.to_correct else "Name a connection to send to chats or phones."
        )
        raise BadInputError(f"No connection can be used. {why} Nothing was queued.")
    return _Chosen(ids, ids if people else [], people)


def _rate(context: Context, entry: Entry) -> float | None:
    """How many scenes a second a connection takes: as it lately did while much waited, else what is usual."""
    with context.queue() as queue:
        seen = receipts.rate(queue.connection, entry.id, time.time())
    return seen if seen >= BUSY_RATE else destinations.usual_rate(entry.kind)


def _put(context: Context, scene_ids: Sequence[int], to: list[str]) -> None:
    event = {"event": "update", "changed": [], "at": time.time(), "priority": BULK, "to": to}
    with context.queue() as queue:
        queue.put_many(store.encode({"scene": scene_id, **event}) for scene_id in scene_ids)
