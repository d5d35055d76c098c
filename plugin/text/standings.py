"""What a person reads about a connection: its state, a sentence about it, and what to do. For card and status."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Literal

from stash_courier.plugin.snapshot import Snapshot
from stash_courier.plugin.text import actions
from stash_courier.plugin.text.actions import Action
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
from stash_courier.worker import destinations
from stash_courier.worker.connections import drafts
from stash_courier.worker.connections.model import Connection, Entry
from stash_courier.worker.delivery.breaker import REMOVED_SECONDS, Health
from stash_courier.worker.destinations import field_label, versions_advice
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

LEAVING = "What waits is sent first, then the connection is deleted."
ALL_PAUSED = "All deliveries are paused."
OWN_PAGES = "/web/index.html"  # of all media servers
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

# The state → the page's word for it.
HEALTHS: Mapping[State, str] = {
    "well": "delivering",
    "waiting": "waiting",
    "held": "waiting",
    "gone": "gone",
    "paused": "paused",
    "off": "off",
    "deleting": "deleting",
    "broken": "unusable",
    "removed": "removed",
}

# The connection's state → what is shown, whatever its destination answers.
STOPPED: Mapping[str, State] = {"paused": "paused", "off": "off", "burying": "deleting"}


@dataclass(frozen=True, slots=True)
class Standing:
    """The state of one connection."""

    destination: str  # its id
    name: str
    state: State
    backlog: Backlog
    last_success: float | None  # wall time
    since: float | None = None  # wall time at which it stopped taking deliveries
    reason: str = ""  # its last complaint, or what is wrong with it
    advice: str = ""  # what to do
    next_try: float | None = None  # wall time
    found: bool = False  # a scene was found since the path map was last changed
    absent: int = 0  # skipped scenes, which the server doesn't have
    notes: Mapping[str, Noted] = field(default_factory=dict)  # the scenes with each note; see media/notes.py
    remarks: tuple[Remark, ...] = ()  # the notes in words
    entry: Entry | None = None  # None if it isn't known
    connection: Connection | None = None  # None if it can't be used
    problem: Problem | None = None  # the first one that makes it unusable
    failure: str = ""  # the Failure that holds it, or that something which waits had at last
    single: str = ""  # what is wrong with single scenes, while others are delivered; a sentence
    dead_letters: int = 0
    delivered: tuple[int, int] = (0, 0)  # scenes in the last hour and day
    action: Action | None = None  # the click that its state calls for

    @property
    def troubled(self) -> bool:
        """Whether the owner should act on it. A connection that the owner paused or removed is no trouble."""
        return self.state not in {"well", "paused", "off", "deleting", "removed"}

    @property
    def is_down(self) -> bool:
        """Whether the badge shows it. One that asked for a wait, or is often off, isn't down."""
        if self.state == "held":
            return self.connection is None or not self.connection.shared.often_off
        return self.state in {"gone", "broken"}

    @property
    def nothing_found(self) -> bool:
        """Whether a media server found none of the scenes under the present path map, which may be wrong."""
        missing = self.absent > 0 or self.failure == Failure.NOT_THERE_YET
        return missing and not self.found and self.state in {"well", "waiting"}

    def facts(self) -> dict[str, object]:
        """This connection in the answer of ``status``."""
        return {
            **self._counts(),
            "state": self.state,
            "since": self.since,
            "reason": self.reason,
            "next_try": self.next_try,
            "notes": {note: {"count": of.count, "scenes": list(of.scenes)} for note, of in self.notes.items()},
        }

    def _counts(self) -> dict[str, object]:
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

    def line(self, now: float) -> str:
        """This connection in a task's report, at a wall time."""
        well = self.state == "well"
        began = "" if self.since is None else f" {since(self.since, now)}"
        return joined(
            f"{self.name}: {HEADLINES[self.state]}{began}.",
            "" if well else sentence(self.reason),
            self.advice,
            counts(self.backlog, now),
            f"Not on the server: {self.absent:,}." if self.absent else "",
            "" if self.next_try is None else f"Next try: {ahead(self.next_try - now)}.",
            f"Last error: {sentence(self.reason)}" if well and self.backlog.retrying and self.reason else "",
            f"Last delivery: {ago(now - self.last_success)}." if well and self.last_success is not None else "",
        )

    def card(self, stopped: str) -> dict[str, object]:
        """This connection's card. ``stopped``: why nothing at all is delivered, a sentence; "" if it is."""
        entry, connection = self.entry, self.connection
        # While Stash can't be asked, only the id is known of a connection on its page. It begins with the kind.
        kind = entry.kind if entry else self.destination.partition(":")[0]
        module = destinations.find_kind(kind)
        health, reason = HEALTHS[self.state], self.reason
        if self.state == "well":
            health, reason = "delivering" if self.last_success is not None else "nothing_sent", self.single
        elif self.problem is not None:
            reason = self.problem.message
        if stopped and self.backlog.total and health in {"delivering", "nothing_sent"}:
            health, reason = "waiting", stopped
        if entry is not None and entry.state == "leaving":
            health, reason = "deleting", f"{LEAVING} {sentence(reason)}"
        return {
            **self._counts(),
            "kind": kind,
            "kind_name": kind if module is None else module.NAME,
            "from_settings": entry is None or entry.from_settings,
            "host": drafts.host(entry) if entry else "",
            "often_off": connection is not None and connection.shared.often_off,
            "is_message": entry is not None and destinations.is_message(entry),
            "link": link(connection) if connection else "",
            "state": entry.state if entry else "on",
            "health": health,
            "since": self.since,
            "reason": sentence(reason),
            "next_try": self.next_try,
            "delivered_hour": self.delivered[0],
            "delivered_day": self.delivered[1],
            "dead_letters": self.dead_letters,
            "remarks": [asdict(remark) for remark in self.remarks],
            "action": None if self.action is None else self.action.facts(),
        }


