"""A discard can be undone for ten minutes, and until then nothing sees what was discarded."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from stash_courier.queue import transfer
from stash_courier.queue.dead_letters import actions as dlq_actions
from stash_courier.queue.dead_letters import listing as dlq_list
from stash_courier.queue.dead_letters.actions import Batch
from stash_courier.queue.dead_letters.dlq import DAY, DeadLetterQueue
from stash_courier.queue.dead_letters.listing import ALL, Selection
from stash_courier.queue.failures import DeliveryFailed, Failure
from stash_courier.queue.jobs import Delivery
from tests.support import transfers
from tests.support.durable import DEST, START, Clock

REFUSED = DeliveryFailed(Failure.ITEM_REFUSED, "It answered 400.")


@pytest.fixture
def clock() -> Clock:
    """A clock at START."""
    return Clock()


@pytest.fixture
def dlq(tmp_path: Path, clock: Clock) -> Iterator[DeadLetterQueue]:
    """Dead letters of scenes 1, 2 and 3."""
    with closing(DeadLetterQueue(tmp_path, clock=clock)) as opened:
        for scene in (1, 2, 3):
            bury(opened, scene)
        yield opened


def bury(dlq: DeadLetterQueue, scene: int) -> int:
    """Makes a dead letter of a scene."""
    return dlq.add(Delivery(scene, DEST, scene, "update", (), scene, START), REFUSED, 1)


def state(dlq: DeadLetterQueue, scene: int) -> str | None:
    """The state of a scene's dead letter; None if it has none."""
    found = dlq.find(DEST, scene)
    return None if found is None else found[1]


def test_undone(dlq: DeadLetterQueue, clock: Clock) -> None:
    """What was discarded together comes back together, and is counted as before."""
    groups, rows = dlq.groups(), dlq.get_recent(9)
    dlq.ask(Selection([rows[0].id]))
    batch = dlq.discard(Selection([rows[0].id, rows[1].id, 99]))
    assert batch == Batch(START, 2)
    assert batch.until == START + 600
    clock.now += 599
    assert dlq.discarded() == batch
    assert dlq.restore(batch.at + 1) == 0
    assert dlq.restore(batch.at) == 2
    assert dlq.groups() == groups
    assert dlq.get_recent(9) == rows
    assert dlq.discarded() is None
    assert dlq.restore(batch.at) == 0


def test_nothing_sees_what_is_discarded(dlq: DeadLetterQueue, clock: Clock) -> None:
    """It isn't listed, counted, sent again, reported, recalled or purged by its age."""
    batch = dlq.discard()
    clock.now += 300
    assert dlq.get_recent(9) == []
    assert (dlq.get_count(), dlq.count_by_error(), dlq.groups(), dlq.count_since(0)) == (0, [], [], 0)
    for selection in (ALL, Selection(text="1")):
        page = dlq_list.page(dlq.opened(), selection, clock.now, 1, 50)
        assert (page.matching, page.newer, page.rows, page.groups) == (0, 0, (), ())
    assert (dlq.ask(), dlq.ask_carefully(), dlq.recall(DEST, [1, 2, 3], 0), dlq.asked()) == (0, (None, 0), 0, [])
    assert (dlq.unreported(), dlq.unreported_since(), dlq.count_unseen(-1), dlq.count_unsendable()) == (
        [],
        None,
        0,
        0,
    )
    assert dlq.discard().count == 0
    assert dlq.delete_older_than(-1) == 0
    assert dlq.restore(batch.at) == 3


def test_deleted_after_ten_minutes(dlq: DeadLetterQueue, clock: Clock) -> None:
    """The worker, or the next discard, deletes it for good."""
    first = dlq.discard(Selection(text="1"))
    clock.now += 300
    second = dlq.discard(Selection(text="2"))
    assert dlq.discarded() == second
    clock.now += 300
    assert dlq.delete_discarded() == 1
    assert dlq.restore(first.at) == 0
    assert state(dlq, 1) is None
    clock.now += 300
    assert dlq.discarded() is None
    dlq.discard(Selection(text="3"))
    assert (state(dlq, 2), state(dlq, 3)) == (None, "discarded")


