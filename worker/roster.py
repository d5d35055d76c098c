"""The roster: which destinations there are, from the settings, and what is remembered of each.

A destination that the settings no longer name keeps what waits for it; one whose setting is broken
goes on receiving deliveries, which wait until it is mended. Empty settings remove nobody.
"""

from __future__ import annotations

import logging
import re
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import replace

from stash_courier.plugin.settings import Problem, Settings, parse
from stash_courier.queue import control
from stash_courier.worker import breaker, destinations
from stash_courier.worker.breaker import Health
from stash_courier.worker.covers import Cover
from stash_courier.worker.lanes import Lane, open_lane

SECRET = {"secret", "key", "token", "headers"}  # how the names of such settings end

log = logging.getLogger(__name__)


class Roster:
    """Lanes by destination id.

    Args:
        conn: queue.db's connection, where each destination's health is kept.
        clock: wall time, unix seconds.
        cover: fetches covers from Stash, in the lanes' threads.
    """

    def __init__(self, conn: sqlite3.Connection, clock: Callable[[], float], cover: Cover) -> None:
        self._conn = conn
        self._cover = cover
        self._clock = clock
        self._raw: dict[str, object] | None = None
        self._retired: list[Lane] = []
        self.settings = Settings()
        self.problems: tuple[Problem, ...] = ()
        self.lanes: dict[str, Lane] = {}
        self.targets: tuple[str, ...] = ()  # ids that an event is routed to
        self.removed: dict[str, float] = {}  # id → wall time since which the settings don't name it

    def configure(self, raw: Mapping[str, object]) -> list[Lane]:
        """Takes the plugin's settings as Stash has them now.

        Returns:
            The lanes that are no more: put back what they had claimed and not begun.
        """
        if self._raw == dict(raw):
            return []
        self._raw = dict(raw)
        self.settings, problems = parse(raw)
        loaded = destinations.load(raw, self.settings, self._cover)
        self.problems = (*problems, *loaded.problems)
        for problem in self.problems:
            log.warning("%s", problem.message)
        retired = list(self.lanes.values())
        self._retired += retired
        stored = {name: breaker.from_json(state) for name, state in control.states(self._conn).items()}
        self.lanes = {
            name: open_lane(
                destination,
                breaker.configured(stored.get(name, Health()), destination.fingerprint),
                self.settings.delivery_concurrency,
            )
            for name, destination in loaded.destinations.items()
        }
        for name, lane in self.lanes.items():
            control.put_state(self._conn, name, breaker.to_json(lane.health))
        kept = self._keep(stored, loaded.broken_kinds, bool(raw))
        self.targets = (*self.lanes, *kept)
        control.put(self._conn, control.PROBLEMS, [[p.setting, p.message] for p in self.problems] or None)
        log.info("destinations: %s", ", ".join(self.targets) or "none is set up")
        return retired

    def _keep(self, stored: Mapping[str, Health], broken_kinds: frozenset[str], any_settings: bool) -> list[str]:
        """Sorts the destinations that are known but not usable: those that are still meant, and the removed."""
        kept = []
        self.removed = {}
        for name, health in stored.items():
            if name in self.lanes:
                continue
            if name.split(":", 1)[0] in broken_kinds or not any_settings:
                kept.append(name)
                since = 0.0
            else:
                since = health.removed_at or self._clock()
                self.removed[name] = since
            control.put_state(self._conn, name, breaker.to_json(replace(health, removed_at=since)))
        return kept

    @property
    def secrets(self) -> tuple[str, ...]:
        """Words of the settings that must not be seen anywhere."""
        values = [str(v) for k, v in (self._raw or {}).items() if k.rsplit("_", 1)[-1] in SECRET]
        return tuple(sorted({word for value in values for word in re.split(r"[\s;]+", value) if word}))

    def forget(self, name: str) -> None:
        """Drops a removed destination that nothing waits for any more."""
        self.removed.pop(name, None)
        control.put_state(self._conn, name, None)

    def everyone(self) -> list[Lane]:
        """All lanes, those of old settings that still have something running included."""
        for lane in [lane for lane in self._retired if not lane.on_its_way]:
            self._retired.remove(lane)
            lane.close()
        return [*self.lanes.values(), *self._retired]
