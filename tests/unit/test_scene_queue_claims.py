"""scene_queue.py: the order of claims, recovery after a worker died, and persist-queue's interface."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import persistqueue
import pytest
from persistqueue.serializers import json as json_serializer

from stash_courier.queue.deliveries.scene_queue import SceneQueue
from stash_courier.queue.inbox import files, schema, store
from stash_courier.queue.jobs import BULK, CATCH_UP, CorruptRow, Delivery, SceneEvent
from tests.support.durable import DEST, START, Clock, event
from tests.support.queue_driver import FAILED, GONE, OTHER, QueueDriver, claim, known, next_due


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
    assert next_due(driver.queue, DEST) == START + 4
    assert next_due(driver.queue, OTHER) is None


def test_at_most_one_in_flight(driver: QueueDriver, tmp_path: Path, clock: Clock) -> None:
    """A scene in flight can't be claimed again, by any process, and the schema allows no second row."""
    driver.route(event(5))
    driver.only()
    other = SceneQueue(tmp_path, clock=clock)
    assert claim(other, 10, START + 9) == []
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
        [event(scene, seq=scene, priority=BULK, at=START - 9) for scene in range(1, 100_001)], {DEST: 0.0}
    )
    driver.route(event(200_000), event(70_000, "update", "title"))
    claimed = driver.claim(limit=3)
    assert {d.scene_id for d in claimed[:2]} == {200_000, 70_000}
    assert claimed[2].scene_id < 70_000
    driver.route(event(claimed[0].scene_id, priority=BULK))
    driver.done(claimed[0])
    assert next_due(driver.queue, DEST) == START - 9


def test_a_bulk_event_does_not_push_an_edit_back(driver: QueueDriver) -> None:
    """ "Send all scenes" doesn't delay an edit that waits already."""
    driver.route(event(5), event(6, priority=BULK, at=START - 50), event(5, priority=BULK))
    assert [d.scene_id for d in driver.claim(limit=1)] == [5]


def test_what_comes_from_dead_letters_and_sweeps_goes_between_edits_and_bulk(driver: QueueDriver) -> None:
    """ "Retry dead letters" runs behind edits and before "Send all scenes", whatever is due first."""
    driver.route(event(1, priority=BULK, at=START - 50), event(2, priority=CATCH_UP, at=START - 40), event(3))
    assert [d.scene_id for d in driver.claim()] == [3, 2, 1]


# Probing


def test_a_probe_is_the_newest_edit_that_never_failed(driver: QueueDriver) -> None:
    """Of what is due, the newest edit that never failed is probed first, then others that never failed."""
    driver.route(
        *(event(scene, at=START + scene) for scene in (1, 2, 3, 9)), event(4, priority=BULK, at=START - 9)
    )
    for claimed in driver.claim(START + 2):
        if claimed.scene_id == 4:
            driver.back(claimed)
        else:
            driver.fail(claimed, START + 2)
    tried = []
    while probes := driver.queue.claim_probe(DEST, START + 5):
        tried.append(probes[0].scene_id)
    assert tried == [3, 4, 1, 2, 9]  # 9 isn't due: it is taken only when nothing else waits


def test_a_probe_is_found_behind_many_failures(driver: QueueDriver) -> None:
    """Finding a probe looks at few rows, however many wait."""
    driver.queue.route(
        [event(scene, seq=scene, at=START - 9) for scene in range(1, 5001)], dict.fromkeys([DEST], 0.0)
    )
    driver.queue.connection.execute(f"UPDATE {schema.DELIVERIES} SET attempts = 1 WHERE scene_id > 5")
    driver.route(event(9000))
    (probe,) = driver.queue.claim_probe(DEST, START)
    assert probe.scene_id == 9000
    assert driver.queue.newest_untried_edit(DEST, START) is None  # the others are too far away
    assert driver.queue.claim_probe(DEST, START)[0].scene_id == 1


# After an unclean end


def recovered(driver: QueueDriver, tmp_path: Path, clock: Clock, *sent: int, counts: bool = True) -> QueueDriver:
    """Opens the queue again after its worker died while it sent these scenes."""
    marked = {d.row_id for d in driver.queue.in_flight() if isinstance(d, Delivery) and d.scene_id in sent}
    driver.queue.close()
    opened = SceneQueue(tmp_path, clock=clock)
    opened.recover(marked, counts=counts)
    after = QueueDriver(opened)
    after.seqs = driver.seqs
    return after


def take_suspect(driver: QueueDriver, suspect: int = 1) -> Delivery:
    """Claims the first suspect."""
    (delivery,) = driver.queue.claim_suspect(DEST, suspect, START)
    assert isinstance(delivery, Delivery)
    return delivery


