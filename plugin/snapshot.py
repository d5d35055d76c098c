"""What is set up, what waits and what failed, at one moment: read once, for all that is shown.

It decides nothing that the worker decides. The sentences about these facts are in ``text/``.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from stash_courier.plugin.context import Context
from stash_courier.queue import codec, control
from stash_courier.queue.dead_letters import statements as dlq_statements
from stash_courier.queue.deliveries import backlog
from stash_courier.queue.history import ledger, receipts
from stash_courier.queue.history.ledger import Noted
from stash_courier.queue.inbox import files, store
from stash_courier.queue.jobs import Attempt, Backlog
from stash_courier.worker import destinations, heartbeat, process
from stash_courier.worker.connections.store import Stored
from stash_courier.worker.delivery import breaker
from stash_courier.worker.delivery.breaker import Health
from stash_courier.worker.destinations import Loaded
from stash_courier.worker.fields import Problem
from stash_courier.worker.heartbeat import Heartbeat
from stash_courier.worker.settings import parse
from stash_courier.worker.stash.address import StashUnavailable
from stash_courier.worker.stash.answers import PluginState

NOTED_SCENES = 5  # of which the ids are shown, for each note


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything that is shown, at one moment. Mappings are by connection id."""

    at: float  # wall time
    # What is set up
    stored: Stored = field(default_factory=Stored)  # connections.json
    loaded: Loaded = field(default_factory=Loaded)  # without destinations; unsure while Stash can't be asked
    problems: tuple[Problem, ...] = ()
    stash_error: str = ""  # why Stash can't be asked
    state: PluginState = field(
        default_factory=lambda: PluginState({}, enabled=False)
    )  # what Stash says of the plugin
    # queue.db
    has_queue: bool = False  # there is one, and it can be read
    inbox: int = 0  # events not yet assigned to connections
    backlog: Mapping[str, Backlog] = field(default_factory=dict)
    healths: Mapping[str, Health] = field(default_factory=dict)
    paused_since: float | None = None  # wall time
    disabled: bool = False  # the plugin is disabled in Stash
    expedite: bool = False  # a person pressed "Deliver now", and the worker hasn't acted on it yet
    stash_away: Mapping[str, Any] | None = None  # {"since", "reason"} while the worker can't reach Stash
    stash_slow: float | None = None  # seconds that Stash takes for each scene, while that is long
    notices: tuple[str, ...] = ()  # sentences that the worker left for a person
    added: int = 0  # deliveries ever added: the difference of two snapshots is what was added between them
    absent: Mapping[str, int] = field(default_factory=dict)  # skipped scenes, which the server doesn't have
    notes: Mapping[str, Mapping[str, Noted]] = field(default_factory=dict)  # scenes with each note
    failed: Mapping[str, tuple[int, Attempt]] = field(default_factory=dict)  # a scene that waits, how it failed
    delivered: Mapping[str, tuple[int, int]] = field(default_factory=dict)  # in the last hour and day
    # The rest
    dead_letters: Mapping[str, int] = field(default_factory=dict)  # open ones
    unreadable: Mapping[str, Exception] = field(default_factory=dict)  # a database's name → why it can't be read
    running: bool = False  # a worker runs
    heartbeat: Heartbeat | None = None  # its last one
    spooled: int = 0  # changes that hooks kept outside the queue

    @property
    def deliveries(self) -> int:
        """Deliveries that wait or are in flight."""
        return sum(waits.total for waits in self.backlog.values())

    @property
    def left(self) -> int:
        """Events and deliveries that wait or are in flight. What waits for a removed connection doesn't count."""
        return self.inbox + sum(waits.total for name, waits in self.backlog.items() if self.names(name))

    @property
    def late(self) -> bool:
        """Whether a worker runs and its heartbeat is overdue."""
        return self.running and self.heartbeat is not None and self.heartbeat.is_late(self.at)

    @property
    def undecided(self) -> bool:
        """Whether events wait because settings that can't be read hide where they go."""
        loaded = self.loaded
        hidden = loaded.asked and loaded.unsure and not loaded.entries and bool(loaded.to_correct)
        return hidden and self.inbox > 0

    def names(self, name: str) -> bool:
        """Whether a connection is set up or, if that isn't known now, was when the worker last looked."""
        health = self.healths.get(name)
        return not self.loaded.empty and self.loaded.names(
            name, removed=health is not None and bool(health.removed_at)
        )

    def moves(self) -> bool:
        """Whether something is in flight or will begin at once."""
        if any(waits.in_flight for waits in self.backlog.values()):
            return True
        if self.paused_since is not None or self.disabled or self.stash_away is not None:
            return False  # the worker begins no delivery at all
        events = self.inbox > 0 and not self.undecided
        return bool(self.expedite or events or self.spooled) or any(map(self._is_due, self.backlog))

    def _is_due(self, name: str) -> bool:
        """Whether a delivery to this connection would begin now."""
        health, entry = self.healths.get(name), self.loaded.entries.get(name)
        stopped = name in self.loaded.unusable or (entry is not None and entry.state not in {"on", "leaving"})
        if health is None or stopped or not self.names(name):
            return False
        may = breaker.may_send(health, self.at)
        return may == "probe" or (may == "all" and self.backlog[name].next_due <= self.at)


