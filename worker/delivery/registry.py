"""The registry: which destinations there are, from the settings, and what is remembered of each.

A destination that the settings no longer name keeps what waits for it; one whose setting is broken
gets deliveries all the same, which wait until it is mended. Empty settings remove nobody. One that gets
another name, since a second URL of its host came or went, takes along what waits for it.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import replace

from stash_courier.queue import control, transfer
from stash_courier.queue.dlq import DeadLetterQueue
from stash_courier.queue.jobs import Delivery
from stash_courier.queue.scene_queue import SceneQueue
from stash_courier.worker import destinations
from stash_courier.worker.delivery import breaker
from stash_courier.worker.delivery.breaker import Health
from stash_courier.worker.delivery.pool import Pool, open_pool
from stash_courier.worker.destinations import Destination
from stash_courier.worker.settings import Problem, Settings, parse
from stash_courier.worker.stash.covers import Cover

SECRET = {"secret", "key", "token", "headers"}  # how the names of such settings end

log = logging.getLogger(__name__)


class Registry:
    """Lanes by destination id.

    Args:
        queue: whose file keeps each destination's health.
        dlq: the dead letters.
        clock: wall time, unix seconds.
        cover: fetches covers from Stash, in the pools' threads.
    """

    def __init__(self, queue: SceneQueue, dlq: DeadLetterQueue, clock: Callable[[], float], cover: Cover) -> None:
        self._queue = queue
        self._dlq = dlq
        self._cover = cover
        self._clock = clock
        self._raw: dict[str, object] | None = None
        self._retired: list[Pool] = []
        self._renamed: dict[str, str] = {}  # former name → the one since
        self.settings = Settings()
        self.problems: tuple[Problem, ...] = ()
        self.pools: dict[str, Pool] = {}
        self.targets: tuple[str, ...] = ()  # ids that an event is routed to
        self.unusable = False  # a destination is set up and can't be used until a setting is corrected
        self.undecided = False  # the only destinations are some that a broken setting doesn't tell
        self.removed: dict[str, float] = {}  # id → wall time since which the settings don't name it

    def configure(self, raw: Mapping[str, object]) -> list[Pool]:
        """Takes the plugin's settings as Stash has them now: wholly, or not at all.

        Returns:
            The pools that are no more: put back what they had claimed and not begun.

        Raises:
            sqlite3.Error: queue.db can't be written; the settings before hold on.
        """
        if self._raw == dict(raw):
            return []
        settings, problems = parse(raw)
        loaded = destinations.load(raw, settings, self._cover)
        problems = (*problems, *loaded.problems)
        conn = self._queue.connection
        stored = {name: breaker.from_json(state) for name, state in control.states(conn).items()}
        self._take_along(stored, loaded.destinations)
        healths = {
            name: breaker.configured(stored.get(name, Health()), destination.fingerprint)
            for name, destination in loaded.destinations.items()
        }
        others = {name: health for name, health in stored.items() if name not in healths}
        kept = {
            name: health
            for name, health in others.items()
            if not health.removed_at and (not raw or name.partition(":")[0] in loaded.broken_kinds)
        }
        kept |= {name: others.get(name, Health()) for name in loaded.unusable}
        removed = {name: h.removed_at or self._clock() for name, h in others.items() if name not in kept}
        with self._queue.transaction():
            for name, health in {**others, **kept, **healths}.items():
                state = replace(health, removed_at=removed.get(name, 0.0))
                control.put_state(conn, name, breaker.to_json(state))
            control.put(conn, control.PROBLEMS, [[p.setting, p.message] for p in problems] or None)

        retired = list(self.pools.values())
        self._retired += retired
        self.pools = {
            name: open_pool(destination, healths[name], settings.delivery_concurrency)
            for name, destination in loaded.destinations.items()
        }
        self.settings, self.problems, self.removed = settings, problems, removed
        self.targets = (*self.pools, *kept)
        self.unusable = bool(loaded.broken_kinds)
        self.undecided = not self.targets and self.unusable
        self._raw = dict(raw)
        for problem in problems:
            log.warning("%s", problem.message)
        log.info("destinations: %s", ", ".join(self.targets) or "none is set up")
        return retired

    def _take_along(self, stored: dict[str, Health], named: Mapping[str, Destination]) -> None:
        """Renames those that are set up as they were, under another name."""
        for new in named.keys() - stored.keys():
            for old in stored.keys() - named.keys():
                if stored[old].fingerprint == named[new].fingerprint and not self._queue.holds(new):
                    transfer.rename(self._queue, self._dlq, old, new)
                    stored[new] = stored.pop(old)
                    self._renamed[old] = new
                    self._renamed.pop(new, None)
                    log.info("%s is now %s", old, new)
                    break

    def as_named_now(self, delivery: Delivery) -> Delivery:
        """A delivery that was claimed before its destination got another name."""
        name = self._renamed.get(delivery.destination)
        return delivery if name is None else replace(delivery, destination=name)

    @property
    def empty(self) -> bool:
        """Whether Stash has no setting of ours, as when its configuration was lost."""
        return not self._raw

    @property
    def secrets(self) -> tuple[str, ...]:
        """Words of the settings that must not be seen anywhere."""
        values = [str(v) for k, v in (self._raw or {}).items() if k.rsplit("_", 1)[-1] in SECRET]
        return tuple(sorted({word for value in values for word in re.split(r"[\s;]+", value) if word}))

    def meet_again(self, name: str) -> None:
        """Something waits for a destination that the settings may no longer name, and that was forgotten."""
        if self._raw is not None and name not in self.targets:
            self.removed.setdefault(name, self._clock())

    def forget(self, name: str) -> None:
        """Drops a removed destination that nothing waits for any more."""
        self.removed.pop(name, None)
        control.put_state(self._queue.connection, name, None)

    def everyone(self) -> list[Pool]:
        """All pools, those of old settings that still have something running included."""
        self.let_go()
        return [*self.pools.values(), *self._retired]

    def let_go(self) -> None:
        """Ends the threads of old settings' pools that have nothing running any more."""
        for pool in [pool for pool in self._retired if not pool.on_its_way]:
            self._retired.remove(pool)
            pool.close()
