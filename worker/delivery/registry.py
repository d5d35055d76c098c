"""Which destinations there are according to the settings, and what is known of each.

A destination that the settings no longer name keeps what waits for it. One with an invalid setting still
gets deliveries, which wait until the setting is corrected. Empty settings remove no destination. A
destination whose id changes, because a second URL of its host was added or removed, keeps its deliveries.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace

from stash_courier.queue import control, transfer
from stash_courier.queue.dlq import DeadLetterQueue
from stash_courier.queue.jobs import Delivery
from stash_courier.queue.scene_queue import SceneQueue
from stash_courier.worker import destinations
from stash_courier.worker.delivery import breaker
from stash_courier.worker.delivery.breaker import Health
from stash_courier.worker.delivery.pool import Pool
from stash_courier.worker.destinations import Destination, Loaded
from stash_courier.worker.settings import Settings, parse
from stash_courier.worker.stash.covers import Cover

SECRET = {"secret", "key", "token", "headers"}  # how the keys of settings with secrets end

log = logging.getLogger(__name__)


def classify(stored: Mapping[str, Health], loaded: Loaded, *, empty: bool, now: float) -> dict[str, Health]:
    """The health of every destination that was ever set up, usable ones first; removed ones have ``removed_at``.

    Args:
        stored: health as stored, by destination id.
        loaded: what the settings name.
        empty: Stash has no settings of ours, as when its configuration was lost: nothing counts as removed.
        now: wall time, unix seconds.
    """
    known = {
        name: breaker.configured(stored.get(name, Health()), destination.fingerprint)
        for name, destination in loaded.destinations.items()
    }
    for name in (*stored, *loaded.unusable):
        if name not in known:
            health = stored.get(name, Health())
            # An invalid setting hides which destinations of its kind are set up: all of them are kept.
            hidden = empty or name.partition(":")[0] in loaded.broken_kinds
            kept = name in loaded.unusable or (hidden and not health.removed_at)
            known[name] = replace(health, removed_at=0.0 if kept else health.removed_at or now)
    return known


class Registry:
    """Pools by destination id. Each destination's health is kept in ``queue``'s file.

    Args:
        clock: wall time, unix seconds.
        cover: fetches covers from Stash, in the pools' threads.
        make_pool: makes a pool of a destination with its health and a number of threads.
    """

    def __init__(
        self,
        queue: SceneQueue,
        dlq: DeadLetterQueue,
        clock: Callable[[], float],
        cover: Cover,
        make_pool: Callable[[Destination, Health, int], Pool],
    ) -> None:
        self._queue = queue
        self._dlq = dlq
        self._clock = clock
        self._cover = cover
        self._make_pool = make_pool
        self._raw: dict[str, object] | None = None
        self._retired: list[Pool] = []
        self._renamed: dict[str, str] = {}  # former id → the one since
        self.settings = Settings()
        self.retention_days: int | None = None  # of dead letters; None if what the owner wants is unknown
        self.pools: dict[str, Pool] = {}
        self.targets: tuple[str, ...] = ()  # ids that an event is routed to
        self.unusable = False  # a destination is set up and can't be used until a setting is corrected
        self.removed: dict[str, float] = {}  # id → wall time since which the settings don't name it

    def configure(self, raw: Mapping[str, object]) -> list[Pool]:
        """Takes over the plugin's settings as Stash has them now: all of them, or none.

        Returns:
            The pools of the previous settings: put back what they had claimed and not started.

        Raises:
            sqlite3.Error: queue.db can't be written; the previous settings stay in use.
        """
        if self._raw == dict(raw):
            return []
        settings, problems = parse(raw)
        loaded = destinations.load(raw, settings, self._cover)
        problems = (*problems, *loaded.problems)
        known = classify(self._stored(loaded.destinations), loaded, empty=not raw, now=self._clock())
        with self._queue.transaction():
            for name, health in known.items():
                control.put_state(self._queue.connection, name, asdict(health))
            said = [(problem.setting, problem.message) for problem in problems]
            control.put(self._queue.connection, control.PROBLEMS, said or None)

        retired = list(self.pools.values())
        for pool in retired:
            pool.start(allowed=False)
        self._retired += retired
        self.pools = {
            name: self._make_pool(destination, known[name], settings.delivery_concurrency)
            for name, destination in loaded.destinations.items()
        }
        self._renamed = {old: new for old, new in self._renamed.items() if old not in self.pools}
        self.settings = settings
        invalid = {problem.setting for problem in problems}
        trusted = raw and "dead_letter_retention_days" not in invalid
        self.retention_days = settings.dead_letter_retention_days if trusted else None
        self.removed = {name: health.removed_at for name, health in known.items() if health.removed_at}
        self.targets = tuple(name for name in known if name not in self.removed)
        self.unusable = bool(loaded.broken_kinds)
        self._raw = dict(raw)
        for problem in problems:
            log.warning("%s", problem.message)
        log.info("destinations: %s", ", ".join(self.targets) or "none is set up")
        return retired

    def _stored(self, named: Mapping[str, Destination]) -> dict[str, Health]:
        """The stored health of all destinations; those with a new id are renamed first."""
        states = control.states(self._queue.connection)
        now = self._clock()
        stored = {name: breaker.within_reach(breaker.from_json(state), now) for name, state in states.items()}
        for new in named.keys() - stored.keys():
            for old in stored.keys() - named.keys():
                if stored[old].fingerprint == named[new].fingerprint and not self._queue.holds(new):
                    transfer.rename(self._queue, self._dlq, old, new)
                    stored[new] = stored.pop(old)
                    self._renamed[old] = new
                    self._renamed.pop(new, None)
                    log.info("%s is now %s", old, new)
                    break
        return stored

    def renamed(self, delivery: Delivery) -> Delivery:
        """The delivery under its destination's current id, which may have changed since the claim."""
        name = self._renamed.get(delivery.destination)
        return delivery if name is None else replace(delivery, destination=name)

    @property
    def secrets(self) -> tuple[str, ...]:
        """Words of the settings that must not appear anywhere."""
        values = [str(v) for k, v in (self._raw or {}).items() if k.rsplit("_", 1)[-1] in SECRET]
        return tuple(sorted({word for value in values for word in re.split(r"[\s;]+", value) if word}))

    def note_removed(self, name: str) -> None:
        """Notes that something waits for a destination that the settings may no longer name."""
        if self._raw is not None and name not in self.targets:
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
