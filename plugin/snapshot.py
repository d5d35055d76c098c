"""Facts for the buttons: queue.db at one moment.

Decides nothing that the worker decides. The sentences about these facts are in text/standings.py.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stash_courier.queue import control
from stash_courier.queue.deliveries import backlog
from stash_courier.queue.history import ledger, receipts
from stash_courier.queue.history.ledger import Noted
from stash_courier.queue.jobs import Attempt, Backlog
from stash_courier.worker.delivery import breaker
from stash_courier.worker.delivery.breaker import Health
from stash_courier.worker.destinations import Loaded
from stash_courier.worker.fields import Problem

NOTED_SCENES = 5  # of which the ids are shown, for each note


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The queue at one moment."""

    at: float  # wall time of this moment, unix seconds
    inbox: int  # events not yet assigned to destinations
    backlog: Mapping[str, Backlog]  # by destination id
    healths: Mapping[str, Health]  # by destination id
    paused_since: float | None  # wall time
    disabled: bool  # the plugin is disabled in Stash
    expedite: bool  # a person pressed "Deliver now", and the worker hasn't acted on it yet
    stash_away: Mapping[str, Any] | None  # {"since", "reason"} while the worker can't reach Stash
    problems: tuple[Problem, ...]  # as the worker last saw them
    notices: tuple[str, ...]  # sentences that the worker left for a person
    last_success: Mapping[str, Any] | None  # {"at", "destination", "scene_id"}
    added: int  # deliveries ever added: the difference of two snapshots is what was added between them
    absent: Mapping[str, int] = field(default_factory=dict)  # skipped scenes that the server doesn't have, by id
    notes: Mapping[str, Mapping[str, Noted]] = field(default_factory=dict)  # by id: scenes with each note
    failed: Mapping[str, tuple[int, Attempt]] = field(
        default_factory=dict
    )  # by id: a scene that waits, how it failed
    delivered: Mapping[str, tuple[int, int]] = field(default_factory=dict)  # by id, in the last hour and day
    stash_slow: float | None = None  # seconds that Stash takes for each scene, while that is long

    @property
    def deliveries(self) -> int:
        """Deliveries that wait or are in flight."""
        return sum(waits.total for waits in self.backlog.values())

    def waits(self, loaded: Loaded | None) -> bool:
        """Whether something waits for the worker. What waits for a removed destination doesn't count."""
        return bool(self.inbox) or any(named(self, name, loaded) for name in self.backlog)

    def moves(self, usable: Set[str]) -> bool:
        """Whether something is in flight or will begin at once; ``usable`` are the ids of usable destinations."""
        in_flight = any(waits.in_flight for waits in self.backlog.values())
        if in_flight or self.expedite or (self.inbox and self.stash_away is None):
            return True
        if self.paused_since is not None or self.disabled or self.stash_away is not None:
            return False  # the worker begins no delivery at all
        return any(map(self._is_due, usable & self.backlog.keys()))

    def _is_due(self, name: str) -> bool:
        """Whether a delivery to this usable destination would begin now."""
        health = self.healths.get(name)
        if health is None or health.removed_at:
            return False
        may = breaker.may_send(health, self.at)
        return may == "probe" or (may == "all" and self.backlog[name].next_due <= self.at)


# While there is no queue.db.
NO_QUEUE = Snapshot(0.0, 0, {}, {}, None, False, False, None, (), (), None, 0)


def named(snapshot: Snapshot, name: str, loaded: Loaded | None) -> bool:
    """Whether a connection is set up or, if that isn't known now, was when the worker last looked."""
    health = snapshot.healths.get(name)
    removed = health is not None and bool(health.removed_at)
    if loaded is None:
        return not removed
    return not loaded.empty and loaded.names(name, removed=removed)


def read(conn: sqlite3.Connection, folder: Path, at: float) -> Snapshot:
    """Reads queue.db at a wall time. The cost grows with the number of waiting deliveries."""
    waits = backlog.by_destination(conn)

    def stored(key: str) -> Any:
        return control.get(conn, key)

    # The repair is mentioned until the owner deletes the damaged file.
    repaired = stored(control.REPAIRED) if any(folder.glob("*.damaged-*")) else None
    return Snapshot(
        at=at,
        inbox=backlog.inbox_count(conn),
        backlog=waits,
        healths={name: breaker.from_json(state) for name, state in control.states(conn).items()},
        paused_since=stored(control.PAUSED),
        disabled=bool(stored(control.DISABLED)),
        expedite=stored(control.EXPEDITE) is not None,
        stash_away=stored(control.STASH),
        problems=tuple(
            Problem(key, message, connection=connection)
            for connection, key, message in stored(control.PROBLEMS) or ()
        ),
        notices=tuple(filter(None, (repaired, stored(control.UNSEEN)))),
        last_success=stored(control.LAST_SUCCESS),
        added=backlog.deliveries_added(conn),
        absent=ledger.count_absent(conn),
        notes=ledger.noted(conn, NOTED_SCENES),
        failed={
            name: last for name, one in waits.items() if one.retrying and (last := backlog.failed(conn, name))
        },
        delivered=receipts.delivered(conn, at),
        stash_slow=stored(control.STASH_SLOW),
    )
