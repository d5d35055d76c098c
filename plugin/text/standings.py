"""The state of each destination, for a person: one line with state, reason, advice and counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from stash_courier.plugin.snapshot import Snapshot, named
from stash_courier.plugin.text.words import (
    DAY,
    LONGEST_ANSWER,
    ago,
    ahead,
    flat,
    joined,
    sentence,
    since,
    span,
    to_correct,
)
from stash_courier.queue.dead_letters import groups as dlq_groups
from stash_courier.queue.failures import Failure
from stash_courier.queue.history.ledger import Noted
from stash_courier.queue.jobs import Attempt, Backlog
from stash_courier.worker.connections.model import Entry
from stash_courier.worker.delivery.breaker import REMOVED_SECONDS, Health
from stash_courier.worker.destinations import Loaded, field_label, versions_advice
from stash_courier.worker.destinations.media import notes
from stash_courier.worker.destinations.media.notes import Remark
from stash_courier.worker.fields import Problem

EMPTY = Backlog(0, 0, 0, 0.0, 0.0)
NONE_SET_UP = (
    "There is no connection, so nothing is sent. Open Stash Courier in Stash's top bar and add one, or fill in an "
    "address in Settings → Plugins → Stash Courier."
)
ALWAYS_503 = (
    "This has lasted more than a day. A media server whose IP filter rejects this machine answers 503 "
    "to every request, so check its network settings."
)

NOTHING_FOUND = "Nothing was found under these paths: press Test."

State = Literal["well", "waiting", "held", "gone", "paused", "off", "deleting", "broken", "removed"]

HEADLINES: Mapping[State, str] = {
    "well": "working",
    "waiting": "asked to wait",
    "held": "waiting",
    "gone": "gone",
    "paused": "paused",
    "off": "switched off",
    "deleting": "being deleted",
    "broken": "unusable",
    "removed": "inactive",
}

# The connection's state → what is shown, whatever its destination answers.
STOPPED: Mapping[str, State] = {"paused": "paused", "off": "off", "burying": "deleting"}


@dataclass(frozen=True, slots=True)
class Standing:
    """The state of one destination."""

    destination: str  # its id
    name: str  # the connection's name
    state: State
    backlog: Backlog
    last_success: float | None  # wall time
    since: float | None = None  # wall time at which it stopped taking deliveries
    reason: str = ""  # its last complaint, or what is wrong with it
    advice: str = ""  # what to do
    next_try: float | None = None  # wall time
    absent: int = 0  # skipped scenes, which the server doesn't have
    notes: Mapping[str, Noted] = field(default_factory=dict)  # the scenes with each note; see media/notes.py
    remarks: tuple[Remark, ...] = ()  # the notes in words
    entry: Entry | None = None  # the connection; None if it isn't known
    problem: Problem | None = None  # the first one that makes it unusable
    failure: str = ""  # the Failure that holds it, or that something which waits had at last

    @property
    def troubled(self) -> bool:
        """Whether the owner should act on it. A destination that the owner paused or removed is no trouble."""
        return self.state not in {"well", "paused", "off", "deleting", "removed"}

    @property
    def nothing_found(self) -> bool:
        """Whether a media server found none of the scenes that were sent so far, as with a wrong path map."""
        missing = self.absent > 0 or self.failure == Failure.NOT_THERE_YET
        return missing and self.last_success is None and self.state in {"well", "waiting"}

    def shared_facts(self) -> dict[str, object]:
        """What a button's answer and the page's card have in common."""
        waits = self.backlog
        return {
            "id": self.destination,
            "name": self.name,
            "waiting": waits.total - waits.in_flight,
            "retrying": waits.retrying,
            "in_flight": waits.in_flight,
            "oldest": waits.oldest or None,
            "advice": self.advice,
            "last_success": self.last_success,
            "not_on_server": self.absent,
        }

    def facts(self) -> dict[str, object]:
        """This destination in a button's answer."""
        return {
            **self.shared_facts(),
            "state": self.state,
            "since": self.since,
            "reason": self.reason,
            "next_try": self.next_try,
            "notes": {note: {"count": of.count, "scenes": list(of.scenes)} for note, of in self.notes.items()},
        }

    def line(self, snapshot: Snapshot) -> str:
        """This destination in a button's report."""
        now, well = snapshot.at, self.state == "well"
        headline = HEADLINES[self.state]
        if self.since is not None:
            headline = f"{headline} {since(self.since, now)}"
        advice, next_try = self.advice, self.next_try
        if snapshot.paused_since is not None and self.state in {"well", "waiting", "held", "gone"}:
            headline = "paused" if well else f"paused, {headline}"
            # Nothing is tried while paused, so only what a person must do is worth mentioning.
            advice = joined('Press "Resume deliveries".', advice if self.state == "gone" else "")
            next_try = None
        return joined(
            f"{self.name}: {headline}.",
            "" if well else sentence(self.reason),
            advice,
            counts(self.backlog, now),
            f"Not on the server: {self.absent:,}." if self.absent else "",
            "" if next_try is None else f"Next try: {ahead(next_try - now)}.",
            f"Last error: {sentence(self.reason)}" if well and self.backlog.retrying and self.reason else "",
            f"Last delivery: {ago(now - self.last_success)}." if well and self.last_success is not None else "",
        )


