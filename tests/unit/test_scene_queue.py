"""queue/scene_queue.py: what becomes of events and deliveries, by DESIGN's "Semantics where rules meet"."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import persistqueue
import pytest
from persistqueue.serializers import json as json_serializer

from stash_courier.queue import schema
from stash_courier.queue.jobs import Attempt, Broken, Delivery, SceneEvent
from stash_courier.queue.scene_queue import SceneQueue
from tests.durable import DEST, START, Clock, event

OTHER = "plex"
GONE = {"path": "/media/a.mp4", "oshash": "0f1e", "checksum": "d41d"}
FAILED = Attempt(START + 1, "refused", "It answered 500.", 500, "oops")


@pytest.fixture
def clock() -> Clock:
    """Stands where every event of these tests is past."""
    return Clock(START + 1000)


@pytest.fixture
def queue(tmp_path: Path, clock: Clock) -> Iterator[SceneQueue]:
    """An empty queue."""
    opened = SceneQueue(tmp_path, clock=clock)
    yield opened
    opened.close()


class Courier:
    """Puts events through a queue with seqs that count up."""

    def __init__(self, queue: SceneQueue) -> None:
        self.queue = queue
        self.seqs = itertools.count(1000)

    def route(self, *events: SceneEvent, settle: float = 0.0, to: tuple[str, ...] = (DEST,)) -> None:
        """Routes events in this order."""
        self.queue.route([replace(e, seq=next(self.seqs)) for e in events], to, settle)

    def claim(self, now: float = START, limit: int = 10, destination: str = DEST) -> list[Delivery]:
        """Claims deliveries, all of which can be decoded."""
        claimed = self.queue.claim(destination, limit, now)
        assert all(isinstance(delivery, Delivery) for delivery in claimed)
        return [delivery for delivery in claimed if isinstance(delivery, Delivery)]

    def only(self, now: float = START) -> Delivery:
        """Claims the one delivery that is due."""
        (delivery,) = self.claim(now)
        return delivery

    def done(self, delivery: Delivery) -> None:
        """It was delivered."""
        with self.queue.transaction():
            self.queue.done(delivery)

    def back(self, delivery: Delivery, due: float | None = None, attempt: Attempt | None = None) -> None:
        """It was not."""
        with self.queue.transaction():
            self.queue.back(delivery, due, attempt)

    def fail(self, delivery: Delivery, due: float) -> None:
        """It failed, and the attempt counted."""
        counted = replace(delivery, attempts=delivery.attempts + 1, tries=delivery.tries + 1)
        self.back(counted, due, FAILED)


@pytest.fixture
def courier(queue: SceneQueue) -> Courier:
    """Works on the queue."""
    return Courier(queue)


# Coalescing

MERGED = [
    # older, newer, what stands for both
    ("create", "create", "create"),
    ("create", "update", "create"),
    ("create", "destroy", "destroy"),
    ("update", "create", "create"),
    ("update", "update", "update"),
    ("update", "destroy", "destroy"),
    ("destroy", "create", "create"),
    ("destroy", "update", "destroy"),
    ("destroy", "destroy", "destroy"),
]


def facts(kind: str) -> dict[str, str]:
    """What an event of this kind brings along."""
    return GONE if kind == "destroy" else {}


def known(delivery: Delivery) -> dict[str, str]:
    """What a delivery knows of a destroyed scene."""
    return {"path": delivery.path, "oshash": delivery.oshash, "checksum": delivery.checksum}


@pytest.mark.parametrize(("older", "newer", "both"), MERGED)
def test_two_events_become_one_delivery(courier: Courier, older: str, newer: str, both: str) -> None:
    """Created stays created until delivered, and destroy beats all but a later create, with its path."""
    courier.route(event(5, older, **facts(older)), event(5, newer, **facts(newer)))
    delivery = courier.only()
    assert (delivery.event, delivery.seq) == (both, 1001)
    if both == "destroy":
        assert known(delivery) == GONE
    courier.done(delivery)
    assert courier.queue.empty()


@pytest.mark.parametrize(("older", "newer", "both"), MERGED)
def test_an_event_during_a_failing_delivery_joins_it(courier: Courier, older: str, newer: str, both: str) -> None:
    """What comes in during a delivery that fails is one with it, due at once, as if it had come before."""
    courier.route(event(5, older, "title", **facts(older)))
    first = courier.only()
    courier.route(event(5, newer, "date", **facts(newer)))
    courier.fail(first, START + 500)
    second = courier.only()
    assert (second.event, second.changed, second.seq) == (both, ("date", "title"), 1001)
    assert (second.attempts, second.tries, second.absent, second.history) == (0, 0, 0, (FAILED,))
    if both == "destroy":
        assert known(second) == GONE


@pytest.mark.parametrize(("older", "newer"), [pair[:2] for pair in MERGED])
def test_an_event_during_a_delivery_is_delivered_afterwards(courier: Courier, older: str, newer: str) -> None:
    """What comes in during a delivery that succeeds is the next one, with only what is new."""
    courier.route(event(5, older, "title", **facts(older)))
    first = courier.only()
    assert not courier.queue.superseded(first)
    courier.route(event(5, newer, "date", at=START + 1, **facts(newer)))
    assert courier.queue.superseded(first)
    assert courier.claim(START + 99) == []
    courier.done(first)
    second = courier.only(START + 1)
    assert (second.event, second.changed, second.seq, second.at) == (newer, ("date",), 1001, START + 1)
    assert second.path == facts(newer).get("path", "")
    courier.done(second)
    assert courier.queue.empty()


def test_several_events_during_a_delivery_are_one_afterwards(courier: Courier) -> None:
    """However many edits come in during a delivery, one delivery follows, dated from the first of them."""
    courier.route(event(5, "create"))
    first = courier.only()
    for n, name in enumerate(("title", "date", "title"), 1):
        courier.route(event(5, "update", name, at=START + n))
    courier.done(first)
    second = courier.only(START + 9)
    assert (second.event, second.changed, second.at) == ("update", ("date", "title"), START + 1)


def test_an_event_with_a_lower_seq_is_not_lost(courier: Courier) -> None:
    """Even if a clock that was set back made ids run backwards, an edit during a delivery is delivered."""
    courier.route(event(5))
    first = courier.only()
    courier.queue.route([event(5, "update", "date", seq=7)], [DEST], 0.0)
    courier.done(first)
    assert courier.only().changed == ("date",)


def test_changes_are_united(courier: Courier) -> None:
    """The names of changed fields of all coalesced edits arrive, each once, in order."""
    courier.route(event(5, "update", "title", "date"), event(5, "update", "date", "code"), event(5))
    assert courier.only().changed == ("code", "date", "title")


def test_each_destination_has_its_own_delivery(courier: Courier) -> None:
    """What one destination has taken, another still gets; of one scene each has one delivery."""
    courier.route(event(5), event(5), event(6), to=(DEST, OTHER))
    assert [d.scene_id for d in courier.claim()] == [5, 6]
    (first, second) = courier.claim(destination=OTHER)
    courier.done(first)
    courier.back(second)
    assert [d.scene_id for d in courier.claim(destination=OTHER)] == [6]
    assert courier.queue.size == 3


def test_without_destinations_events_end(courier: Courier) -> None:
    """Where nothing is configured, nothing piles up."""
    courier.route(event(5), to=())
    assert courier.queue.empty()


# When it is due


def test_settle_counts_from_the_first_event(courier: Courier) -> None:
    """Edit after edit can't put a delivery off for ever: the first one's time counts."""
    for second in range(0, 10, 3):
        courier.route(event(5, at=START + second), settle=10.0)
    assert courier.queue.next_due(DEST) == START + 10
    assert courier.claim(START + 9.9) == []
    courier.only(START + 10)


def test_settle_during_a_delivery_counts_from_the_first_event_then(courier: Courier) -> None:
    """What comes in during a delivery settles by itself, from its own first event."""
    courier.route(event(5))
    first = courier.only()
    courier.route(event(5, at=START + 2), event(5, at=START + 8), settle=10.0)
    courier.done(first)
    assert courier.queue.next_due(DEST) == START + 12


@pytest.mark.parametrize("events", [["destroy"], ["update", "destroy"], ["destroy", "update"]])
def test_a_destroy_waits_for_nothing(courier: Courier, events: list[str]) -> None:
    """A destroyed scene disappears at once, whatever was waiting to settle."""
    for kind in events:
        courier.route(event(5, kind, **facts(kind)), settle=3600.0)
    assert courier.only().event == "destroy"


def test_a_destroy_waits_for_no_retry(courier: Courier) -> None:
    """An update that comes in late on a destroy that backs off doesn't make it settle."""
    courier.route(event(5, "destroy", **GONE))
    courier.fail(courier.only(), START + 500)
    courier.route(event(5, "update"), settle=3600.0)
    assert known(courier.only()) == GONE


