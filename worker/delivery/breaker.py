"""A destination's health: how a success or a failure changes it, and when to send again. Pure.

Times are passed in. What happens to the single delivery is in retry.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

from stash_courier.queue.failures import CLASSES, DeliveryFailed, Failure
from stash_courier.queue.jobs import Delivery
from stash_courier.worker.delivery.retry import jitter

# Seconds between probes. An outage is probed often, so that everything is sent within a minute of its end.
# A fault that only a person can fix is probed less and less often.
PROBES_OUTAGE = (5.0, 10.0, 20.0, 30.0)
PROBES_FAULT = (30.0, 60.0, 120.0, 300.0, 900.0)
LONGEST_HOLD = 86_400.0  # seconds: the longest Retry-After that is obeyed
REMOVED_SECONDS = 30 * 86_400.0  # how long deliveries to a removed destination are kept
# An edit that came in since the last probe and never failed may show that only some scenes fail.
PROBE_UNTRIED = 5.0
# Scenes that failed before and after a success hold the destination only if so many of them fail in a row.
MANY_REPEATS = 20
# Whatever holds the destination, these failures before it are taken back.
_OUTAGE_BEGINS = {Failure.REFUSED, Failure.FORBIDDEN}


@dataclass(frozen=True, slots=True)
class Health:
    """What is known of a destination. Stored in queue.db for the status button and the next worker."""

    state: Literal["well", "ill", "gone"] = "well"
    failure: str = ""  # the Failure that made it ill
    reason: str = ""  # its last error message, one sentence
    since: float = 0.0  # wall time at which it became ill
    until: float = 0.0  # wall time of the next probe while it is ill
    probed_at: float = 0.0  # wall time of the last failure of a probe, or at which it became ill
    retry_at: float = 0.0  # wall time before which it asked to get nothing (Retry-After)
    forced: bool = False  # a person wants one delivery tried in spite of retry_at
    probes: int = 0  # failed probes since it became ill
    streak: tuple[tuple[str, int], ...] = ()  # (failure, scene id), since the last success
    repeats: tuple[tuple[str, int], ...] = ()  # the same, of scenes that also failed before the last success
    streak_since: float = 0.0  # wall time of the first failure of both
    fingerprint: str = ""  # of the settings that this is the health for
    removed_at: float = 0.0  # wall time since which the settings don't name it; 0: they do
    last_success: float = 0.0  # wall time
    # Wall time at which it last took a scene that Stash has, under the present path map, so it found its file.
    last_found: float = 0.0

    @property
    def advice(self) -> str:
        """What to do while it is ill or gone, in sentences."""
        return CLASSES[Failure(self.failure) if self.failure in CLASSES else Failure.DESTINATION].advice

    @property
    def refuses_scenes(self) -> bool:
        """Whether it is ill because it refused scenes. Only a scene that it takes shows that it no longer does."""
        return self.state == "ill" and _by_scenes(self.failure)


def from_json(stored: dict[str, Any]) -> Health:
    """The inverse of ``asdict``. A state that can't be read counts as that of a new destination."""
    try:
        pairs = {name: tuple((str(f), int(s)) for f, s in stored.get(name, ())) for name in ("streak", "repeats")}
        health = Health(**{**stored, **pairs})
    except (LookupError, TypeError, ValueError):
        return Health()
    alike = all(_alike(getattr(health, name), getattr(Health(), name)) for name in stored)
    return health if alike and health.state in {"well", "ill", "gone"} else Health()


def _alike(value: object, default: object) -> bool:
    """Whether a value has the type of a field's default. JSON may hold a whole number for a float."""
    return type(value) is type(default) or (type(value) is int and type(default) is float)


def configured(health: Health, fingerprint: str) -> Health:
    """Health of a destination that the settings name; changed settings reset it.

    Args:
        health: before.
        fingerprint: the connection's.
    """
    if health.fingerprint != fingerprint:
        return Health(fingerprint=fingerprint, last_success=health.last_success)
    return replace(health, removed_at=0.0)


