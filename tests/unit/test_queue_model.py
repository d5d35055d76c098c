"""The queue against a model in plain Python, in random sequences with crashes and jumps of the clock.

COURIER_FULL=1 runs many more.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from stash_courier.queue.deliveries.scene_queue import SceneQueue
from stash_courier.queue.inbox import store
from stash_courier.queue.jobs import EDIT, PRIORITIES, Attempt, CorruptRow, Delivery, SceneEvent
from tests.support.durable import DEST, Clock
from tests.support.queue_driver import claim

FULL = bool(os.environ.get("COURIER_FULL"))
DESTINATIONS = (DEST, "plex")
FOREVER = 1e12
FACTS = ("path", "oshash", "checksum")
Key = tuple[str, int]


@dataclass
class Covered:
    """The events that one delivery covers."""

    events: list[SceneEvent]
    due: float

    def content(self) -> tuple[str, tuple[str, ...], str]:
        """Event, changed fields and path. The last create or destroy counts; without one it is an update."""
        decisive = [event for event in self.events if event.event != "update"]
        last = decisive[-1] if decisive else self.events[-1]
        changed = tuple(sorted({name for event in self.events for name in event.changed}))
        return last.event, changed, last.path if last.event == "destroy" else ""

    def add(self, event: SceneEvent, now: float, settle: float, recomputed: bool) -> None:
        """Adds an event. After a failed attempt the due time is computed again."""
        self.events.append(event)
        due = due_of(event, now, settle, self.content()[0])
        self.due = due if recomputed else min(self.due, due)


@dataclass
class Row:
    """The expected state of one scene at one destination."""

    now: Covered
    priority: int  # the lowest of its events
    later: Covered | None = None  # events that arrived during the delivery
    in_flight: Delivery | None = None
    counted_attempts: int = 0
    attempts: int = 0
    history: list[Attempt] = field(default_factory=list)
    deaths: int = 0  # of workers while it was in flight, since an attempt last ended

    @property
    def order(self) -> tuple[int, float]:
        """Edits before the rest, oldest due time first."""
        return self.priority, self.now.due


def due_of(event: SceneEvent, now: float, settle: float, kind: str) -> float:
    """The due time of a first event."""
    return min(event.at, now) + (0.0 if kind == "destroy" else settle)


class Queue(RuleBasedStateMachine):
    """Each rule does the same to the queue and to the model; claims and the end compare them."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.clock = Clock()
        self.queue = SceneQueue(self.folder, clock=self.clock)
        self.unrouted: list[SceneEvent] = []
        self.rows: dict[Key, Row] = {}
        self.newest: dict[int, int] = {}  # seq of the newest event of each scene
        self.delivered: dict[Key, int] = {}  # seq that was delivered last

    def teardown(self) -> None:
        try:
            self.end()
        finally:
            self.queue.close()
            shutil.rmtree(self.folder)

    def end(self) -> None:
        """Delivers what is left. Then each scene's newest event was delivered everywhere: nothing was lost."""
        self.die()
        self.route(0.0)
        for destination in DESTINATIONS:
            self.claim(destination, 100, FOREVER)
            self.claim_counted(destination, 100)
        for key in list(self.rows):
            self.done(key)
        assert self.queue.empty()
        wanted = {(name, scene): seq for scene, seq in self.newest.items() for name in DESTINATIONS}
        assert self.delivered == wanted

    # Hooks and the clock

    @rule(
        scene=st.integers(1, 3),
        kind=st.sampled_from(["create", "update", "update", "destroy"]),
        changed=st.sets(st.sampled_from(["title", "date", "code"])),
        priority=st.sampled_from(PRIORITIES),
    )
    def put(self, scene: int, kind: str, changed: set[str], priority: int) -> None:
        facts = {"path": f"/{len(self.newest)}-{self.clock.now}"} if kind == "destroy" else {}
        written: dict[str, object] = {
            "scene": scene,
            "event": kind,
            "changed": sorted(changed),
            "at": self.clock.now,
            "priority": priority,
            **facts,
        }
        self.queue.put_many([store.encode(written)])
        put = self.queue.inbox_rows()[-1]
        assert isinstance(put, SceneEvent)
        assert put.seq > max(self.newest.values(), default=0)
        self.newest[scene] = put.seq
        self.unrouted.append(put)

    @rule(seconds=st.sampled_from([1.0, 7.0, 60.0]))
    def advance(self, seconds: float) -> None:
        self.clock.now += seconds

    @rule(seconds=st.sampled_from([-3600.0, 3600.0]))
    def step_clock(self, seconds: float) -> None:
        self.clock.now += seconds
        with self.queue.transaction():
            self.queue.shift(seconds)
        for row in self.rows.values():
            row.now.due += seconds
            if row.later:
                row.later.due += seconds

    # The worker

    @rule(settle=st.sampled_from([0.0, 10.0]))
    def route(self, settle: float) -> None:
        rows = self.queue.inbox_rows()
        assert rows == self.unrouted
        self.queue.route(rows, dict.fromkeys(DESTINATIONS, settle))
        for event in self.unrouted:
            for name in DESTINATIONS:
                self.arrive((name, event.scene_id), event, settle)
        self.unrouted = []

    def arrive(self, key: Key, event: SceneEvent, settle: float) -> None:
        row = self.rows.get(key)
        fresh = Covered([event], due_of(event, self.clock.now, settle, event.event))
        if row is None:
            self.rows[key] = Row(fresh, event.priority)
            return
        row.priority = min(row.priority, event.priority)
        if row.in_flight is None:
            row.deaths *= event.priority != EDIT
            row.now.add(event, self.clock.now, settle, row.attempts > 0)
            row.counted_attempts = row.attempts = 0
        elif row.later is None:
            row.later = fresh
        else:
            row.later.add(event, self.clock.now, settle, recomputed=False)

    @rule(name=st.sampled_from(DESTINATIONS), limit=st.integers(1, 3))
    def claim_due(self, name: str, limit: int) -> None:
        self.claim(name, limit, self.clock.now)

    def claim(self, name: str, limit: int, now: float) -> None:
        waiting = self.waiting(name, counted=False)
        due = sorted(row.order for row in waiting.values() if row.now.due <= now)
        claimed = claim(self.queue, limit, now, name)
        assert [waiting[name, delivery.scene_id].order for delivery in claimed] == due[:limit]
        self.take(claimed)

    def waiting(self, name: str, *, counted: bool) -> dict[Key, Row]:
        """Rows of a destination that can be claimed, either those with a count of deaths or the others."""
        rows = self.rows.items()
        return {
            k: row for k, row in rows if k[0] == name and row.in_flight is None and (row.deaths > 0) is counted
        }

    @rule(name=st.sampled_from(DESTINATIONS), limit=st.integers(1, 3))
    def claim_counted(self, name: str, limit: int) -> None:
        waiting = self.waiting(name, counted=True)
        claimed = self.queue.claim_counted(name, limit)
        orders = [(waiting[name, job.scene_id].deaths, *waiting[name, job.scene_id].order) for job in claimed]
        assert sorted(orders) == sorted((row.deaths, *row.order) for row in waiting.values())[:limit]
        self.take(claimed)

    @rule(name=st.sampled_from(DESTINATIONS))
    def claim_probe(self, name: str) -> None:
        waiting = self.waiting(name, counted=False)
        claimed = self.queue.claim_probe(name, self.clock.now)
        assert len(claimed) == min(1, len(waiting))
        untried = [row for row in waiting.values() if row.attempts == 0 and row.now.due <= self.clock.now]
        for probe in (waiting[name, delivery.scene_id] for delivery in claimed):
            if edits := [row for row in untried if row.priority == EDIT]:
                assert probe.order == max(row.order for row in edits)
            elif untried:
                assert probe.order == min(row.order for row in untried)
            else:
                assert probe.now.due == min(row.now.due for row in waiting.values())
        self.take(claimed)

    def take(self, claimed: Sequence[Delivery | CorruptRow]) -> None:
        for delivery in claimed:
            assert isinstance(delivery, Delivery)
            row = self.rows[delivery.destination, delivery.scene_id]
            assert (delivery.event, delivery.changed, delivery.path) == row.now.content()
            assert delivery.seq == row.now.events[-1].seq
            assert (delivery.counted_attempts, delivery.attempts) == (row.counted_attempts, row.attempts)
            assert delivery.deaths == row.deaths
            assert list(delivery.history) == row.history[-50:]
            row.in_flight = delivery

    @rule(scene=st.integers(1, 3), name=st.sampled_from(DESTINATIONS), priority=st.sampled_from(PRIORITIES))
    def change_and_claim(self, scene: int, name: str, priority: int) -> None:
        self.put(scene, "update", {"title"}, priority)
        self.route(0.0)
        self.claim(name, 3, self.clock.now)

    def flying(self) -> list[Key]:
        return [key for key, row in self.rows.items() if row.in_flight is not None]

    @precondition(lambda self: self.flying())
    @rule(
        data=st.data(), kind=st.sampled_from(["create", "update", "destroy"]), priority=st.sampled_from(PRIORITIES)
    )
    def change_during_delivery(self, data: st.DataObject, kind: str, priority: int) -> None:
        self.put(data.draw(st.sampled_from(self.flying()))[1], kind, set(), priority)
        self.route(0.0)

    @precondition(lambda self: self.flying())
    @rule(data=st.data())
    def succeed(self, data: st.DataObject) -> None:
        self.done(data.draw(st.sampled_from(self.flying())))

    def done(self, key: Key) -> None:
        row = self.rows[key]
        assert row.in_flight is not None
        assert self.queue.superseded(row.in_flight) is (row.later is not None)
        with self.queue.transaction():
            self.queue.done(row.in_flight)
        assert row.in_flight.seq > self.delivered.get(key, 0)
        self.delivered[key] = row.in_flight.seq
        if row.later is None:
            del self.rows[key]
        else:
            self.rows[key] = Row(row.later, row.priority)

    @precondition(lambda self: self.flying())
    @rule(data=st.data(), seconds=st.sampled_from([0.0, 5.0, 300.0]))
    def fail(self, data: st.DataObject, seconds: float) -> None:
        row = self.rows[data.draw(st.sampled_from(self.flying()))]
        assert row.in_flight is not None
        attempt = Attempt(self.clock.now, "refused", "It answered 500.", 500)
        counted = replace(row.in_flight, counted_attempts=row.counted_attempts + 1, attempts=row.attempts + 1)
        with self.queue.transaction():
            self.queue.back(counted, self.clock.now + seconds, attempt)
        row.counted_attempts, row.attempts, row.now.due = (
            counted.counted_attempts,
            counted.attempts,
            self.clock.now + seconds,
        )
        row.history.append(attempt)
        row.deaths = 0
        self.back(row)

    @precondition(lambda self: self.flying())
    @rule(data=st.data())
    def put_back(self, data: st.DataObject) -> None:
        row = self.rows[data.draw(st.sampled_from(self.flying()))]
        assert row.in_flight is not None
        with self.queue.transaction():
            self.queue.back(row.in_flight, None)
        self.back(row)

    def back(self, row: Row) -> None:
        row.in_flight = None
        if row.later is not None:
            row.now = Covered(row.now.events + row.later.events, row.later.due)
            row.later, row.counted_attempts, row.attempts = None, 0, 0

    @rule(died=st.booleans())
    def crash(self, died: bool) -> None:
        self.die(died=died)

    def die(self, *, died: bool = True) -> None:
        """Opens the queue again; what was in flight waits again, and a death counts for all of it."""
        self.queue.close()
        self.queue = SceneQueue(self.folder, clock=self.clock)
        assert {(d.destination, d.scene_id) for d in self.queue.in_flight()} == set(self.flying())
        self.queue.recover(died=died)
        for key in self.flying():
            self.rows[key].deaths += died
            self.back(self.rows[key])

    @invariant()
    def same_size(self) -> None:
        assert self.queue.size == len(self.unrouted) + len(self.rows)

    @invariant()
    def same_next_due(self) -> None:
        for name in DESTINATIONS:
            first = min((due for due in self.queue.next_due(name) if due is not None), default=None)
            others = self.waiting(name, counted=False).values()
            assert first == min((row.now.due for row in others), default=None)
            counted = self.waiting(name, counted=True).values()
            assert self.queue.fewest_deaths(name) == min((row.deaths for row in counted), default=0)


TestQueue = Queue.TestCase
TestQueue.settings = settings(max_examples=1000 if FULL else 12, stateful_step_count=50 if FULL else 30)
