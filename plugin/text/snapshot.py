"""What stands in queue.db at one moment, and what follows for people: what moves, what waits, why, what to do.

Read by `status` and `deliver_now`. Pure but for ``read``; decides nothing that the worker does.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from stash_courier.plugin.text.report import ago, ahead, count, flat, span
from stash_courier.queue import control
from stash_courier.queue.failures import CLASSES, Failure
from stash_courier.queue.jobs import Backlog
from stash_courier.queue.scene_queue import SceneQueue
from stash_courier.worker.delivery import breaker
from stash_courier.worker.delivery.breaker import Health
from stash_courier.worker.delivery.claims import REMOVED_SECONDS
from stash_courier.worker.settings import label

DAY = 86_400.0
EMPTY = Backlog(0, 0, 0, 0.0, 0.0)
ALWAYS_503 = (
    "It has been like this for more than a day: a media server whose IP filter refuses this machine answers "
    "503 for ever, so look at its network settings."
)

State = Literal["well", "waiting", "held", "off", "broken", "removed"]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The queue at one moment."""

    at: float  # wall time
    inbox: int  # events that no destination has yet
    backlog: Mapping[str, Backlog]
    healths: Mapping[str, Health]
    paused_since: float | None  # wall time
    disabled: bool
    expedite: bool  # a person's wish that the worker hasn't heard yet
    stash_away: Mapping[str, Any] | None  # since, reason: the worker can't ask Stash
    problems: tuple[tuple[str, str], ...]  # setting and sentence, as the worker last saw them
    notices: tuple[str, ...]  # sentences that the worker left for a person
    last_success: Mapping[str, Any] | None  # at, destination, scene_id
    added: int  # deliveries ever added: two snapshots tell how many came between

    @property
    def deliveries(self) -> int:
        """Deliveries that wait or are on their way."""
        return sum(waits.total for waits in self.backlog.values())

    @property
    def blocked(self) -> str:
        """Why no delivery is begun at all, in a sentence; "" if deliveries are made."""
        if self.paused_since is not None:
            return (
                f"Deliveries have been paused for {span(self.at - self.paused_since)}: press «Resume deliveries»."
            )
        if self.disabled:
            return "Stash Courier is switched off in Stash's Settings → Plugins, so nothing is delivered."
        if self.stash_away is not None:
            away = span(self.at - float(self.stash_away["since"]))
            return f"The worker has not been able to ask Stash for {away}: {flat(str(self.stash_away['reason']))}."
        return ""

    def moves(self, usable: Collection[str] | None = None) -> bool:
        """Whether something is on its way or will begin at once.

        Args:
            usable: destinations that the settings name and that work; None if that isn't known.
        """
        blocked = bool(self.blocked)
        if self.expedite or (self.inbox and self.stash_away is None):
            return True
        return any(
            waits.in_flight or (not blocked and self._goes(name, waits, usable))
            for name, waits in self.backlog.items()
        )

    def _goes(self, name: str, waits: Backlog, usable: Collection[str] | None) -> bool:
        health = self.healths.get(name)
        if health is None or health.removed_at or (usable is not None and name not in usable):
            return False
        may = breaker.may_send(health, self.at)
        return may == "probe" or (may == "all" and waits.next_due <= self.at)


@dataclass(frozen=True, slots=True)
class Named:
    """What Stash's settings say of the destinations now."""

    usable: frozenset[str] = frozenset()  # ids
    unusable: frozenset[str] = frozenset()  # ids of those that wait for a setting, where they are known
    faults: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # kind of those → settings to be mended

    @property
    def nobody(self) -> bool:
        """Whether no destination is set up at all."""
        return not self.usable and not self.faults

    @property
    def fault(self) -> str:
        """``a and b can't be used as they stand``, of all settings that keep a destination from being used."""
        return _cannot_be_used([setting for settings in self.faults.values() for setting in settings])

    def faults_of(self, name: str, health: Health | None) -> tuple[str, ...]:
        """The settings that keep a destination from being used; none if it is usable or isn't meant at all."""
        meant = name in self.unusable or (health is not None and not health.removed_at)
        return self.faults.get(name.partition(":")[0], ()) if meant and name not in self.usable else ()