def untried(health: Health, since: float) -> bool:
    """Whether nothing is known since a wall time, because the settings have changed and nothing was sent yet."""
    return health == _without_failures(health, health.last_success) and health.last_success <= since


def _without_failures(health: Health, last_success: float) -> Health:
    return Health(
        fingerprint=health.fingerprint,
        removed_at=health.removed_at,
        last_success=last_success,
        last_found=health.last_found,
    )


def within_reach(health: Health, now: float) -> Health:
    """Health without a hold that is longer than any can be, because a wrong clock set it. ``now`` is wall time."""
    latest = now + LONGEST_HOLD
    until, retry_at = (0.0 if at > latest else at for at in (health.until, health.retry_at))
    return replace(health, until=until, retry_at=retry_at)


def expedited(health: Health, now: float) -> Health:
    """Health when a person wants it tried now. One that is gone or asked for a wait gets one probe.

    They may have changed something, so probes are frequent again.
    """
    state: Literal["well", "ill"] = "well" if health.state == "well" else "ill"
    return replace(health, state=state, until=0.0, probes=0, forced=now < health.retry_at)


def shifted(health: Health, seconds: float) -> Health:
    """Health after a jump of the wall clock."""
    times = {name: getattr(health, name) for name in ("until", "probed_at", "retry_at")}
    return replace(health, **{name: at + seconds for name, at in times.items() if at})


def may_send(health: Health, now: float) -> Literal["all", "probe", "nothing"]:
    """What may be sent now: everything, one delivery as a probe, or nothing."""
    if health.state == "gone":
        return "nothing"
    if now < health.retry_at:
        return "probe" if health.forced else "nothing"
    if health.state == "well":
        return "all"
    return "nothing" if now < health.until else "probe"


def opens_at(health: Health, untried_edit: float | None = None) -> float:
    """Wall time from which something may be sent, 0 for at once; infinity if that needs new settings.

    ``untried_edit`` is the wall time of the newest waiting edit that never failed. If the destination refuses
    what it gets, such an edit is tried soon.
    """
    if health.state == "gone":
        return math.inf
    at = health.until if health.state == "ill" else 0.0
    refused = health.failure in {Failure.REFUSED, Failure.REJECTED}
    if health.state == "ill" and refused and untried_edit is not None and untried_edit > health.probed_at:
        at = min(at, health.probed_at + PROBE_UNTRIED)
    return at if health.forced else max(at, health.retry_at)


def after_success(
    health: Health, now: float, *, probe: bool = False, notice: bool = False, gone: bool = False
) -> Health:
    """Health after a delivery was accepted. A Retry-After stays in force unless this was a person's probe.

    That a message about trouble (``notice``) was accepted doesn't show that scenes are. A deleted scene (``gone``)
    is reported without being found.
    """
    if notice and health.refuses_scenes:
        return replace(health, forced=health.forced and not probe)
    well = _without_failures(health, now)
    if not (notice or gone):
        well = replace(well, last_found=now)
    if notice:
        streak = tuple(entry for entry in health.streak if _by_scenes(entry[0]))
        since = health.streak_since if streak or health.repeats else 0.0
        well = replace(well, last_success=health.last_success, reason=health.reason)
        well = replace(well, streak=streak, repeats=health.repeats, streak_since=since)
    if health.retry_at > now and not probe:
        return replace(well, retry_at=health.retry_at, reason=health.reason, forced=health.forced)
    return well


def after_answer(health: Health, *, probe: bool) -> Health:
    """Health after an answer that is neither a success nor a failure. It shows that the destination works."""
    if probe:
        health = replace(health, forced=False)
    return health if health.state == "gone" else replace(health, state="well", until=0.0, probes=0, since=0.0)


