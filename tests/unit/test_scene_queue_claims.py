"""queue/scene_queue.py: who gets which delivery, what a dead worker leaves, and what persist-queue sees."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import persistqueue
import pytest
from persistqueue.serializers import json as json_serializer

from stash_courier.queue import files, schema, store
from stash_courier.queue.jobs import CorruptRow, Delivery, SceneEvent
from stash_courier.queue.scene_queue import SceneQueue
from tests.support.durable import DEST, START, Clock, event
from tests.support.queue_driver import FAILED, GONE, OTHER, Courier, known


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


@pytest.fixture
def courier(queue: SceneQueue) -> Courier:
    """Works on the queue."""
    return Courier(queue)


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
    courier.only()
    for deaths in range(1, 4):
        courier = recovered(courier, tmp_path, clock)
        assert courier.queue.suspect_due(DEST) == START
        (suspect,) = courier.queue.claim(DEST, 9, START, suspects=True)
        assert isinstance(suspect, Delivery)
        assert suspect.deaths == deaths
    courier.queue.close()


def test_of_several_in_flight_the_watched_suspect_is_counted(
    courier: Courier, tmp_path: Path, clock: Clock
) -> None:
    """A suspect goes beside others that are none; when the worker dies again, it was that one."""
    courier.route(event(5), event(6))
    courier.claim()
    courier = recovered(courier, tmp_path, clock)
    courier.route(event(7))
    (suspect,) = courier.queue.claim(DEST, 1, START, suspects=True)
    assert [d.scene_id for d in courier.claim()] == [7]
    courier = recovered(courier, tmp_path, clock)
    deaths = {}
    for _ in range(3):
        (delivery,) = courier.queue.claim(DEST, 1, START, suspects=True)
        assert isinstance(delivery, Delivery)
        deaths[delivery.scene_id] = delivery.deaths
    assert deaths == {5: 0, 6: 0, 7: 0} | {suspect.scene_id: 1}
    courier.queue.close()


def test_of_several_in_flight_none_is_counted(courier: Courier, tmp_path: Path, clock: Clock) -> None:
    """Neighbours of a deadly delivery are not counted: each is watched first."""
    courier.route(event(5), event(6), event(7, at=START + 50))
    courier.claim()
    courier = recovered(courier, tmp_path, clock)
    suspects = []
    while courier.queue.suspect_due(DEST) is not None:
        suspects += courier.queue.claim(DEST, 9, START, suspects=True)
    assert [(d.scene_id, d.deaths) for d in suspects if isinstance(d, Delivery)] == [(5, 0), (6, 0)]
    assert courier.queue.suspect_due(OTHER) is None
    courier.queue.close()


def test_deaths_that_none_of_them_caused_are_spread(courier: Courier, tmp_path: Path, clock: Clock) -> None:
    """A machine that loses power three times doesn't make a dead letter of the one that came first each time."""
    courier.route(event(5), event(6), event(7))
    courier.claim()
    for _ in range(3):
        courier = recovered(courier, tmp_path, clock)
        assert courier.queue.next_suspect(DEST, START) == (0, START)
        courier.queue.claim(DEST, 1, START, suspects=True)
    courier = recovered(courier, tmp_path, clock)
    assert courier.queue.next_suspect(DEST, START) == (1, START)
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
    both: dict[int, Delivery] = {}
    for _ in range(2):
        (suspect,) = courier.queue.claim(DEST, 1, START, suspects=True)
        assert isinstance(suspect, Delivery)
        both[suspect.scene_id] = suspect
    assert courier.claim() == []
    assert (both[5].event, both[5].changed, known(both[5])) == ("destroy", ("date", "title"), GONE)
    assert (both[6].counted_attempts, both[6].attempts, both[6].history) == (1, 1, (FAILED,))
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
    seq = store.put(str(tmp_path), store.encode(written), START)
    plain = persistqueue.SQLiteAckQueue(
        str(tmp_path),
        name="inbox",
        serializer=json_serializer,
        db_file_name=files.QUEUE_DB,
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
    first = store.put(str(tmp_path), b"{}", 0.0)
    assert first > 1_700_000_000_000
    queue.route(queue.inbox_rows(), [], 0.0)
    assert queue.next_seq() == first + 1
    assert store.put(str(tmp_path), b"{}", 0.0) == first + 2
    queue.put_many([b"{}", b"[]"])
    assert [row.seq for row in queue.inbox_rows()] == [first + 2, first + 3, first + 4]
    assert all(isinstance(row, CorruptRow) for row in queue.inbox_rows())