@dataclass(frozen=True, slots=True)
class Standing:
    """How one destination stands."""

    destination: str
    state: State
    backlog: Backlog
    sentence: str  # everything about it, for a person
    since: float | None = None  # wall time at which it began not to take deliveries
    reason: str = ""
    advice: str = ""  # what to do
    next_try: float | None = None  # wall time
    last_success: float | None = None  # wall time

    def facts(self) -> dict[str, object]:
        """For the answer."""
        waits = self.backlog
        return {
            "id": self.destination,
            "state": self.state,
            "waiting": waits.total - waits.in_flight,
            "retrying": waits.retrying,
            "in_flight": waits.in_flight,
            "oldest": waits.oldest or None,
            "since": self.since,
            "reason": self.reason,
            "advice": self.advice,
            "next_try": self.next_try,
            "last_success": self.last_success,
        }


def read(queue: SceneQueue, at: float) -> Snapshot:
    """Reads the queue. Its cost grows with what waits."""
    conn = queue.connection

    def stored(key: str) -> Any:
        return control.get(conn, key)

    notices = [stored(control.UNSEEN)]
    # The owner deletes the damaged file when nobody needs it any more; until then it is worth a line.
    if any(queue.folder.glob("*.damaged-*")):
        notices.insert(0, stored(control.REPAIRED))
    return Snapshot(
        at=at,
        inbox=queue.inbox_count(),
        backlog=queue.backlog(),
        healths={name: breaker.from_json(state) for name, state in control.states(conn).items()},
        paused_since=stored(control.PAUSED),
        disabled=bool(stored(control.DISABLED)),
        expedite=stored(control.EXPEDITE) is not None,
        stash_away=stored(control.STASH),
        problems=tuple((setting, message) for setting, message in stored(control.PROBLEMS) or ()),
        notices=tuple(notice for notice in notices if notice),
        last_success=stored(control.LAST_SUCCESS),
        added=control.deliveries_added(conn),
    )


def standings(snapshot: Snapshot, named: Named | None) -> list[Standing]:
    """How each destination stands that is set up or that something waits for, by id.

    Args:
        snapshot: the queue.
        named: what the settings say; None if they can't be had: then what the worker knew last counts.
    """
    known = {*snapshot.healths, *snapshot.backlog}
    found = []
    for name in sorted(known if named is None else {*known, *named.usable, *named.unusable}):
        health = snapshot.healths.get(name)
        faults = named.faults_of(name, health) if named else ()
        usable = name in named.usable if named else health is not None and not health.removed_at
        if usable or faults or named is None or name in snapshot.backlog:
            found.append(standing(snapshot, name, usable=usable, faults=faults))
    return found


def undecided(snapshot: Snapshot, named: Named | None, found: Collection[Standing]) -> str:
    """That changes wait for a destination that a broken setting doesn't tell, in a sentence; "" if none do.

    Args:
        snapshot: the queue.
        named: what the settings say; None if they can't be had.
        found: how the destinations stand.
    """
    told = any(one.state == "broken" for one in found)
    if named is None or named.usable or not named.faults or told or not snapshot.inbox:
        return ""
    wait, they = ("waits", "it goes") if snapshot.inbox == 1 else ("wait", "they go")
    return f"{count(snapshot.inbox, 'change')} {wait}, since {named.fault}: {they} out once that is mended."


def standing(snapshot: Snapshot, name: str, *, usable: bool, faults: Collection[str] = ()) -> Standing:
    """How a destination stands.

    Args:
        snapshot: the queue.
        name: its id.
        usable: the settings name it, and it works.
        faults: the settings that keep it from being used.
    """
    now = snapshot.at
    health = snapshot.healths.get(name, Health())
    waits = snapshot.backlog.get(name, EMPTY)
    last = health.last_success or None
    if faults:
        reason = _cannot_be_used(faults)
        sentence = f"{name} gets nothing, since {reason}; {_kept(waits, now)}."
        return Standing(name, "broken", waits, sentence, None, reason, "", None, last)
    if not usable:
        return _removed(name, health, waits, now, last)
    if health.state != "well":
        found = _held(name, health, waits, now, last)
    elif now < health.until:
        sentence = (
            f"{name} asked to wait: {flat(health.reason)} Next try {ahead(health.until - now)}. "
            f"{_waiting(waits, now)}."
        )
        found = Standing(name, "waiting", waits, sentence, None, health.reason, "", health.until, last)
    else:
        found = _well(name, health, waits, now, last)
    return found if snapshot.paused_since is None else replace(found, sentence=_paused(found, now))