def link(connection: Connection) -> str:
    """The address of a media server's own pages, without its login; "" for a webhook."""
    options = connection.options
    return f"{options.url.url}{OWN_PAGES}" if hasattr(options, "absent") else ""


def counts(waits: Backlog, now: float) -> str:
    """``Waiting: 10. Retrying: 3. In flight: 2. Oldest: 5 min.``"""
    return joined(
        f"Waiting: {waits.total - waits.in_flight:,}.",
        f"Retrying: {waits.retrying:,}." if waits.retrying else "",
        f"In flight: {waits.in_flight:,}." if waits.in_flight else "",
        f"Oldest: {span(now - waits.oldest)}." if waits.total else "",
    )


def standings(snapshot: Snapshot) -> list[Standing]:
    """The state of each connection that is set up or has waiting deliveries, by id.

    While Stash can't be asked, what the worker last knew counts.
    """
    known = {name for name in snapshot.healths if snapshot.names(name)}
    return [
        _completed(_state(snapshot, name), snapshot)
        for name in sorted({*snapshot.backlog, *snapshot.loaded.entries, *known})
    ]


def _completed(one: Standing, snapshot: Snapshot) -> Standing:
    """The same with the connection, what is wrong with it, what is counted of it, and what to do."""
    name, loaded = one.destination, snapshot.loaded
    entry = loaded.entries.get(name)
    wrong = loaded.problems if one.state == "broken" else ()
    kind, values = (entry.kind, entry.values) if entry else ("", {})
    noted = snapshot.notes.get(name, {})
    one = replace(
        one,
        absent=snapshot.absent.get(name, 0),
        found=snapshot.healths.get(name, Health()).last_found > 0.0,
        notes=noted,
        remarks=tuple(notes.remarks(noted, lambda key: field_label(kind, key, values), versions_advice(kind))),
        entry=entry,
        connection=loaded.connections.get(name),
        problem=next((problem for problem in wrong if problem.connection == name), None),
        single=_of_scenes(one, snapshot),
        dead_letters=snapshot.dead_letters.get(name, 0),
        delivered=snapshot.delivered.get(name, (0, 0)),
    )
    if one.nothing_found:
        one = replace(one, advice=NOTHING_FOUND)
    one = replace(one, action=_action(one))
    if snapshot.paused_since is not None and one.state in {"well", "waiting", "held"}:
        return replace(one, state="paused", since=snapshot.paused_since, reason=ALL_PAUSED, next_try=None)
    return one


def _state(snapshot: Snapshot, name: str) -> Standing:
    """The state of the connection with this id."""
    loaded, health = snapshot.loaded, snapshot.healths.get(name, Health())
    waits = snapshot.backlog.get(name, EMPTY)
    last = health.last_success or None
    entry = loaded.entries.get(name)
    shown = entry.name if entry else name
    if not snapshot.names(name):
        return _removed(name, health, waits, snapshot.at)
    if faults := loaded.unusable.get(name) or (entry is None and loaded.to_correct):
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


def _of_scenes(one: Standing, snapshot: Snapshot) -> str:
    """What is wrong with single scenes, while others are delivered; "" if nothing is."""
    retrying, failed = one.backlog.retrying, snapshot.failed.get(one.destination)
    if retrying and failed is not None:
        return f"{_scenes(retrying)} tried again: {failed[1].message}"
    refused = {scene for _, scene in snapshot.healths.get(one.destination, Health()).streak if scene >= 0}
    return f"{_scenes(len(refused))} not accepted: {one.reason}" if refused and one.reason else ""


def _scenes(count: int) -> str:
    return "1 scene is" if count == 1 else f"{count:,} scenes are"


def _action(one: Standing) -> Action | None:
    """The click that a connection's state calls for; None if there is nothing to do."""
    entry = one.entry
    if entry is not None and one.state == "broken" and one.problem is not None:
        return actions.edit(entry, one.problem.field)
    if entry is not None and one.state == "gone":
        return actions.DELIVER_NOW
    if entry is not None and one.state == "held" and one.failure in {Failure.DESTINATION, Failure.FORBIDDEN}:
        return actions.edit_refused(entry, one.reason)
    if one.nothing_found:  # before dead letters, which may have come of it
        return actions.TEST
    if one.dead_letters:
        return actions.OPEN_DEAD_LETTERS
    if one.state in {"paused", "off"}:
        return Action("resume", "Resume" if one.state == "paused" else "Switch on")
    if one.state == "held" and one.failure in {Failure.REFUSED, Failure.REJECTED}:  # a test shows nothing
        return actions.DELIVER_NOW
    if one.state == "held" or (one.state == "well" and one.failure == Failure.NOT_THERE_YET):
        return actions.TEST
    return None


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