def counts(waits: Backlog, now: float) -> str:
    """``Waiting: 10. Retrying: 3. In flight: 2. Oldest: 5 min.``"""
    return joined(
        f"Waiting: {waits.total - waits.in_flight:,}.",
        f"Retrying: {waits.retrying:,}." if waits.retrying else "",
        f"In flight: {waits.in_flight:,}." if waits.in_flight else "",
        f"Oldest: {span(now - waits.oldest)}." if waits.total else "",
    )


def standings(snapshot: Snapshot, loaded: Loaded | None) -> list[Standing]:
    """The state of each connection that is set up or has waiting deliveries, by id.

    ``loaded`` is what is set up; None if unknown: then what the worker last knew counts.
    """
    names = {*snapshot.healths, *snapshot.backlog}
    if loaded is not None:
        hidden = {name for name in snapshot.healths if named(snapshot, name, loaded)}
        names = {*snapshot.backlog, *loaded.entries, *hidden}
    return [_completed(standing(snapshot, name, loaded), snapshot, loaded) for name in sorted(names)]


def _completed(one: Standing, snapshot: Snapshot, loaded: Loaded | None) -> Standing:
    """The same with the connection, what is wrong with it, and what the ledger counts of it."""
    name = one.destination
    entry = None if loaded is None else loaded.entries.get(name)
    wrong = () if loaded is None or one.state != "broken" else loaded.problems
    problem = next((problem for problem in wrong if problem.connection == name), None)
    kind, values = (entry.kind, entry.values) if entry else ("", {})
    noted = snapshot.notes.get(name, {})
    remarks = notes.remarks(noted, lambda key: field_label(kind, key, values), versions_advice(kind))
    absent = snapshot.absent.get(name, 0)
    one = replace(one, absent=absent, notes=noted, remarks=tuple(remarks), entry=entry, problem=problem)
    return replace(one, advice=NOTHING_FOUND) if one.nothing_found else one


def standing(snapshot: Snapshot, name: str, loaded: Loaded | None) -> Standing:
    """The state of the connection with this id; ``loaded`` as in ``standings``."""
    health = snapshot.healths.get(name, Health())
    waits = snapshot.backlog.get(name, EMPTY)
    last = health.last_success or None
    entry = None if loaded is None else loaded.entries.get(name)
    shown = entry.name if entry else name
    faults = loaded is not None and (loaded.unusable.get(name) or (entry is None and loaded.to_correct))
    if not named(snapshot, name, loaded):
        return _removed(name, health, waits, snapshot.at)
    if faults:
        return Standing(name, shown, "broken", waits, last, reason=to_correct(faults))
    if entry is not None and (stopped := STOPPED.get(entry.state)) is not None:
        return Standing(name, shown, stopped, waits, last)
    if health.state in {"gone", "ill"}:
        state: State = "gone" if health.state == "gone" else "held"
        next_try = max(health.until, health.retry_at) if state == "held" else None
        why, advice = refusal(health, snapshot.failed.get(name)), _advice(health, snapshot.at)
        held = Standing(name, shown, state, waits, last, health.since or None, why, advice, next_try)
        return replace(held, failure=health.failure)
    if snapshot.at < health.retry_at:
        return Standing(name, shown, "waiting", waits, last, reason=health.reason, next_try=health.retry_at)
    due_later = waits.total > waits.in_flight and waits.next_due > snapshot.at
    next_try = waits.next_due if due_later else None
    failed = snapshot.failed.get(name)
    reason = health.reason or (failed[1].message if failed else "")
    failure = failed[1].failure if failed else ""
    return Standing(name, shown, "well", waits, last, reason=reason, next_try=next_try, failure=failure)


def refusal(health: Health, failed: tuple[int, Attempt] | None) -> str:
    """Why a destination that is ill takes nothing: if it refuses scenes, what it answered to which.

    ``failed`` is a scene that waits for it, and its last attempt.
    """
    if failed is None or failed[0] < 0 or not health.refuses_scenes or failed[1].failure != health.failure:
        return health.reason
    scene_id, attempt = failed
    said = flat(dlq_groups.said(attempt.answer), LONGEST_ANSWER)
    return joined(
        f"Scene {scene_id}: {sentence(attempt.message)}", f"It answered: {sentence(said)}" if said else ""
    )


def _removed(name: str, health: Health, waits: Backlog, now: float) -> Standing:
    at = health.removed_at or None
    left = span(REMOVED_SECONDS - (now - at if at else 0.0))
    advice = (
        f"Enter it again to deliver what waits, or it becomes dead letters in {left}. The mode forget_destination "
        "drops it now; see docs/api.md."
        if waits.total
        else ""
    )
    last = health.last_success or None
    return Standing(name, name, "removed", waits, last, at, "It is not in the connections.", advice)


def _advice(health: Health, now: float) -> str:
    """What to do about a destination that is held or gone."""
    busy = health.failure == Failure.BUSY and " 503 " in health.reason
    return ALWAYS_503 if busy and health.since and now - health.since > DAY else health.advice