def test_opening_takes_nothing_back(driver: QueueDriver, tmp_path: Path, clock: Clock) -> None:
    """Opening the queue, as buttons do, doesn't change what the worker has in flight."""
    driver.route(event(5))
    first = driver.only()
    other = SceneQueue(tmp_path, clock=clock)
    assert other.in_flight() == [first]
    other.close()


def test_what_was_claimed_but_not_sent_just_waits_again(driver: QueueDriver, tmp_path: Path, clock: Clock) -> None:
    """Only what a thread was working on becomes suspect."""
    driver.route(event(5), event(6), event(7))
    driver.claim()
    driver = recovered(driver, tmp_path, clock, 6)
    assert [d.scene_id for d in driver.claim()] == [5, 7]
    assert take_suspect(driver).scene_id == 6
    driver.queue.close()


def test_what_was_sent_alone_is_counted(driver: QueueDriver, tmp_path: Path, clock: Clock) -> None:
    """If only one delivery was being sent when the worker died, the death counts for it."""
    driver.route(event(5), event(6))
    driver.claim()
    for deaths in range(1, 4):
        driver = recovered(driver, tmp_path, clock, 5)
        assert driver.queue.suspect_due(DEST, 1) == START
        assert take_suspect(driver).deaths == deaths
    driver.queue.close()


def test_a_death_with_its_surroundings_counts_for_none(driver: QueueDriver, tmp_path: Path, clock: Clock) -> None:
    """However often the machine or container restarts, no death is counted."""
    driver.route(event(5))
    driver.claim()
    for _ in range(4):
        driver = recovered(driver, tmp_path, clock, 5, counts=False)
        suspect = take_suspect(driver)
        assert (suspect.suspect, suspect.deaths) == (1, 0)
    driver.queue.close()


def test_of_several_that_were_sent_none_is_counted(driver: QueueDriver, tmp_path: Path, clock: Clock) -> None:
    """The first time all are suspect; those that were suspect before then run alone, and then deaths count."""
    driver.route(event(5), event(6), event(7, at=START + 50))
    driver.claim()
    driver = recovered(driver, tmp_path, clock, 5, 6)
    first = take_suspect(driver)
    driver.claim(START + 99)
    driver = recovered(driver, tmp_path, clock, first.scene_id, 7)
    alone = take_suspect(driver, 2)
    assert (alone.scene_id, alone.deaths) == (first.scene_id, 0)
    for deaths in (1, 2, 3):
        driver = recovered(driver, tmp_path, clock, first.scene_id)
        alone = take_suspect(driver, 2)
        assert (alone.scene_id, alone.deaths) == (first.scene_id, deaths)
    driver.queue.close()


def test_an_edit_of_a_suspect_is_tried_at_once(driver: QueueDriver, tmp_path: Path, clock: Clock) -> None:
    """A new edit makes a suspect an ordinary delivery; "Send all scenes" doesn't."""
    driver.route(event(5))
    driver.claim()
    driver = recovered(driver, tmp_path, clock, 5)
    driver.route(event(5, priority=BULK))
    assert driver.claim() == []
    driver.route(event(5))
    delivery = driver.only()
    assert (delivery.suspect, delivery.deaths) == (0, 0)
    driver.queue.close()


def test_a_suspect_stays_one_until_an_attempt_ends(driver: QueueDriver, tmp_path: Path, clock: Clock) -> None:
    """A suspect that was put back without an attempt stays one; any attempt that ends clears it."""
    driver.route(event(5))
    driver.only()
    driver = recovered(driver, tmp_path, clock, 5)
    for _ in range(2):
        suspect = take_suspect(driver)
        assert suspect.deaths == 1
        driver.back(suspect)
    driver.fail(take_suspect(driver), START)
    assert driver.queue.suspect_due(DEST, 1) is None
    assert driver.only().deaths == 0
    driver.queue.close()


def test_recovery_keeps_counts_and_what_came_in(driver: QueueDriver, tmp_path: Path, clock: Clock) -> None:
    """A death of the worker counts as no attempt, and events that arrived during the delivery are kept."""
    driver.route(event(5, "create", "title"), event(6))
    first = next(d for d in driver.claim() if d.scene_id == 6)
    driver.fail(first, START)
    driver.only()
    driver.route(event(5, "destroy", "date", **GONE))
    driver = recovered(driver, tmp_path, clock, 5)
    both = {delivery.scene_id: delivery for delivery in (take_suspect(driver), driver.only())}
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
    queue.route(queue.inbox_rows(), {})
    assert queue.next_seq() == first + 1
    assert store.put(str(tmp_path), b"{}", 0.0) == first + 2
    queue.put_many([b"{}", b"[]"])
    assert [row.seq for row in queue.inbox_rows()] == [first + 2, first + 3, first + 4]
    assert all(isinstance(row, CorruptRow) for row in queue.inbox_rows())
