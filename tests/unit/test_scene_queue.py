"""queue/scene_queue.py: how events of a scene become one delivery, and when it is due."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

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
    assert (second.counted_attempts, second.attempts, second.not_found, second.history) == (0, 0, 0, (FAILED,))
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
    assert (again.event, again.changed, again.counted_attempts, again.attempts) == (
        "create",
        ("date", "title"),
        0,
        0,
    )
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
    assert (again.scene_id, again.counted_attempts, again.attempts, again.history) == (5, 1, 1, (FAILED,))


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
    courier.fail(replace(first, counted_attempts=4), START)
    courier.back(second)
    with courier.queue.transaction():
        courier.queue.give_back(DEST, {5, 6, 7})
    assert [(d.scene_id, d.counted_attempts) for d in courier.claim()] == [(5, 4), (6, 0)]
    assert third.counted_attempts == 0