def read(context: Context, *, ask: bool = True) -> Snapshot:
    """Reads everything that can be read now; nothing of it raises.

    Args:
        context: of the request.
        ask: whether Stash is asked. If it isn't or can't be, connections of its settings page may be missing.
    """
    at, error = time.time(), ""
    state = PluginState({}, enabled=False)
    try:
        if ask:
            state = context.quick_state()
    except StashUnavailable as unavailable:
        error = str(unavailable)
    settings, problems = parse(state.settings)
    stored = context.store.read()
    loaded = destinations.read(state.settings, stored, settings)
    if error or not ask:
        loaded = replace(loaded, unsure=True, asked=False)
    unreadable: dict[str, Exception] = {}
    facts = _queue(context, at, unreadable)
    if state.enabled:  # the worker hasn't asked Stash since it was enabled
        facts["disabled"] = False
    known: tuple[Problem, ...] = facts.pop("problems", ())
    return Snapshot(
        at=at,
        stored=stored,
        loaded=loaded,
        problems=_with(loaded.problems, known) if error else (*problems, *loaded.problems),
        stash_error=error,
        state=state,
        dead_letters=_dead_letters(context, unreadable),
        unreadable=unreadable,
        running=process.running(str(context.folder)),
        heartbeat=heartbeat.read(context.folder),
        spooled=context.spooled(),
        **facts,
    )


def again(context: Context, before: Snapshot) -> Snapshot:
    """The same with what waits now, and with whether a worker runs. Raises if queue.db can't be read."""
    at, unreadable = time.time(), dict[str, Exception]()
    facts = _queue(context, at, unreadable)
    facts.pop("problems", None)
    running = process.running(str(context.folder))
    return replace(before, at=at, unreadable=unreadable, running=running, spooled=context.spooled(), **facts)


def _with(sure: tuple[Problem, ...], known: tuple[Problem, ...]) -> tuple[Problem, ...]:
    """What is wrong with connections.json, and what the worker last knew to be wrong with Stash's settings."""
    there = {(one.connection, one.field) for one in sure}
    return (*sure, *(one for one in known if (one.connection, one.field) not in there))


def _queue(context: Context, at: float, unreadable: dict[str, Exception]) -> dict[str, Any]:
    """The fields of queue.db; none if there is none yet, or it can't be read."""
    try:
        with context.read_queue(codec.exact) as conn:
            if conn is not None:
                return _fields(conn, context.folder, at)
        if reason := store.too_long(str(context.folder / files.QUEUE_DB)):
            unreadable[files.QUEUE_DB] = store.QueueUnavailable(reason)
    except (store.QueueUnavailable, sqlite3.Error) as error:
        unreadable[files.QUEUE_DB] = error
    return {}


def _fields(conn: sqlite3.Connection, folder: Path, at: float) -> dict[str, Any]:
    """The fields of queue.db, at a wall time. The cost grows with the number of waiting deliveries."""
    waits = backlog.by_destination(conn)

    def stored(key: str) -> Any:
        return control.get(conn, key)

    # The repair is mentioned until the owner deletes the damaged file.
    repaired = stored(control.REPAIRED) if any(folder.glob("*.damaged-*")) else None
    return {
        "has_queue": True,
        "inbox": backlog.inbox_count(conn),
        "backlog": waits,
        "healths": {name: breaker.from_json(state) for name, state in control.states(conn).items()},
        "paused_since": stored(control.PAUSED),
        "disabled": bool(stored(control.DISABLED)),
        "expedite": stored(control.EXPEDITE) is not None,
        "stash_away": stored(control.STASH),
        "stash_slow": stored(control.STASH_SLOW),
        "problems": tuple(
            Problem(key, message, connection=connection)
            for connection, key, message in stored(control.PROBLEMS) or ()
        ),
        "notices": tuple(filter(None, (repaired, stored(control.UNSEEN)))),
        "added": backlog.deliveries_added(conn),
        "absent": ledger.count_absent(conn),
        "notes": ledger.noted(conn, NOTED_SCENES),
        "failed": {
            name: last for name, one in waits.items() if one.retrying and (last := backlog.failed(conn, name))
        },
        "delivered": receipts.delivered(conn, at),
    }


def _dead_letters(context: Context, unreadable: dict[str, Exception]) -> dict[str, int]:
    """How many open dead letters each connection has."""
    try:
        with context.read_dead_letters() as conn:
            return {} if conn is None else dict(conn.execute(dlq_statements.COUNT_BY_DESTINATION).fetchall())
    except (store.QueueUnavailable, sqlite3.Error) as error:
        unreadable[files.DLQ_DB] = error
        return {}