def test_a_newer_event_ends_the_back_off(courier: Courier) -> None:
    """After an edit a delivery that was backing off starts afresh, and what it tried is remembered."""
    courier.route(event(5, "create", "title"))
    courier.fail(courier.only(), START + 500)
    assert courier.claim(START + 499) == []
    courier.route(event(5, "update", "date", at=START + 100))
    again = courier.only(START + 100)
    assert (again.event, again.changed, again.attempts, again.tries) == ("create", ("date", "title"), 0, 0)
    assert again.history == (FAILED,)


def test_a_retry_waits_and_blocks_nothing(courier: Courier) -> None:
    """A delivery that backs off keeps nothing behind it waiting, and comes back with its counts."""
    courier.route(event(5), event(6), event(7))
    first, *rest = courier.claim(limit=3)
    courier.fail(first, START + 60)
    for delivery in rest:
        courier.done(delivery)
    courier.route(event(8, at=START + 5))
    assert [d.scene_id for d in courier.claim(START + 59)] == [8]
    again = courier.only(START + 60)
    assert (again.scene_id, again.attempts, again.tries, again.history) == (5, 1, 1, (FAILED,))


def test_put_back_is_due_as_it_was(courier: Courier) -> None:
    """A delivery that was claimed and not tried waits in its old place."""
    courier.route(event(5, at=START - 2), event(6, at=START - 1))
    first, second = courier.claim()
    courier.back(second)
    courier.back(first)
    assert [d.scene_id for d in courier.claim()] == [5, 6]


