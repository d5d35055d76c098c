"""Dead letters for tests of the page, as the worker stores them."""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import closing

from stash_courier.queue.dead_letters.dlq import DeadLetterQueue
from stash_courier.queue.failures import DeliveryFailed, Failure
from stash_courier.queue.jobs import Attempt, Delivery
from tests.support.harness import Courier


def bury(
    courier: Courier,
    scenes: Iterable[int],
    destination: str,
    *,
    failure: Failure = Failure.REJECTED,
    status: int = 422,
    answer: str = "title: too long",
    title: str = "Film {}",
    path: str = "/media/films/{}.mp4",
    attempts: int = 3,
) -> list[int]:
    """Makes a dead letter of each scene, with three attempts in its history; their ids. ``{}`` is the scene."""
    now = time.time()
    message = f"the receiver answered {status}: it refuses this; see its answer and its own log."
    history = tuple(Attempt(now - 60 * left, failure.value, message, status, answer) for left in (2, 1, 0))
    with closing(DeadLetterQueue(courier.data, plugin_version="0.1.0")) as dlq:
        return [
            dlq.add(
                Delivery(1, destination, scene, "update", (), 1_700_000_000_000 + scene, now, history=history),
                DeliveryFailed(failure, message, status=status, answer=answer),
                attempts,
                title=title.format(scene),
                path=path.format(scene),
            )
            for scene in scenes
        ]
