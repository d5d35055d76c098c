"""queue/scene_queue.py: the order of claims, recovery after a worker died, and persist-queue's interface."""

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
from tests.support.queue_driver import FAILED, GONE, OTHER, QueueDriver, known


@pytest.fixture
def clock() -> Clock:
    """A clock after every event of these tests."""
    return Clock(START + 1000)


@pytest.fixture
def queue(tmp_path: Path, clock: Clock) -> Iterator[SceneQueue]:
    """An empty queue."""
    opened = SceneQueue(tmp_path, clock=clock)
    yield opened
    opened.close()


@pytest.fixture
def driver(queue: SceneQueue) -> QueueDriver:
    """A driver of the queue."""
    return QueueDriver(queue)


# Claiming


def test_claimed_in_order_of_their_time(driver: QueueDriver) -> None:
    """Only what is due is claimed, in the order of the due times."""
    driver.route(*(event(scene, at=START + scene) for scene in (4, 1, 3, 2)))
    assert [d.scene_id for d in driver.claim(START + 3, limit=2)] == [1, 2]
    assert [d.scene_id for d in driver.claim(START + 3)] == [3]
    assert driver.queue.next_due(DEST) == START + 4
    assert driver.queue.next_due(OTHER) is None


def test_at_most_one_in_flight(driver: QueueDriver, tmp_path: Path, clock: Clock) -> None:
    """A scene in flight can't be claimed again, by any process, and the schema allows no second row."""
    driver.route(event(5))
    driver.only()
    other = SceneQueue(tmp_path, clock=clock)
    assert other.claim(DEST, 10, START + 9) == []
    other.close()
    driver.route(event(5))
    assert driver.claim(START + 9) == []
    with pytest.raises(sqlite3.IntegrityError, match="UNIQUE"):
        driver.queue.connection.execute(
            f"INSERT INTO {schema.DELIVERIES} (destination, scene_id, event, seq, due) "
            "VALUES (?, 5, 'update', 1, 0)",
            (DEST,),
        )


def test_edits_go_before_a_hundred_thousand_others(driver: QueueDriver) -> None:
    """Edits are delivered before the scenes of "Send all scenes", even an edit of one of those."""
    driver.queue.route(
        [event(scene, seq=scene, bulk=True, at=START - 9) for scene in range(1, 100_001)], [DEST], 0.0
    )
    driver.route(event(200_000), event(70_000, "update", "title"))
    claimed = driver.claim(limit=3)
    assert {d.scene_id for d in claimed[:2]} == {200_000, 70_000}
    assert claimed[2].scene_id < 70_000
    driver.route(event(claimed[0].scene_id, bulk=True))
    driver.done(claimed[0])
    assert driver.queue.next_due(DEST) == START - 9


def test_a_bulk_event_does_not_push_an_edit_back(driver: QueueDriver) -> None:
    """ "Send all scenes" doesn't delay an edit that waits already."""
    driver.route(event(5), event(6, bulk=True, at=START - 50), event(5, bulk=True))
    assert [d.scene_id for d in driver.claim(limit=1)] == [5]


# After an unclean end


def recovered(driver: QueueDriver, tmp_path: Path, clock: Clock) -> QueueDriver:
    """Opens the queue again after its worker died."""
    driver.queue.close()
    opened = SceneQueue(tmp_path, clock=clock)
    opened.recover()
    after = QueueDriver(opened)
    after.seqs = driver.seqs
    return after


def test_opening_takes_nothing_back(driver: QueueDriver, tmp_path: Path, clock: Clock) -> None:
    """Opening the queue, as buttons do, doesn't change what the worker has in flight."""
    driver.route(event(5))
    first = driver.only()
    other = SceneQueue(tmp_path, clock=clock)
    assert other.in_flight() == [first]
    other.close()


def test_what_was_in_flight_alone_is_counted(driver: QueueDriver, tmp_path: Path, clock: Clock) -> None:
    """If only one delivery was in flight when the worker died, the death counts for it."""
    driver.route(event(5))
    driver.only()
    for deaths in range(1, 4):
        driver = recovered(driver, tmp_path, clock)
        assert driver.queue.suspect_due(DEST) == START
        (suspect,) = driver.queue.claim(DEST, 9, START, suspects=True)
        assert isinstance(suspect, Delivery)
        assert suspect.deaths == deaths
    driver.queue.close()


def test_of_several_in_flight_the_watched_suspect_is_counted(
    driver: QueueDriver, tmp_path: Path, clock: Clock
) -> None:
    """A suspect is delivered beside others; if the worker dies again, the death counts for the suspect only."""
    driver.route(event(5), event(6))
    driver.claim()
    driver = recovered(driver, tmp_path, clock)
    driver.route(event(7))
    (suspect,) = driver.queue.claim(DEST, 1, START, suspects=True)
    assert [d.scene_id for d in driver.claim()] == [7]
    driver = recovered(driver, tmp_path, clock)
    deaths = {}
    for _ in range(3):
        (delivery,) = driver.queue.claim(DEST, 1, START, suspects=True)
        assert isinstance(delivery, Delivery)
        deaths[delivery.scene_id] = delivery.deaths
    assert deaths == {5: 0, 6: 0, 7: 0} | {suspect.scene_id: 1}
    driver.queue.close()


