"""Which connections there are, and what is known of the destination of each.

A connection that can't be used, or is paused, still gets deliveries, which wait. One from the quick start that the
settings no longer name keeps what waits for it. Where settings can't be read, none counts as removed.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from functools import partial

from stash_courier.queue import control
from stash_courier.queue.deliveries.scene_queue import SceneQueue
from stash_courier.worker import destinations, fields
from stash_courier.worker.connections import drafts
from stash_courier.worker.connections.model import ENDED, Connection
from stash_courier.worker.connections.store import Conflict, Store, Stored
from stash_courier.worker.delivery import breaker
from stash_courier.worker.delivery.breaker import Health
from stash_courier.worker.delivery.pool import Pool
from stash_courier.worker.destinations import Destination, Loaded
from stash_courier.worker.settings import QuickStart, Settings, parse
from stash_courier.worker.stash.covers import Cover

log = logging.getLogger(__name__)


def classify(stored: Mapping[str, Health], loaded: Loaded, now: float) -> dict[str, Health]:
    """The health of every destination that was ever set up; removed ones have ``removed_at``.

    Args:
        stored: health as stored, by id.
        loaded: what is set up.
        now: wall time, unix seconds.
    """
    healths = {}
    for name in loaded.entries:
        health = replace(stored.get(name, Health()), removed_at=0.0)
        connection = loaded.connections.get(name)
        if connection:
            health = breaker.configured(health, connection.fingerprint)
        healths[name] = health
    for name, health in stored.items():
        if name not in healths:
            kept = loaded.names(name, removed=bool(health.removed_at))
            healths[name] = replace(health, removed_at=0.0 if kept else health.removed_at or now)
    return healths


class Registry:
    """Pools by destination id. Each destination's health is kept in ``queue``'s file.

    Args:
        clock: wall time, unix seconds.
        cover: fetches covers from Stash, in the pools' threads.
        make_pool: makes a pool of a destination, its connection and its health.
        monotonic: seconds, for the destinations.
    """

    def __init__(
        self,
        queue: SceneQueue,
        clock: Callable[[], float],
        cover: Cover,
        make_pool: Callable[[Destination, Connection, Health], Pool],
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._queue = queue
        self._store = Store(queue.folder)
        self._clock = clock
        self._cover = cover
        self._make_pool = make_pool
        self._monotonic = monotonic
        self._raw: dict[str, object] | None = None
        self._stored = Stored()
        self._retired: list[Pool] = []
        self._loaded = Loaded()
        self.settings = Settings()
        self.retention_days: int | None = None  # of dead letters; None if what the owner wants is unknown
        self.pools: dict[str, Pool] = {}
        self.targets: dict[str, float] = {}  # id → seconds to let edits settle; events are routed to these
        self.ending: dict[str, float] = {}  # id of one that has ended → wall time; it gets older events
        self.unusable = False  # a connection is set up and can't be used until something is corrected
        self.removed: dict[str, float] = {}  # id → wall time since which the settings don't name it

    def configure(self, raw: Mapping[str, object]) -> list[Pool]:
        """Takes over the plugin's settings as Stash has them now, and connections.json: all of them, or none.

        Args:
            raw: the settings.

        Returns:
            The pools of connections that have changed: put back what they had claimed and not started.

        Raises:
            sqlite3.Error: queue.db can't be written; the previous settings stay in use.
        """
        stored = self._store.read()
        if (self._raw, self._stored) == (dict(raw), stored):
            return []
        settings, problems = parse(raw)
        invalid = {problem.field for problem in problems}
        loaded = destinations.load(raw, stored, settings, self._cover, self._monotonic)
        problems += loaded.problems
        healths = classify(self._stored_healths(), loaded, self._clock())
        before = self._loaded.connections
        usable = loaded.connections.items()
        moved = [name for name, one in usable if before.get(name, one).path_map != one.path_map]
        with self._queue.transaction():
            for name in moved:  # perhaps scenes that were missing are found now, and others no longer
                self._queue.make_due(self._clock(), name)
                healths[name] = replace(healths[name], last_found=0.0)
            for name, health in healths.items():
                control.put_state(self._queue.connection, name, asdict(health))
            said = [(problem.connection, problem.field, problem.message) for problem in problems]
            control.put(self._queue.connection, control.PROBLEMS, said or None)

        retired = self._replace_pools(loaded, healths)
        self._loaded = loaded
        self.settings = settings
        trusted = not loaded.unsure and "worker_dead_letter_days" not in invalid
        self.retention_days = settings.worker_dead_letter_days if trusted else None
        self.removed = {name: health.removed_at for name, health in healths.items() if health.removed_at}
        self.targets = self._targets(loaded, healths)
        ended = (entry for entry in loaded.entries.values() if entry.state in ENDED)
        self.ending = {entry.id: entry.off_since for entry in ended}
        self.unusable = bool(loaded.unusable) or loaded.unsure
        self._raw, self._stored = dict(raw), stored
        for problem in problems:
            log.warning("%s", ": ".join(filter(None, (problem.connection, problem.message))))
        log.info("connections: %s", ", ".join(loaded.entries) or "none is set up")
        return retired

    @property
    def loaded(self) -> Loaded:
        """What is set up by the settings in use."""
        return self._loaded

    def name(self, connection: str) -> str:
        """What people call the connection with this id; the id if it is unknown."""
        entry = self._loaded.entries.get(connection)
        return entry.name if entry else connection

    def follow_store(self) -> list[Pool]:
        """Takes over connections.json if it has changed; otherwise as ``configure``."""
        return [] if self._raw is None else self.configure(self._raw)

    def _replace_pools(self, loaded: Loaded, healths: Mapping[str, Health]) -> list[Pool]:
        """Makes a pool for each destination, and keeps those of connections that have not changed."""
        retired, pools = [], {}
        for name, pool in self.pools.items():
            if pool.connection != loaded.connections.get(name) or name not in loaded.destinations:
                pool.start(allowed=False)
                retired.append(pool)
        for name, destination in loaded.destinations.items():
            kept = self.pools.get(name)
            if kept is None or kept in retired:
                pools[name] = self._make_pool(destination, loaded.connections[name], healths[name])
            else:
                destination.close()
                pools[name] = kept
        self._retired += retired
        self.pools = pools
        return retired

    def _targets(self, loaded: Loaded, healths: Mapping[str, Health]) -> dict[str, float]:
        """The ids of connections that aren't switched off, and of those that unreadable settings hide."""
        off = {name for name, entry in loaded.entries.items() if entry.state in ENDED}
        ids = [name for name in healths if name not in self.removed and name not in off]
        connections = loaded.connections
        return {name: connections[name].policy.settle_seconds if name in connections else 0.0 for name in ids}

    def _stored_healths(self) -> dict[str, Health]:
        """The stored health of every destination that was ever set up."""
        states, now = control.states(self._queue.connection), self._clock()
        return {name: breaker.within_reach(breaker.from_json(state), now) for name, state in states.items()}

    @property
    def secrets(self) -> tuple[str, ...]:
        """Words of the settings that must not appear anywhere."""
        raw = self._raw or {}
        values = [raw.get(entry.key) for entry in fields.of(QuickStart) if entry.type == "secret"]
        for entry in self._loaded.entries.values():
            secret = destinations.secret_fields(entry.kind, entry.values)
            values += [value for key, value in entry.values.items() if key in secret]
        return tuple(
            sorted({word for value in values if value for word in re.split(r"[\s;]+", str(value)) if word})
        )

    def leave(self) -> None:
        """Deletes the connections that the owner deleted, once nothing from before can be lost by that.

        That is when all events are routed and, if what waits is to be sent, when it was. What is left of one that
        is deleted is dropped by forgetting.py, which makes dead letters of what waits.
        """
        leaving = [entry for entry in self._store.read().entries if entry.state in {"leaving", "burying"}]
        if not leaving or not self._queue.inbox_empty():
            return  # events from before may not have been routed
        for entry in leaving:
            done = entry.state == "burying" or not self._queue.holds(entry.id)
            if done and entry.id in self._loaded.entries:
                self._delete(entry.id)

    def _delete(self, name: str) -> None:
        try:
            delete = partial(drafts.deleted, connection=name)
            self._store.change(self._store.read().revision, delete, wait=0.0)
        except (Conflict, OSError) as error:
            log.warning("%s can't be deleted now: %s", name, error)  # the next look tries again
            return
        with self._queue.transaction():
            wanted = control.get(self._queue.connection, control.FORGET, dict) or {}
            control.put(self._queue.connection, control.FORGET, {**wanted, name: "dead_letter"})
        log.info("%s is deleted", name)

    def note_removed(self, name: str) -> None:
        """Notes that something waits for a destination that the settings may no longer name."""
        if self._raw is not None and name not in self.targets and name not in self._loaded.entries:
            self.removed.setdefault(name, self._clock())

    def forget(self, name: str) -> None:
        """Drops a removed destination for which nothing waits any more."""
        self.removed.pop(name, None)
        control.put_state(self._queue.connection, name, None)

    def all_pools(self) -> list[Pool]:
        """All pools, including those of previous settings with something still running."""
        return [*self.pools.values(), *self._retired]

    def close_idle(self) -> None:
        """Closes the pools of previous settings in which nothing runs any more."""
        for pool in [pool for pool in self._retired if not pool.on_its_way]:
            self._retired.remove(pool)
            pool.close()
