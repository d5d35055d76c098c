"""What happens to a delivery that failed: it waits or becomes a dead letter. Pure.

The rules for each class of failure are in queue/failures.py. What happens to the destination is in breaker.py.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from stash_courier.queue.failures import CLASSES, DeliveryFailed, Failure
from stash_courier.queue.jobs import Delivery, Scene
from stash_courier.worker.connections.model import Policy

# Seconds between attempts while a media server doesn't have the item, unless it is known when to look again.
# Either it scans the file within these two hours, or the path map is wrong.
NOT_FOUND_SECONDS = (30, 60, 120, 240, 480, 900, 1800, 3600)
SHORTEST_JITTER, LONGEST_JITTER = 0.8, 1.2


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do with a failed delivery."""

    bury: bool
    delivery: Delivery  # with updated counts
    due: float  # wall time of the next attempt; meaningless when buried or skipped
    skip: bool = False  # it ends, because the media server doesn't have the scene


def decide(
    delivery: Delivery,
    error: DeliveryFailed,
    now: float,
    *,
    held: bool,
    policy: Policy,
    rng: Callable[[], float],
    scene: Scene | None = None,
) -> Decision:
    """Decides about one failed delivery.

    Args:
        delivery: as it was claimed.
        error: why it failed.
        now: wall time, unix seconds.
        held: the destination is ill or gone after this failure, so all of its deliveries wait.
        policy: the retry schedule, the counted attempts after which it is a dead letter, and what becomes of a
            scene that the media server doesn't have.
        rng: gives numbers in [0, 1), for the jitter.
        scene: as it was to be sent; None for a destroy.
    """
    row = CLASSES[error.failure]
    tried = replace(delivery, attempts=delivery.attempts + 1)
    if held and row.hold_after is not None:
        # Attempts don't count while the whole destination waits. Due now puts a failed probe behind the others.
        return Decision(False, tried, now)

    def later(job: Delivery, waits: Sequence[float], attempts: int) -> Decision:
        seconds = waits[min(attempts, len(waits)) - 1] * jitter(rng)
        return Decision(False, job, now + max(seconds, error.retry_after or 0.0))

    match row.delivery:
        case "bury":
            return Decision(True, tried, now)
        case "wait for scan":
            waits = scene is None or policy.waits_for(scene, now)
            waited = replace(tried, not_found=max(tried.not_found + _since_last_look(tried, now), 1))
            if not waits or waited.not_found >= sum(NOT_FOUND_SECONDS):
                skip = policy.absent == "skip"
                return Decision(not skip, waited, now, skip)
            seconds = _until_next_look(waited.not_found, error.again_in, rng)
            return Decision(False, waited, now + max(seconds, error.retry_after or 0.0))
        case "give up":
            skip = policy.absent == "skip"
            return Decision(not skip, tried, now, skip)
        case "count":
            counted = replace(tried, counted_attempts=tried.counted_attempts + 1)
            if counted.counted_attempts >= policy.attempts:
                return Decision(True, counted, now)
            return later(counted, policy.schedule, counted.counted_attempts)
        case "wait":
            return later(tried, policy.schedule, tried.attempts)


def _since_last_look(delivery: Delivery, now: float) -> int:
    """Seconds since the media server was last asked for the item; 0 if it couldn't be asked meanwhile.

    Attempts that a person caused come early, so only time that has passed counts. While no worker ran, nothing was
    asked, so no more counts than the longest wait.
    """
    last = delivery.history[-1] if delivery.not_found and delivery.history else None
    if last is None or last.failure != Failure.NOT_THERE_YET:
        return 0
    return math.ceil(min(max(now - last.at, 0.0), LONGEST_JITTER * NOT_FOUND_SECONDS[-1]))


def _until_next_look(waited: int, again_in: float | None, rng: Callable[[], float]) -> float:
    """Seconds until the media server is asked again for an item that it has lacked for ``waited`` seconds."""
    left = max(sum(NOT_FOUND_SECONDS) - waited, NOT_FOUND_SECONDS[0])
    if again_in is not None:
        return min(max(math.ceil(again_in), 1), left)
    ends = itertools.accumulate(NOT_FOUND_SECONDS)
    step = next(
        (n for n, end in zip(NOT_FOUND_SECONDS, ends, strict=True) if waited < SHORTEST_JITTER * end), left
    )
    return min(step, left) * jitter(rng)


def jitter(rng: Callable[[], float]) -> float:
    """A factor that spreads waits by 20 percent in both directions. ``rng`` gives numbers in [0, 1)."""
    return SHORTEST_JITTER + (LONGEST_JITTER - SHORTEST_JITTER) * rng()