def test_of_several_in_flight_none_is_counted(driver: QueueDriver, tmp_path: Path, clock: Clock) -> None:
    """If several deliveries were in flight when the worker died, the death counts for none of them."""
    driver.route(event(5), event(6), event(7, at=START + 50))
    driver.claim()
    driver = recovered(driver, tmp_path, clock)
    suspects = []
    while driver.queue.suspect_due(DEST) is not None:
        suspects += driver.queue.claim(DEST, 9, START, suspects=True)
    assert [(d.scene_id, d.deaths) for d in suspects if isinstance(d, Delivery)] == [(5, 0), (6, 0)]
    assert driver.queue.suspect_due(OTHER) is None
    driver.queue.close()


def test_deaths_are_spread_over_suspects(driver: QueueDriver, tmp_path: Path, clock: Clock) -> None:
    """After three power cuts no suspect has three deaths: the one with the fewest is always tried next."""
    driver.route(event(5), event(6), event(7))
    driver.claim()
    for _ in range(3):
        driver = recovered(driver, tmp_path, clock)
        assert driver.queue.next_suspect(DEST, START) == (0, START)
        driver.queue.claim(DEST, 1, START, suspects=True)
    driver = recovered(driver, tmp_path, clock)
    assert driver.queue.next_suspect(DEST, START) == (1, START)
    driver.queue.close()


def test_a_suspect_stays_one_until_an_attempt_ends(driver: QueueDriver, tmp_path: Path, clock: Clock) -> None:
    """A suspect that was put back without an attempt stays one; any attempt that ends clears it."""
    driver.route(event(5))
    driver.only()
    driver = recovered(driver, tmp_path, clock)
    for _ in range(2):
        (suspect,) = driver.queue.claim(DEST, 1, START, suspects=True)
        assert isinstance(suspect, Delivery)
        assert suspect.deaths == 1
        driver.back(suspect)
    (suspect,) = driver.queue.claim(DEST, 1, START, suspects=True)
    assert isinstance(suspect, Delivery)
    driver.fail(suspect, START)
    assert driver.queue.suspect_due(DEST) is None
    assert driver.only().deaths == 0
    driver.queue.close()


def test_recovery_keeps_counts_and_what_came_in(driver: QueueDriver, tmp_path: Path, clock: Clock) -> None:
    """A death of the worker counts as no attempt, and events that arrived during the delivery are kept."""
    driver.route(event(5, "create", "title"), event(6))
    first = next(d for d in driver.claim() if d.scene_id == 6)
    driver.fail(first, START)
    driver.only()
    driver.route(event(5, "destroy", "date", **GONE))
    driver = recovered(driver, tmp_path, clock)
    both: dict[int, Delivery] = {}
    for _ in range(2):
        (suspect,) = driver.queue.claim(DEST, 1, START, suspects=True)
        assert isinstance(suspect, Delivery)
        both[suspect.scene_id] = suspect
    assert driver.claim() == []
    assert (both[5].event, both[5].changed, known(both[5])) == ("destroy", ("date", "title"), GONE)
    assert (both[6].counted_attempts, both[6].attempts, both[6].history) == (1, 1, (FAILED,))
    driver.queue.close()


def test_late_ends_change_nothing(driver: QueueDriver) -> None:
    """An outcome that is reported twice, or after the delivery was put back, changes nothing."""
    driver.route(event(5), event(6))
    first, second = driver.claim()
    driver.done(first)
    driver.done(first)
    driver.back(first, START + 5)
    driver.back(second, START + 5)
    driver.done(second)
    driver.back(second, START + 500)
    assert driver.only(START + 5).scene_id == 6


# persist-queue


def test_a_hooks_row_is_one_of_persist_queues(tmp_path: Path, queue: SceneQueue) -> None:
    """persist-queue's own class reads the rows of hooks, and the worker routes the rows that it puts."""
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
    "method",
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
def test_unsupported_methods_are_refused(queue: SceneQueue, method: str) -> None:
    """Methods of persist-queue that would lose deliveries or miscount them raise an error."""
    with pytest.raises(NotImplementedError, match="route"):
        getattr(queue, method)()


def test_every_public_method_of_persist_queue_is_supported_or_refused() -> None:
    """A new release of persist-queue adds no method that works by accident."""
    supported = {"close", "put", "size", "qsize", "empty", "full"}
    public = {name for name in dir(persistqueue.SQLiteAckQueue) if not name.startswith("_")}
    refused = {name for name, member in vars(SceneQueue).items() if member is SceneQueue.__dict__["_refused"]}
    assert public - refused == supported


def test_seq_never_runs_backwards(tmp_path: Path, queue: SceneQueue) -> None:
    """In a new file ids start at the current time, so that they don't repeat those of an earlier file."""
    first = store.put(str(tmp_path), b"{}", 0.0)
    assert first > 1_700_000_000_000
    queue.route(queue.inbox_rows(), [], 0.0)
    assert queue.next_seq() == first + 1
    assert store.put(str(tmp_path), b"{}", 0.0) == first + 2
    queue.put_many([b"{}", b"[]"])
    assert [row.seq for row in queue.inbox_rows()] == [first + 2, first + 3, first + 4]
    assert all(isinstance(row, CorruptRow) for row in queue.inbox_rows())
