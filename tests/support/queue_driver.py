"""A driver for tests of the queue: each step takes one line."""

from __future__ import annotations

import itertools
from dataclasses import replace

from stash_courier.queue.deliveries.scene_queue import SceneQueue
from stash_courier.queue.jobs import Attempt, CorruptRow, Delivery, SceneEvent
from tests.support.durable import DEST, START

OTHER = "plex"
GONE = {"path": "/media/a.mp4", "oshash": "0f1e", "checksum": "d41d"}
FAILED = Attempt(START + 1, "refused", "It answered 500.", 500, "oops")


class QueueDriver:
    """Routes events with increasing seqs, and claims and ends their deliveries."""

    def __init__(self, queue: SceneQueue) -> None:
        self.queue = queue
        self.seqs = itertools.count(1000)

    def route(self, *events: SceneEvent, settle: float = 0.0, to: tuple[str, ...] = (DEST,)) -> None:
        """Routes events in the given order."""
        self.queue.route([replace(e, seq=next(self.seqs)) for e in events], dict.fromkeys(to, settle))

    def claim(self, now: float = START, limit: int = 10, destination: str = DEST) -> list[Delivery]:
        """Claims deliveries; none may be corrupt."""
        claimed = claim(self.queue, limit, now, destination)
        assert all(isinstance(delivery, Delivery) for delivery in claimed)
        return [delivery for delivery in claimed if isinstance(delivery, Delivery)]

    def only(self, now: float = START) -> Delivery:
        """Claims the one delivery that is due."""
        (delivery,) = self.claim(now)
        return delivery

    def done(self, delivery: Delivery) -> None:
        """Ends a delivery that succeeded."""
        with self.queue.transaction():
            self.queue.done(delivery)

    def back(self, delivery: Delivery, due: float | None = None, attempt: Attempt | None = None) -> None:
        """Puts a delivery back."""
        with self.queue.transaction():
            self.queue.back(delivery, due, attempt)

    def fail(self, delivery: Delivery, due: float) -> None:
        """Puts a delivery back after a failed attempt that counts."""
        counted = replace(delivery, counted_attempts=delivery.counted_attempts + 1, attempts=delivery.attempts + 1)
        self.back(counted, due, FAILED)


def claim(queue: SceneQueue, limit: int, now: float, destination: str = DEST) -> list[Delivery | CorruptRow]:
    """Claims edits, then the rest, at most ``limit`` together."""
    claimed = queue.claim(destination, limit, now, edits=True)
    return claimed + queue.claim(destination, limit - len(claimed), now, edits=False)


def next_due(queue: SceneQueue, destination: str = DEST) -> float | None:
    """When the next delivery is due, those with a count of deaths aside."""
    return min((due for due in queue.next_due(destination) if due is not None), default=None)


def known(delivery: Delivery) -> dict[str, str]:
    """The facts of a destroyed scene in a delivery."""
    return {"path": delivery.path, "oshash": delivery.oshash, "checksum": delivery.checksum}