def _cannot_be_used(settings: Collection[str]) -> str:
    *others, last = dict.fromkeys(map(label, settings))
    if others:
        return f"{', '.join(others)} and {last} can't be used as they stand"
    return f"{last} can't be used as it stands"


def _kept(waits: Backlog, now: float) -> str:
    if not waits.total:
        return "nothing waits for it"
    wait = "waits" if waits.total == 1 else "wait"
    return f"{count(waits.total, 'change')} {wait} for it, the oldest for {span(now - waits.oldest)}"


def _paused(one: Standing, now: float) -> str:
    """What is said while nothing is sent: neither that it takes anything nor when it is tried."""
    said = f"{one.destination} gets nothing until you press «Resume deliveries». {_waiting(one.backlog, now)}."
    if one.state == "well":
        return said if one.last_success is None else f"{said} Last delivery {ago(now - one.last_success)}."
    ill = f" for {span(now - one.since)}" if one.since else ""
    advice = f" {one.advice}" if one.state == "off" else ""
    return f"{said} It has taken nothing{ill}: {flat(one.reason)}{advice}"


def _well(name: str, health: Health, waits: Backlog, now: float, last: float | None) -> Standing:
    said = f"{name} takes deliveries. {_waiting(waits, now)}"
    waiting = waits.total - waits.in_flight
    later = bool(waiting) and waits.next_due > now
    if later:
        said += f", the next is due {ahead(waits.next_due - now)}"
    if waits.retrying and health.reason:
        said += f"; it last complained: {flat(health.reason).rstrip('.')}"
    said += "." if last is None else f". Last delivery {ago(now - last)}."
    return Standing(name, "well", waits, said, None, health.reason, "", waits.next_due if later else None, last)


def _held(name: str, health: Health, waits: Backlog, now: float, last: float | None) -> Standing:
    advice = _advice(health.failure)
    since = health.since or None
    gone = health.state == "gone"
    if health.failure == Failure.BUSY and " 503 " in health.reason and since and now - since > DAY:
        advice = ALWAYS_503
    next_try = None if gone else health.until
    when = "" if next_try is None else f" Next try {ahead(next_try - now)}."
    ill = f" for {span(now - since)}" if since else ""
    sentence = f"{name} has taken nothing{ill}: {flat(health.reason)}{when} {advice} {_waiting(waits, now)}."
    return Standing(name, "off" if gone else "held", waits, sentence, since, health.reason, advice, next_try, last)


def _advice(failure: str) -> str:
    return CLASSES[Failure(failure) if failure in CLASSES else Failure.DESTINATION].advice


def _removed(name: str, health: Health, waits: Backlog, now: float, last: float | None) -> Standing:
    left = REMOVED_SECONDS - (now - health.removed_at) if health.removed_at else REMOVED_SECONDS
    since = f" for {span(now - health.removed_at)}" if health.removed_at else ""
    advice = (
        f"Enter it again and they go out; in {span(left)} they become dead letters."
        if waits.total
        else "Nothing waits for it."
    )
    sentence = f"{name} has not been in the settings{since}. {_waiting(waits, now)}. {advice}"
    reason = "not in the settings"
    return Standing(name, "removed", waits, sentence, health.removed_at or None, reason, advice, None, last)


def _waiting(waits: Backlog, now: float) -> str:
    """What waits, as a sentence without its full stop."""
    if not waits.total:
        return "Nothing waits"
    waiting = waits.total - waits.in_flight
    parts = []
    if waiting:
        parts.append(f"{count(waiting, 'delivery')} {'waits' if waiting == 1 else 'wait'}")
        if waits.retrying:
            parts[0] += f" ({waits.retrying:,} after a failure)"
    if waits.in_flight:
        parts.append(f"{waits.in_flight:,} on {'its' if waits.in_flight == 1 else 'their'} way")
    return f"{' and '.join(parts)}, the oldest for {span(now - waits.oldest)}"