def test_an_event_of_the_future_is_due_now(courier: Courier, clock: Clock) -> None:
    """Events from before the clock was set back are not stranded until it gets there again."""
    courier.route(event(5, at=clock.now + 7200))
    assert courier.only(clock.now).scene_id == 5


def test_a_jump_of_the_clock_moves_what_waits(courier: Courier) -> None:
    """When the wall clock is set, a back-off stays as long as it was, of what came in meanwhile too."""
    courier.route(event(5), event(6))
    first, second = courier.claim()
    courier.fail(first, START + 60)
    courier.route(event(6, at=START - 1), settle=10.0)
    with courier.queue.transaction():
        courier.queue.shift(-3600.0)
    assert courier.queue.next_due(DEST) == START + 60 - 3600
    courier.done(second)
    assert courier.queue.next_due(DEST) == START - 1 + 10 - 3600


def test_made_due_by_a_person(courier: Courier) -> None:
    """ "Deliver now" makes what backs off due, of one destination or of all, and nothing else later."""
    courier.route(event(5), to=(DEST, OTHER))
    courier.fail(courier.only(), START + 500)
    courier.fail(courier.claim(destination=OTHER)[0], START + 500)
    assert courier.queue.make_due(START + 1, OTHER) == 1
    assert courier.claim(START + 1) == []
    assert len(courier.claim(START + 1, destination=OTHER)) == 1
    assert courier.queue.make_due(START + 1) == 1
    courier.route(event(9, at=START - 50))
    assert courier.queue.make_due(START + 1) == 0
    assert [d.scene_id for d in courier.claim(START + 1)] == [9, 5]


def test_given_back_attempts(courier: Courier) -> None:
    """When it was the destination's fault after all, an attempt is taken back, and never below none."""
    courier.route(event(5), event(6), event(7))
    first, second, third = courier.claim()
    courier.fail(replace(first, attempts=4), START)
    courier.back(second)
    with courier.queue.transaction():
        courier.queue.give_back(DEST, {5, 6, 7})
    assert [(d.scene_id, d.attempts) for d in courier.claim()] == [(5, 4), (6, 0)]
    assert third.attempts == 0


# Claiming


def test_claimed_in_order_of_their_time(courier: Courier) -> None:
    """What is due first goes first, and only what is due."""
    courier.route(*(event(scene, at=START + scene) for scene in (4, 1, 3, 2)))
    assert [d.scene_id for d in courier.claim(START + 3, limit=2)] == [1, 2]
    assert [d.scene_id for d in courier.claim(START + 3)] == [3]
    assert courier.queue.next_due(DEST) == START + 4
    assert courier.queue.next_due(OTHER) is None


