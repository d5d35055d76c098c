"""queue/deliveries/scene_queue.py: single rules that test_queue_model.py has no model of."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import persistqueue
import pytest
from persistqueue.serializers import json as json_serializer

from stash_courier.queue.deliveries import backlog
from stash_courier.queue.deliveries.scene_queue import SceneQueue
from stash_courier.queue.inbox import files, schema, store
from stash_courier.queue.jobs import BULK, CorruptRow, Delivery, SceneEvent
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
    """The facts of an event of this kind."""
    return GONE if kind == "destroy" else {}


@pytest.mark.parametrize(("older", "newer", "both"), MERGED)
def test_two_events_become_one_delivery(driver: QueueDriver, older: str, newer: str, both: str) -> None:
    """A create stays one until it is delivered; destroy beats all but a later create and keeps its path."""
    driver.route(event(5, older, **facts(older)), event(5, newer, **facts(newer)))
    delivery = driver.only()
    assert (delivery.event, delivery.seq) == (both, 1001)
    if both == "destroy":
        assert known(delivery) == GONE
    driver.done(delivery)
    assert driver.queue.empty()


@pytest.mark.parametrize(("older", "newer", "both"), MERGED)
def test_an_event_during_a_failing_delivery_joins_it(
    driver: QueueDriver, older: str, newer: str, both: str
) -> None:
    """An event that arrives during a delivery that fails is merged into it, and it is due at once."""
    driver.route(event(5, older, "title", **facts(older)))
    first = driver.only()
    driver.route(event(5, newer, "date", **facts(newer)))
    driver.fail(first, START + 500)
    second = driver.only()
    assert (second.event, second.changed, second.seq) == (both, ("date", "title"), 1001)
    assert (second.counted_attempts, second.attempts, second.not_found, second.history) == (0, 0, 0, (FAILED,))
    if both == "destroy":
        assert known(second) == GONE


def test_several_events_during_a_delivery_are_one_afterwards(driver: QueueDriver) -> None:
    """However many edits arrive during a delivery, one delivery follows, with the time of the first."""
    driver.route(event(5, "create"))
    first = driver.only()
    for n, name in enumerate(("title", "date", "title"), 1):
        driver.route(event(5, "update", name, at=START + n))
    driver.done(first)
    second = driver.only(START + 9)
    assert (second.event, second.changed, second.at) == ("update", ("date", "title"), START + 1)


def test_an_event_with_a_lower_seq_is_not_lost(driver: QueueDriver) -> None:
    """An edit during a delivery is delivered even if its seq is lower, because the clock was set back."""
    driver.route(event(5))
    first = driver.only()
    driver.queue.route([event(5, "update", "date", seq=7)], dict.fromkeys([DEST], 0.0))
    driver.done(first)
    assert driver.only().changed == ("date",)


def test_without_destinations_events_end(driver: QueueDriver) -> None:
    """Without destinations events are dropped, so that none pile up."""
    driver.route(event(5), to=())
    assert driver.queue.empty()


def test_settle_counts_from_the_first_event(driver: QueueDriver) -> None:
    """Repeated edits can't postpone a delivery indefinitely: the first edit's time counts."""
    for second in range(0, 10, 3):
        driver.route(event(5, at=START + second), settle=10.0)
    assert next_due(driver.queue, DEST) == START + 10
    assert driver.claim(START + 9.9) == []
    driver.only(START + 10)


@pytest.mark.parametrize("events", [["destroy"], ["update", "destroy"], ["destroy", "update"]])
def test_a_destroy_waits_for_nothing(driver: QueueDriver, events: list[str]) -> None:
    """A destroy is delivered at once, even if other events were waiting to settle."""
    for kind in events:
        driver.route(event(5, kind, **facts(kind)), settle=3600.0)
    assert driver.only().event == "destroy"


def test_a_destroy_waits_for_no_retry(driver: QueueDriver) -> None:
    """A late update doesn't make a destroy that backs off wait."""
    driver.route(event(5, "destroy", **GONE))
    driver.fail(driver.only(), START + 500)
    driver.route(event(5, "update"), settle=3600.0)
    assert known(driver.only()) == GONE


