"""A destination's health: how a success or a failure changes it, and when to send again. Pure.

Times are passed in. What happens to the single delivery is in retry.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from stash_courier.queue.checks import or_default, text, time, whole
from stash_courier.queue.failures import CLASSES, DeliveryFailed, Failure
from stash_courier.worker.delivery.retry import jitter

# Seconds between probes. An outage is probed often, so that everything is sent within a minute of its end.
# A fault that only a person can fix is probed less and less often.
PROBES_OUTAGE = (5.0, 10.0, 20.0, 30.0)
PROBES_FAULT = (30.0, 60.0, 120.0, 300.0, 900.0)
LONGEST_HOLD = 86_400.0  # seconds: the longest Retry-After that is obeyed


@dataclass(frozen=True, slots=True)
class Health:
    """What is known of a destination. Stored in queue.db for the status button and the next worker."""

    state: Literal["well", "ill", "gone"] = "well"
    failure: str = ""  # the Failure that made it ill
    reason: str = ""  # its last error message, one sentence
    since: float = 0.0  # wall time at which it became ill
    until: float = 0.0  # wall time before which nothing is sent
    probes: int = 0  # failed probes since it became ill
    streak: tuple[tuple[str, int], ...] = ()  # (failure, scene id), since the last success
    streak_since: float = 0.0  # wall time of its first failure
    fingerprint: str = ""  # of the settings that this is the health for
    removed_at: float = 0.0  # wall time since which the settings don't name it; 0: they do
    last_success: float = 0.0  # wall time


def from_json(stored: dict[str, Any]) -> Health:
    """The inverse of ``asdict``; fields that are missing, unknown or damaged are ignored."""
    known: dict[str, Any] = {}
    for name, default in asdict(Health()).items():
        known[name] = or_default(_CHECKS[type(default)], stored.get(name), default)
    if known["state"] not in {"well", "ill", "gone"}:
        known["state"] = "well"
    return Health(**known)


def _streak(value: Any) -> tuple[tuple[str, int], ...]:
    pairs = [or_default(_pair, pair, None) for pair in value]
    return tuple(pair for pair in pairs if pair is not None)


def _pair(value: Any) -> tuple[str, int]:
    failure, scene_id = value
    return Failure(failure).value, whole(scene_id)


_CHECKS: Mapping[type, Callable[[Any], object]] = {float: time, int: whole, str: text, tuple: _streak}


def configured(health: Health, fingerprint: str) -> Health:
    """Health of a destination that the settings name; changed settings reset it."""
    if health.fingerprint != fingerprint:
        return Health(fingerprint=fingerprint, last_success=health.last_success)
    return replace(health, removed_at=0.0)


def within_reach(health: Health, now: float) -> Health:
    """Health without a hold that is longer than any can be, because a wrong clock set it. ``now`` is wall time."""
    return replace(health, until=0.0) if health.until > now + LONGEST_HOLD else health


def expedited(health: Health) -> Health:
    """Health when a person wants it tried now; a destination that is gone is probed once."""
    return replace(health, state="ill" if health.state == "gone" else health.state, until=0.0)


def may_send(health: Health, now: float) -> Literal["all", "probe", "nothing"]:
    """What may be sent now: everything, one delivery as a probe, or nothing."""
    if health.state == "gone" or now < health.until:
        return "nothing"
    return "probe" if health.state == "ill" else "all"


def after_success(health: Health, now: float) -> Health:
    """Health after a delivery was accepted. A Retry-After stays in force unless this was a probe."""
    well = Health(fingerprint=health.fingerprint, removed_at=health.removed_at, last_success=now)
    if health.state == "well" and health.until > now:
        return replace(well, until=health.until, reason=health.reason)
    return well


def after_failure(
    health: Health, error: DeliveryFailed, scene_id: int, now: float, *, probe: bool, rng: Callable[[], float]
) -> tuple[Health, tuple[int, ...]]:
    """Health after a delivery failed.

    Args:
        health: before.
        error: why it failed.
        scene_id: the delivery's scene.
        now: wall time, unix seconds.
        probe: whether this delivery was sent to probe an ill destination.
        rng: gives numbers in [0, 1), for the jitter.

    Returns:
        The new health, and the scenes whose counted attempts or dead letters are taken back because the fault
        turned out to be the destination's. A scene appears once for each attempt that was counted.
    """
    failure = error.failure
    row = CLASSES[failure]
    if failure is Failure.GONE:
        gone = replace(health, state="gone", failure=failure.value, reason=error.message, until=0.0)
        return replace(gone, since=health.since if health.state != "well" else now), ()
    if health.state == "gone":
        return health, ()
    if row.alive:
        until = health.until if health.state == "well" else 0.0
        return replace(health, state="well", until=until, probes=0, since=0.0), ()
    if health.state == "ill":
        if not probe:
            return health, ()
        if row.hold_after is None:  # it says nothing about the destination; the next probe may
            return replace(health, until=_held(health, error, now, rng).until), ()
        ill = replace(health, reason=error.message, probes=health.probes + 1)
        return _held(ill, error, now, rng), ()
    counted_before = health.streak
    if row.hold_after not in {None, 1}:
        streak = (*health.streak, (failure.value, scene_id))[-20:]
        health = replace(health, streak=streak, streak_since=health.streak_since or now, reason=error.message)
    if row.hold_after == 1 or _is_ill(health.streak, failure):
        ill = replace(health, state="ill", reason=error.message, since=now, probes=0, streak=())
        took = tuple(s for f, s in counted_before if CLASSES[Failure(f)].distinct_scenes)
        return _held(ill, error, now, rng), took
    if error.retry_after is not None:
        health = replace(health, until=max(health.until, now + error.retry_after), reason=error.message)
    return health, ()


def _is_ill(streak: tuple[tuple[str, int], ...], failure: Failure) -> bool:
    row = CLASSES[failure]
    scenes = [scene for name, scene in streak if name == failure]
    return row.hold_after is not None and len(set(scenes) if row.distinct_scenes else scenes) >= row.hold_after


def _held(health: Health, error: DeliveryFailed, now: float, rng: Callable[[], float]) -> Health:
    table = PROBES_FAULT if CLASSES[error.failure].needs_owner else PROBES_OUTAGE
    wait = table[min(health.probes, len(table) - 1)] * jitter(rng)
    return replace(health, failure=error.failure.value, until=now + max(wait, error.retry_after or 0.0))