def test_at_most_one_in_flight(courier: Courier, tmp_path: Path, clock: Clock) -> None:
    """A scene that is being delivered is claimed by nobody else, from whatever process; the schema says so."""
    courier.route(event(5))
    courier.only()
    other = SceneQueue(tmp_path, clock=clock)
    assert other.claim(DEST, 10, START + 9) == []
    other.close()
    courier.route(event(5))
    assert courier.claim(START + 9) == []
    with pytest.raises(sqlite3.IntegrityError, match="UNIQUE"):
        courier.queue.connection.execute(
            f"INSERT INTO {schema.DELIVERIES} (destination, scene_id, event, seq, due) "
            "VALUES (?, 5, 'update', 1, 0)",
            (DEST,),
        )


def test_edits_go_before_a_hundred_thousand_others(courier: Courier) -> None:
    """An edit doesn't wait behind «Send all scenes», and an edit of a scene in there goes to the front."""
    courier.queue.route(
        [event(scene, seq=scene, bulk=True, at=START - 9) for scene in range(1, 100_001)], [DEST], 0.0
    )
    courier.route(event(200_000), event(70_000, "update", "title"))
    claimed = courier.claim(limit=3)
    assert {d.scene_id for d in claimed[:2]} == {200_000, 70_000}
    assert claimed[2].scene_id < 70_000
    courier.route(event(claimed[0].scene_id, bulk=True))
    courier.done(claimed[0])
    assert courier.queue.next_due(DEST) == START - 9


def test_a_bulk_event_does_not_push_an_edit_back(courier: Courier) -> None:
    """«Send all scenes» doesn't make an edit that waits unimportant."""
    courier.route(event(5), event(6, bulk=True, at=START - 50), event(5, bulk=True))
    assert [d.scene_id for d in courier.claim(limit=1)] == [5]


# After an unclean end


def recovered(courier: Courier, tmp_path: Path, clock: Clock) -> Courier:
    """Opens the queue anew after its worker died."""
    courier.queue.close()
    opened = SceneQueue(tmp_path, clock=clock)
    opened.recover()
    after = Courier(opened)
    after.seqs = courier.seqs
    return after


def test_opening_takes_nothing_back(courier: Courier, tmp_path: Path, clock: Clock) -> None:
    """Whoever opens the queue, such as a button, leaves alone what the worker has in flight."""
    courier.route(event(5))
    first = courier.only()
    other = SceneQueue(tmp_path, clock=clock)
    assert other.in_flight() == [first]
    other.close()


def test_what_was_in_flight_alone_is_counted(courier: Courier, tmp_path: Path, clock: Clock) -> None:
    """A delivery that alone was in flight when the worker died is what it may have died of."""
    courier.route(event(5))
    for deaths in range(1, 4):
        courier.only()
        courier = recovered(courier, tmp_path, clock)
        assert courier.queue.suspect_due(DEST) == START
        (suspect,) = courier.queue.claim(DEST, 9, START, suspects=True)
        assert isinstance(suspect, Delivery)
        assert suspect.deaths == deaths
        courier.back(suspect)
    courier.queue.close()


def test_of_several_in_flight_none_is_counted(courier: Courier, tmp_path: Path, clock: Clock) -> None:
    """Neighbours of a deadly delivery are not counted: each is tried alone first."""
    courier.route(event(5), event(6), event(7, at=START + 50))
    courier.claim()
    courier = recovered(courier, tmp_path, clock)
    suspects = []
    while courier.queue.suspect_due(DEST) is not None:
        suspects += courier.queue.claim(DEST, 9, START, suspects=True)
    assert [(d.scene_id, d.deaths) for d in suspects if isinstance(d, Delivery)] == [(5, 0), (6, 0)]
    assert courier.queue.suspect_due(OTHER) is None
    courier.queue.close()


def test_a_suspicion_stays_until_a_try_ends(courier: Courier, tmp_path: Path, clock: Clock) -> None:
    """A suspect that was put back untried is still one; a try that ended, well or badly, clears it."""
    courier.route(event(5))
    courier.only()
    courier = recovered(courier, tmp_path, clock)
    for _ in range(2):
        (suspect,) = courier.queue.claim(DEST, 1, START, suspects=True)
        assert isinstance(suspect, Delivery)
        assert suspect.deaths == 1
        courier.back(suspect)
    (suspect,) = courier.queue.claim(DEST, 1, START, suspects=True)
    assert isinstance(suspect, Delivery)
    courier.fail(suspect, START)
    assert courier.queue.suspect_due(DEST) is None
    assert courier.only().deaths == 0
    courier.queue.close()


