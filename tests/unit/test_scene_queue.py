"""queue/deliveries/scene_queue.py: how events of a scene become one delivery, and when it is due."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from stash_courier.queue.deliveries import backlog
from stash_courier.queue.deliveries.scene_queue import SceneQueue
from tests.support.durable import DEST, START, Clock, event
from tests.support.queue_driver import FAILED, GONE, OTHER, QueueDriver, known, next_due


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


@pytest.mark.parametrize(("older", "newer"), [pair[:2] for pair in MERGED])
def test_an_event_during_a_delivery_is_delivered_afterwards(driver: QueueDriver, older: str, newer: str) -> None:
    """An event that arrives during a delivery that succeeds becomes the next delivery, by itself."""
    driver.route(event(5, older, "title", **facts(older)))
    first = driver.only()
    assert not driver.queue.superseded(first)
    driver.route(event(5, newer, "date", at=START + 1, **facts(newer)))
    assert driver.queue.superseded(first)
    assert driver.claim(START + 99) == []
    driver.done(first)
    second = driver.only(START + 1)
    assert (second.event, second.changed, second.seq, second.at) == (newer, ("date",), 1001, START + 1)
    assert second.path == facts(newer).get("path", "")
    driver.done(second)
    assert driver.queue.empty()


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


def test_changes_are_united(driver: QueueDriver) -> None:
    """A delivery names the changed fields of all its events, each once, sorted."""
    driver.route(event(5, "update", "title", "date"), event(5, "update", "date", "code"), event(5))
    assert driver.only().changed == ("code", "date", "title")


def test_each_destination_has_its_own_delivery(driver: QueueDriver) -> None:
    """Each destination has its own delivery of a scene, whatever becomes of the others."""
    driver.route(event(5), event(5), event(6), to=(DEST, OTHER))
    assert [d.scene_id for d in driver.claim()] == [5, 6]
    (first, second) = driver.claim(destination=OTHER)
    driver.done(first)
    driver.back(second)
    assert [d.scene_id for d in driver.claim(destination=OTHER)] == [6]
    assert driver.queue.size == 3


def test_without_destinations_events_end(driver: QueueDriver) -> None:
    """Without destinations events are dropped, so that none pile up."""
    driver.route(event(5), to=())
    assert driver.queue.empty()


# When it is due


def test_settle_counts_from_the_first_event(driver: QueueDriver) -> None:
    """Repeated edits can't postpone a delivery indefinitely: the first edit's time counts."""
    for second in range(0, 10, 3):
        driver.route(event(5, at=START + second), settle=10.0)
    assert next_due(driver.queue, DEST) == START + 10
    assert driver.claim(START + 9.9) == []
    driver.only(START + 10)


def test_settle_during_a_delivery_counts_from_the_first_event_then(driver: QueueDriver) -> None:
    """Events that arrive during a delivery settle from the first of them."""
    driver.route(event(5))
    first = driver.only()
    driver.route(event(5, at=START + 2), event(5, at=START + 8), settle=10.0)
    driver.done(first)
    assert next_due(driver.queue, DEST) == START + 12


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


def test_a_newer_event_ends_the_back_off(driver: QueueDriver) -> None:
    """After a new edit, a delivery that backed off starts again at once and keeps its history."""
    driver.route(event(5, "create", "title"))
    driver.fail(driver.only(), START + 500)
    assert driver.claim(START + 499) == []
    driver.route(event(5, "update", "date", at=START + 100))
    again = driver.only(START + 100)
    assert (again.event, again.changed, again.counted_attempts, again.attempts) == (
        "create",
        ("date", "title"),
        0,
        0,
    )
    assert again.history == (FAILED,)


def test_a_retry_waits_and_blocks_nothing(driver: QueueDriver) -> None:
    """A delivery that backs off delays no others and keeps its counts."""
    driver.route(event(5), event(6), event(7))
    first, *rest = driver.claim(limit=3)
    driver.fail(first, START + 60)
    for delivery in rest:
        driver.done(delivery)
    driver.route(event(8, at=START + 5))
    assert [d.scene_id for d in driver.claim(START + 59)] == [8]
    again = driver.only(START + 60)
    assert (again.scene_id, again.counted_attempts, again.attempts, again.history) == (5, 1, 1, (FAILED,))


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


def test_put_back_is_due_as_it_was(driver: QueueDriver) -> None:
    """A delivery that was claimed but not attempted is due as before."""
    driver.route(event(5, at=START - 2), event(6, at=START - 1))
    first, second = driver.claim()
    driver.back(second)
    driver.back(first)
    assert [d.scene_id for d in driver.claim()] == [5, 6]


def test_an_event_of_the_future_is_due_now(driver: QueueDriver, clock: Clock) -> None:
    """After the clock was set back, older events are due now and not only at their own time."""
    driver.route(event(5, at=clock.now + 7200))
    assert driver.only(clock.now).scene_id == 5


def test_a_jump_of_the_clock_moves_what_waits(driver: QueueDriver) -> None:
    """When the wall clock is set, back-off and settling keep their length."""
    driver.route(event(5), event(6))
    first, second = driver.claim()
    driver.fail(first, START + 60)
    driver.route(event(6, at=START - 1), settle=10.0)
    with driver.queue.transaction():
        driver.queue.shift(-3600.0)
    assert next_due(driver.queue, DEST) == START + 60 - 3600
    driver.done(second)
    assert next_due(driver.queue, DEST) == START - 1 + 10 - 3600


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
