"""Messages about trouble for the webhook connections that want them: dead letters, a held-up connection, its end.

They become deliveries like those of scenes, so nothing here sends. No connection gets a message about itself, and
what fails while a message is sent makes no message. What was told, and when, is in the control table, followed by
the rules of notices.py: trouble that comes and goes is told once an hour.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import astuple, dataclass, replace
from typing import Any

from stash_courier.queue import control, troubles
from stash_courier.queue.dead_letters.dlq import DeadLetterQueue
from stash_courier.queue.deliveries.scene_queue import SceneQueue
from stash_courier.queue.failures import CLASSES, Failure
from stash_courier.worker.delivery import breaker
from stash_courier.worker.delivery.registry import Registry
from stash_courier.worker.notices import Trouble, follow

GATHER_SECONDS = 60.0  # from the first new dead letter until the message about it and those that follow

Told = dict[str, dict[str, Trouble]]  # receiver → connection → what the receiver was told of it


@dataclass(frozen=True, slots=True)
class Hold:
    """Why a connection is held up."""

    since: float  # wall time
    reason: str
    advice: str


class Messages:
    """Queues messages about trouble. ``clock`` gives wall time. Only for the holder of the worker lock."""

    def __init__(
        self,
        queue: SceneQueue,
        dlq: DeadLetterQueue,
        registry: Registry,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._queue = queue
        self._conn = queue.connection
        self._dlq = dlq
        self._registry = registry
        self._clock = clock

    def update(self) -> None:
        """Looks for trouble. Call it about once a second, when the settings are known."""
        if not self._registry.loaded.unsure:  # or a receiver may be missing here
            self._tell_of_connections()
            self._tell_of_dead_letters()

    def _tell_of_connections(self) -> None:
        """Queues messages and, in the same transaction, stores that it did."""
        now, held = self._clock(), self._held_up()
        stored = control.get(self._conn, control.TOLD) or {}
        known = {to: {name: Trouble(*at) for name, at in of.items()} for to, of in stored.items()}
        told: Told = {}
        messages = []
        for to, patience in self._registry.loaded.told.items():
            told[to] = self._followed(known.get(to, {}), {name: held[name].since for name in held if name != to})
            for name, one in told[to].items():
                if name in held and not one.told and abs(now - one.since) >= patience:
                    why = held[name]
                    down = troubles.connection_down(self._about(name), now, one.since, why.reason, why.advice)
                    messages.append((to, name, down))
                    told[to][name] = replace(one, told=now)
                elif one.ended and not one.end_told:
                    messages.append((to, name, troubles.connection_up(self._about(name), now, one.since)))
                    told[to][name] = replace(one, end_told=now)
        told = {to: of for to, of in told.items() if of}
        if told == known:
            return
        with self._queue.transaction():
            for to, name, message in messages:
                self._queue.notify(to, troubles.slot(name), message, now)
            kept = {to: {name: astuple(one) for name, one in of.items()} for to, of in told.items()}
            control.put(self._conn, control.TOLD, kept or None)

    def _followed(self, before: Mapping[str, Trouble], present: Mapping[str, float]) -> dict[str, Trouble]:
        """What one receiver was told, after a look.

        Whether a connection works again is unknown while it is paused, and until it was tried with new settings.
        """
        known = {name: one for name, one in before.items() if name in self._registry.loaded.entries}
        unknown = {
            name: known.pop(name)
            for name, one in [*known.items()]
            if not (name in present or self._works(name, one))
        }
        return {**follow(known, present, {}, self._clock()), **unknown}

    def _works(self, name: str, trouble: Trouble) -> bool:
        pool = self._registry.pools.get(name)
        return pool is not None and not breaker.untried(pool.health, trouble.since)

    def _held_up(self) -> dict[str, Hold]:
        """The connections that the owner wants to send and that can't."""
        now, loaded = self._clock(), self._registry.loaded
        held = {}
        for name, entry in loaded.entries.items():
            pool = self._registry.pools.get(name)
            if name in loaded.unusable:
                if entry.state in {"on", "leaving"}:
                    wrong = f"It can't be used: {', '.join(loaded.unusable[name])}."
                    held[name] = Hold(now, wrong, "Correct it in this connection. What waits is sent afterwards.")
            elif pool is not None and pool.health.state != "well":
                held[name] = Hold(pool.health.since or now, pool.health.reason, pool.health.advice)
            elif pool is not None and pool.health.retry_at > now:
                held[name] = Hold(now, pool.health.reason, CLASSES[Failure.BUSY].advice)
        return held

    def _tell_of_dead_letters(self) -> None:
        """Queues messages, and then marks the dead letters. A kill in between tells of them twice."""
        now, since = self._clock(), self._dlq.unreported_since()
        if since is None or abs(now - since) < GATHER_SECONDS:
            return
        groups = [
            {
                **self._about(group.destination),
                "group": group.key,
                "error_type": group.error_type,
                "cause": group.text,
                "count": group.count,
            }
            for group in self._dlq.unreported()
        ]
        with self._queue.transaction():
            for to in self._registry.loaded.told:
                if others := [group for group in groups if group["connection"] != to]:
                    self._queue.notify(to, troubles.slot(), troubles.dead_letters(now, since, others), now)
        self._dlq.mark_reported()

    def _about(self, name: str) -> dict[str, Any]:
        entry = self._registry.loaded.entries.get(name)
        return troubles.about(name, entry.name if entry else "", entry.kind if entry else "")
