"""What becomes of a delivery that failed, pure: later or buried, and what the attempt counts for.

DESIGN's table "what an attempt's failure means" stands here and in breaker.py, nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from stash_courier.queue.failures import DeliveryFailed, Failure
from stash_courier.queue.jobs import Delivery

JITTER = 0.2
# A media server that doesn't know the item yet: it is scanned in minutes, or the path map is wrong.
ABSENT_SECONDS = (30.0, 60.0, 120.0, 240.0, 480.0, 900.0, 1800.0, 3600.0)


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do with a failed delivery."""

    bury: bool
    delivery: Delivery  # with its counts as they are now
    due: float  # wall time of the next try; without meaning when buried


def decide(
    delivery: Delivery,
    error: DeliveryFailed,
    now: float,
    *,
    held: bool,
    schedule: Sequence[float],
    max_attempts: int,
    chance: Callable[[], float],
) -> Decision:
    """Decides about one failed delivery.

    Args:
        delivery: as it was claimed.
        error: why it failed.
        now: wall time.
        held: the destination is ill or gone after this failure: it waits as a whole, this one too.
        schedule: seconds between tries; the last repeats.
        max_attempts: counted attempts after which it is a dead letter.
        chance: gives numbers in [0, 1), for the jitter.
    """
    tried = replace(delivery, tries=delivery.tries + 1)

    def later(job: Delivery, seconds: float) -> Decision:
        wait = seconds * (1 - JITTER + 2 * JITTER * chance())
        return Decision(False, job, now + max(wait, error.retry_after or 0.0))

    match error.failure:
        case Failure.ITEM_REFUSED:
            return Decision(True, tried, now)
        case Failure.NOT_THERE_YET:
            absent = replace(tried, absent=tried.absent + 1)
            if absent.absent > len(ABSENT_SECONDS):
                return Decision(True, absent, now)
            return later(absent, ABSENT_SECONDS[absent.absent - 1])
        case Failure.BUG:
            return _counted(tried, later, schedule, max_attempts, now)
        case _ if held:
            # Nothing counts while the destination waits as a whole; one that probed goes to the end.
            return Decision(False, tried, now)
        case Failure.REFUSED:
            return _counted(tried, later, schedule, max_attempts, now)
        case Failure.FORBIDDEN:
            return Decision(True, tried, now)
        case _:
            return later(tried, _step(schedule, tried.tries))


def _counted(
    tried: Delivery,
    later: Callable[[Delivery, float], Decision],
    schedule: Sequence[float],
    max_attempts: int,
    now: float,
) -> Decision:
    counted = replace(tried, attempts=tried.attempts + 1)
    if counted.attempts >= max_attempts:
        return Decision(True, counted, now)
    return later(counted, _step(schedule, counted.attempts))


def _step(schedule: Sequence[float], tries: int) -> float:
    return schedule[min(tries, len(schedule)) - 1]