def test_recovery_keeps_counts_and_what_came_in(courier: Courier, tmp_path: Path, clock: Clock) -> None:
    """A death of the worker burns no attempt and loses nothing that came in during the delivery."""
    courier.route(event(5, "create", "title"), event(6))
    first = next(d for d in courier.claim() if d.scene_id == 6)
    courier.fail(first, START)
    courier.only()
    courier.route(event(5, "destroy", "date", **GONE))
    courier = recovered(courier, tmp_path, clock)
    both = {d.scene_id: d for d in courier.claim()}
    assert (both[5].event, both[5].changed, known(both[5])) == ("destroy", ("date", "title"), GONE)
    assert (both[6].attempts, both[6].tries, both[6].history) == (1, 1, (FAILED,))
    courier.queue.close()


def test_late_ends_change_nothing(courier: Courier) -> None:
    """An end that is reported twice, or after the delivery was put back, moves nothing."""
    courier.route(event(5), event(6))
    first, second = courier.claim()
    courier.done(first)
    courier.done(first)
    courier.back(first, START + 5)
    courier.back(second, START + 5)
    courier.done(second)
    courier.back(second, START + 500)
    assert courier.only(START + 5).scene_id == 6


# persist-queue


def test_a_hooks_row_is_one_of_persist_queues(tmp_path: Path, queue: SceneQueue) -> None:
    """What the hook wrote, persist-queue's own class reads; what that one puts, the worker routes."""
    written: dict[str, Any] = {"scene": 5, "event": "update", "changed": ["title"], "at": START}
    seq = schema.put(str(tmp_path), schema.encode(written), START)
    plain = persistqueue.SQLiteAckQueue(
        str(tmp_path),
        name="inbox",
        serializer=json_serializer,
        db_file_name=schema.QUEUE_DB,
        auto_resume=False,
    )
    assert plain.get(block=False, raw=True) == {"pqid": seq, "data": written, "timestamp": START}
    plain.nack(id=seq)
    later = plain.put({**written, "scene": 6})
    own = queue.put({**written, "scene": 7})
    plain.close()
    rows = queue.inbox_rows()
    assert [(row.seq, row.scene_id, row.changed) for row in rows if isinstance(row, SceneEvent)] == [
        (seq, 5, ("title",)),
        (later, 6, ("title",)),
        (own, 7, ("title",)),
    ]
    assert (queue.qsize(), len(queue), queue.inbox_empty()) == (3, 3, False)


@pytest.mark.parametrize(
    "verb",
    [
        "get",
        "get_nowait",
        "ack",
        "ack_failed",
        "nack",
        "update",
        "queue",
        "task_done",
        "resume_unack_tasks",
        "clear_acked_data",
        "shrink_disk_usage",
        "unack_count",
        "acked_count",
        "ready_count",
        "ack_failed_count",
        "active_size",
    ],
)
def test_what_it_cannot_honour_is_refused(queue: SceneQueue, verb: str) -> None:
    """Verbs of persist-queue that would lose or lie about deliveries are refused, by name."""
    with pytest.raises(NotImplementedError, match="route"):
        getattr(queue, verb)()


def test_every_public_verb_of_persist_queue_was_thought_about() -> None:
    """A new release of persist-queue can't bring in a verb that nobody looked at."""
    honoured = {"close", "put", "size", "qsize", "empty", "full"}
    public = {name for name in dir(persistqueue.SQLiteAckQueue) if not name.startswith("_")}
    ours = {name for name, member in vars(SceneQueue).items() if member is SceneQueue.__dict__["_refused"]}
    assert public - ours == honoured


def test_seq_never_runs_backwards(tmp_path: Path, queue: SceneQueue) -> None:
    """Ids of events count on from the time of day, so that a replaced file can't repeat them."""
    first = schema.put(str(tmp_path), b"{}", 0.0)
    assert first > 1_700_000_000_000
    queue.route(queue.inbox_rows(), [], 0.0)
    assert queue.next_seq() == first + 1
    assert schema.put(str(tmp_path), b"{}", 0.0) == first + 2
    queue.put_many([b"{}", b"[]"])
    assert [row.seq for row in queue.inbox_rows()] == [first + 2, first + 3, first + 4]
    assert all(isinstance(row, Broken) for row in queue.inbox_rows())