def after_failure(
    health: Health, error: DeliveryFailed, delivery: Delivery, now: float, *, probe: bool, rng: Callable[[], float]
) -> tuple[Health, tuple[int, ...]]:
    """Health after a delivery failed.

    Args:
        health: before.
        error: why it failed.
        delivery: as it was claimed.
        now: wall time, unix seconds.
        probe: whether this delivery was sent to probe the destination.
        rng: gives numbers in [0, 1), for the jitter.

    Returns:
        The new health, and the scenes whose counted attempts or dead letters are taken back because the fault
        turned out to be the destination's. A scene appears once for each attempt that was counted.
    """
    if error.retry_after is not None:
        health = replace(health, retry_at=max(health.retry_at, now + error.retry_after), reason=error.message)
    if probe:
        health = replace(health, forced=False)
    failure = error.failure
    row = CLASSES[failure]
    if failure is Failure.GONE:
        gone = replace(health, state="gone", failure=failure.value, reason=error.message, until=0.0)
        return replace(gone, since=health.since if health.state != "well" else now), ()
    if health.state == "gone":
        return health, ()
    if row.alive:
        return after_answer(health, probe=probe), ()
    if health.state == "ill":
        return (_after_probe(health, error, now, rng) if probe else health), ()
    counted_before = (*health.streak, *health.repeats)
    if row.hold_after not in {None, 1}:
        health = _longer_streak(health, error, delivery, now)
    if row.hold_after == 1 or _is_ill(health, failure):
        ill = replace(
            health, state="ill", reason=error.message, since=now, probes=0, streak=(), repeats=(), forced=False
        )
        # A server error may have been the beginning of an outage, but a refused scene was looked at.
        took = tuple(s for f, s in counted_before if _by_scenes(f) and f in {failure, *_OUTAGE_BEGINS})
        return _held(ill, error, now, rng), took
    return health, ()


def _after_probe(health: Health, error: DeliveryFailed, now: float, rng: Callable[[], float]) -> Health:
    if CLASSES[error.failure].hold_after is None:  # it says nothing about the destination; the next probe may
        held = _held(health, error, now, rng)
        return replace(health, until=held.until, probed_at=now)
    return _held(replace(health, reason=error.message, probes=health.probes + 1), error, now, rng)


def _longer_streak(health: Health, error: DeliveryFailed, delivery: Delivery, now: float) -> Health:
    entry = error.failure.value, delivery.scene_id
    health = replace(health, streak_since=health.streak_since or now, reason=error.message)
    # It failed, others succeeded, and it fails again: then it counts against the scene.
    failed_before = any(a.failure == entry[0] and a.at < health.last_success for a in delivery.history)
    if failed_before and CLASSES[error.failure].distinct_scenes:
        return replace(health, repeats=(*health.repeats, entry)[-MANY_REPEATS:])
    return replace(health, streak=(*health.streak, entry)[-20:])


def _is_ill(health: Health, failure: Failure) -> bool:
    row = CLASSES[failure]
    scenes = [scene for name, scene in health.streak if name == failure]
    if row.distinct_scenes:
        scenes = list({scene for scene in scenes if scene >= 0})  # messages about trouble have no scene
    many = len({scene for _, scene in health.repeats if scene >= 0}) >= MANY_REPEATS
    return row.hold_after is not None and (len(scenes) >= row.hold_after or many)


def _by_scenes(failure: str) -> bool:
    """Whether only failures of different scenes show that it is the destination."""
    return failure in CLASSES and CLASSES[Failure(failure)].distinct_scenes


def _held(health: Health, error: DeliveryFailed, now: float, rng: Callable[[], float]) -> Health:
    table = PROBES_FAULT if CLASSES[error.failure].needs_owner else PROBES_OUTAGE
    wait = table[min(health.probes, len(table) - 1)] * jitter(rng)
    return replace(health, failure=error.failure.value, until=now + wait, probed_at=now)