def test_a_wrong_clock_keeps_nothing_for_ever(dlq: DeadLetterQueue, clock: Clock) -> None:
    """What was discarded while the clock was years ahead is deleted, too."""
    clock.now += 1000 * DAY
    dlq.discard()
    clock.now -= 1000 * DAY
    assert dlq.discarded() is None
    assert dlq.delete_discarded() == 3


def test_two_discards_of_one_moment_are_undone_apart(dlq: DeadLetterQueue) -> None:
    """Each has a batch of its own."""
    first, second = dlq.discard(Selection(text="1")), dlq.discard(Selection(text="2"))
    assert first.at != second.at
    assert dlq.restore(first.at) == 1
    assert (state(dlq, 1), state(dlq, 2)) == ("dead", "discarded")


def test_many_are_one_batch(dlq: DeadLetterQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many are discarded in parts, so that others can write in between, and come back together."""
    monkeypatch.setattr(dlq_actions, "ROWS", 4)
    for scene in range(4, 15):
        bury(dlq, scene)
    batch = dlq.discard()
    assert batch.count == 14
    assert dlq.discarded() == batch
    assert dlq.restore(batch.at) == 14
    assert dlq.get_count() == 14


@pytest.mark.parametrize("doing", ["ask", "discard", "restore"])
def test_others_can_write_between_the_parts(
    dlq: DeadLetterQueue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, doing: str
) -> None:
    """A worker that waits for the lock gets it before all of many are changed."""
    monkeypatch.setattr(dlq_actions, "ROWS", 1)
    for scene in range(4, 300):
        bury(dlq, scene)
    batch = dlq.discard() if doing == "restore" else None
    states = []

    def write() -> None:
        with closing(DeadLetterQueue(tmp_path)) as worker:
            while not changed(worker):
                time.sleep(0.001)
            worker.set_state(1, "resolved")
            states.append(changed(worker))

    def changed(worker: DeadLetterQueue) -> int:
        now = {"ask": "asked", "discard": "discarded", "restore": "dead"}[doing]
        found = worker.opened().execute("SELECT count(*) FROM dead_letters WHERE state = ?", (now,))
        return int(found.fetchone()[0])

    other = threading.Thread(target=write)
    other.start()
    match doing:
        case "ask":
            dlq.ask()
        case "discard":
            dlq.discard()
        case "restore":
            assert batch is not None
            dlq.restore(batch.at)
    other.join()
    assert states[0] < 250


def test_a_new_failure_makes_it_dead_again(dlq: DeadLetterQueue, clock: Clock) -> None:
    """What fails after it was discarded is news: an undo or the end of the ten minutes doesn't touch it."""
    batch = dlq.discard(Selection(text="1"))
    clock.now += 1
    bury(dlq, 1)
    assert (state(dlq, 1), dlq.get_count()) == ("dead", 3)
    assert dlq.restore(batch.at) == 0
    clock.now += 700
    assert dlq.delete_discarded() == 0


def test_a_delivery_resolves_it(dlq: DeadLetterQueue) -> None:
    """If its scene is delivered meanwhile, an undo doesn't bring it back."""
    batch = dlq.discard(Selection(text="1"))
    dlq.resolve(DEST, 1, delivered=True)
    assert dlq.restore(batch.at) == 0
    assert state(dlq, 1) == "resolved"


def test_a_kill_during_the_burial_sends_no_discarded_one(tmp_path: Path) -> None:
    """If a person discards the dead letter of a half finished burial, its delivery isn't sent again."""
    transfers.half_buried(tmp_path)
    with transfers.opened(tmp_path) as both:
        batch = both.dlq.discard()
        transfer.heal(both.queue, both.dlq)
        both.queue.recover()
        assert both.queue.empty()
        assert both.dlq.restore(batch.at) == 1
        assert [found for found, _ in both.dead_letters()] == ["dead"]


def test_one_that_is_discarded_is_not_sent_again(tmp_path: Path) -> None:
    """A discard counts although the worker has read that it is asked for; it can be undone."""
    transfers.asked(tmp_path)
    with transfers.opened(tmp_path) as both:
        (dead_letter,) = both.dlq.asked()
        batch = both.dlq.discard()
        assert not transfer.redrive(both.queue, both.dlq, dead_letter, START)
        assert both.queue.empty()
        assert both.dlq.restore(batch.at) == 1
        assert [found for found, _ in both.dead_letters()] == ["dead"]