def test_why_what_waits_has_failed(driver: QueueDriver, queue: SceneQueue) -> None:
    """Status shows it, also if the destination itself is well."""
    driver.route(event(5), event(6))
    first, second = driver.claim(limit=2)
    driver.back(replace(second, attempts=1), START + 9, replace(FAILED, message="Later."))
    later = backlog.failed(queue.connection, DEST)
    assert later is not None
    assert (later[0], later[1].message) == (6, "Later.")
    driver.fail(first, START + 5)
    assert backlog.failed(queue.connection, DEST) == (5, FAILED)
    assert backlog.failed(queue.connection, OTHER) is None


def test_an_event_of_the_future_is_due_now(driver: QueueDriver, clock: Clock) -> None:
    """After the clock was set back, older events are due now and not only at their own time."""
    driver.route(event(5, at=clock.now + 7200))
    assert driver.only(clock.now).scene_id == 5


def test_deliver_now_makes_retries_due(driver: QueueDriver) -> None:
    """ "Deliver now" makes retries due now, for one destination or for all, and makes nothing due later."""
    driver.route(event(5), to=(DEST, OTHER))
    driver.fail(driver.only(), START + 500)
    driver.fail(driver.claim(destination=OTHER)[0], START + 500)
    assert driver.queue.make_due(START + 1, OTHER) == 1
    assert driver.claim(START + 1) == []
    assert len(driver.claim(START + 1, destination=OTHER)) == 1
    assert driver.queue.make_due(START + 1) == 1
    driver.route(event(9, at=START - 50))
    assert driver.queue.make_due(START + 1) == 0
    assert [d.scene_id for d in driver.claim(START + 1)] == [9, 5]


def test_given_back_attempts(driver: QueueDriver) -> None:
    """If the destination was at fault, a counted attempt is taken back; the count is never negative."""
    driver.route(event(5), event(6), event(7))
    first, second, third = driver.claim()
    driver.fail(replace(first, counted_attempts=4), START)
    driver.back(second)
    with driver.queue.transaction():
        driver.queue.give_back(DEST, {5, 6, 7})
    assert [(d.scene_id, d.counted_attempts) for d in driver.claim()] == [(5, 4), (6, 0)]
    assert third.counted_attempts == 0


# Claiming


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


def test_edits_go_before_thousands_of_others(driver: QueueDriver) -> None:
    """Edits are delivered before the scenes of "Send all scenes", even an edit of one of those."""
    driver.queue.route(
        [event(scene, seq=scene, priority=BULK, at=START - 9) for scene in range(1, 3001)], {DEST: 0.0}
    )
    driver.route(event(20_000), event(2500, "update", "title"))
    claimed = driver.claim(limit=3)
    assert {d.scene_id for d in claimed[:2]} == {20_000, 2500}
    assert claimed[2].scene_id < 2500
    driver.route(event(claimed[0].scene_id, priority=BULK))
    driver.done(claimed[0])
    assert next_due(driver.queue, DEST) == START - 9


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


def test_what_was_in_flight_at_a_death_is_counted(driver: QueueDriver) -> None:
    """It is claimed by itself, the fewest deaths first. An attempt that ends and an edit end the count."""
    driver.route(event(5, priority=BULK), event(6), event(7))
    assert len(driver.claim()) == 3
    driver.queue.recover()
    assert (driver.claim(), driver.queue.fewest_deaths(DEST)) == ([], 1)
    (first,) = driver.queue.claim_counted(DEST)
    assert (first.scene_id, driver.queue.fewest_deaths(OTHER)) == (6, 0)
    driver.queue.recover()
    again = [job for _ in range(3) for job in driver.queue.claim_counted(DEST)]
    assert [(job.scene_id, job.deaths) for job in again if isinstance(job, Delivery)] == [(7, 1), (5, 1), (6, 2)]
    for job in again:
        assert isinstance(job, Delivery)
        driver.fail(job, START) if job.scene_id == 7 else driver.back(job)
    driver.route(event(5, priority=BULK), event(6))
    assert [job.scene_id for job in driver.claim()] == [6, 7]
    assert driver.queue.fewest_deaths(DEST) == 1


def test_a_repair_counts_no_death(driver: QueueDriver) -> None:
    """A worker that opens its files again has not died."""
    driver.route(event(5))
    driver.only()
    driver.queue.recover(died=False)
    assert driver.only().deaths == 0


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
