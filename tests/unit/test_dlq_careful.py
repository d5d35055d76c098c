"""A careful retry in dlq.db: one is asked for, the rest when it is delivered, and never in any other case."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from stash_courier.queue import replaced, transfer
from stash_courier.queue.dead_letters import dlq as dlq_module
from stash_courier.queue.dead_letters import statements as dlq_statements
from stash_courier.queue.dead_letters.dlq import DeadLetterQueue
from stash_courier.queue.dead_letters.listing import ALL, Selection
from stash_courier.queue.deliveries.scene_queue import SceneQueue
from stash_courier.queue.failures import DeliveryFailed, Failure
from stash_courier.queue.history import ledger
from stash_courier.queue.history.ledger import Outcome, Sent
from stash_courier.queue.inbox import files
from stash_courier.queue.jobs import Delivery
from tests.support.durable import DEST, START, Clock

ERROR = DeliveryFailed(Failure.ITEM_REFUSED, "It answered 400.")


@pytest.fixture
def dlq(tmp_path: Path) -> Iterator[DeadLetterQueue]:
    """Dead letters of scenes 1 to 4 of DEST, the last one the newest, and of 5, which can't be sent again."""
    clock = Clock()
    with closing(DeadLetterQueue(tmp_path, clock=clock)) as opened:
        for scene in (1, 2, 3, 4):
            clock.now = START + scene
            bury(opened, scene)
        bury(opened, 5, destination="")
        yield opened


def bury(dlq: DeadLetterQueue, scene: int, destination: str = DEST) -> int:
    """Makes a dead letter of a scene."""
    return dlq.add(Delivery(scene, destination, scene, "update", (), scene, START), ERROR, 1)


def shown(dlq: DeadLetterQueue) -> str:
    """The states of scenes 1 to 4: d(ead), a(sked), b(ack), r(esolved), x discarded; w: dead and waits.

    As the worker's next step leaves them.
    """
    dlq.asked()
    with closing(sqlite3.connect(dlq.path)) as conn:
        rows = conn.execute(
            "SELECT state, waiting.id FROM dead_letters LEFT JOIN waiting USING (id) "
            "WHERE scene_id < 5 ORDER BY scene_id"
        )
        letters = {"discarded": "x"}
        return "".join(
            "w" if state == "dead" and waits_for else letters.get(state, state[0]) for state, waits_for in rows
        )


def test_the_newest_is_asked_for_first(dlq: DeadLetterQueue) -> None:
    """The newest one that can be sent again goes first; the others are still open, and wait."""
    assert dlq.ask_carefully(ALL) == (4, 3)
    assert shown(dlq) == "wwwa"
    assert [one.scene_id for one in dlq.asked()] == [4]
    assert dlq.get_count() == 5


def test_the_first_id_that_can_be_sent_goes_first(dlq: DeadLetterQueue) -> None:
    """With ids, the order of the ids counts."""
    ids = [dlq.find("", 5), dlq.find(DEST, 2), dlq.find(DEST, 3)]
    assert dlq.ask_carefully(Selection([one[0] for one in ids if one is not None])) == (2, 1)
    assert shown(dlq) == "dawd"


def test_nothing_to_send_asks_for_nothing(dlq: DeadLetterQueue) -> None:
    """A selection in which nothing can be sent again changes nothing."""
    assert dlq.ask_carefully(Selection(deleted=[DEST])) == (None, 0)
    assert dlq.ask_carefully(Selection([])) == (None, 0)
    assert shown(dlq) == "dddd"


def first(dlq: DeadLetterQueue) -> int:
    """The id of scene 4's dead letter, which goes first."""
    found = dlq.find(DEST, 4)
    assert found is not None
    return found[0]


ENDS: dict[str, tuple[Callable[[DeadLetterQueue], object], str]] = {
    "delivered": (lambda dlq: dlq.resolve(DEST, 4, delivered=True), "aaar"),
    "skipped or superseded": (lambda dlq: dlq.resolve(DEST, 4, delivered=False), "dddr"),
    "failed again": (lambda dlq: bury(dlq, 4), "dddd"),
    "can't be sent": (lambda dlq: dlq.set_state(first(dlq), "dead"), "dddd"),
    "discarded": (lambda dlq: dlq.discard(Selection([first(dlq)])), "dddx"),
    "its connection is deleted": (lambda dlq: dlq.end_waiting(DEST), "ddda"),
    "another connection is deleted": (lambda dlq: dlq.end_waiting("plex"), "wwwa"),
    "on its way": (lambda dlq: dlq.set_state(first(dlq), "back"), "wwwb"),
    "heal": (lambda dlq: dlq.end_waiting(), "wwwa"),
    "retried at once": (lambda dlq: dlq.ask(), "aaaa"),
    "recalled": (lambda dlq: dlq.recall(DEST, [1], 0), "awwa"),
}


@pytest.mark.parametrize("how", ENDS)
def test_what_becomes_of_the_rest(dlq: DeadLetterQueue, how: str) -> None:
    """Only a delivery of the first one sends the rest; any other end leaves it as it was before."""
    dlq.ask_carefully(ALL)
    end, states = ENDS[how]
    end(dlq)
    assert shown(dlq) == states
    dlq.end_waiting()
    assert shown(dlq) == states


def test_the_rest_is_asked_for_also_when_the_first_one_was_back(dlq: DeadLetterQueue) -> None:
    """The usual case: it is in the queue again, and then it is delivered."""
    dlq.ask_carefully(ALL)
    dlq.set_state(first(dlq), "back")
    dlq.resolve(DEST, 4, delivered=True)
    assert shown(dlq) == "aaar"


def test_a_first_one_that_is_deleted_holds_nothing(dlq: DeadLetterQueue) -> None:
    """However its row is deleted, the others don't wait for it."""
    dlq.ask_carefully(ALL)
    with closing(sqlite3.connect(dlq.path)) as conn, conn:
        conn.execute("DELETE FROM dead_letters WHERE scene_id = 4")
    assert shown(dlq) == "ddd"


def test_one_that_waits_can_be_discarded_and_restored(dlq: DeadLetterQueue) -> None:
    """What is discarded isn't sent when the first one is delivered, and is just dead when it is restored."""
    dlq.ask_carefully(ALL)
    second = dlq.find(DEST, 2)
    assert second is not None
    batch = dlq.discard(Selection([second[0]]))
    assert shown(dlq) == "wxwa"
    dlq.resolve(DEST, 4, delivered=True)
    assert shown(dlq) == "axar"
    dlq.restore(batch.at)
    assert shown(dlq) == "adar"


@pytest.mark.parametrize(
    ("outcome", "states"), [("sent", "aaar"), ("absent", "dddr"), ("filtered", "dddr"), (None, "wwwa")]
)
@pytest.mark.parametrize("kill", [False, True])
def test_a_kill_after_the_delivery_ended(
    dlq: DeadLetterQueue, tmp_path: Path, outcome: Outcome | None, states: str, kill: bool
) -> None:
    """What the worker couldn't write before it died, the next one finds in the ledger."""
    dlq.ask_carefully(ALL)
    with closing(SceneQueue(tmp_path, clock=Clock())) as queue:
        (dead_letter,) = dlq.asked()
        transfer.redrive(queue, dlq, dead_letter, START)
        assert shown(dlq) == "wwwb"
        if kill:
            dlq.set_state(dead_letter.id, "asked")
            transfer.heal(queue, dlq)
            assert shown(dlq) == "wwwb"
        newer = queue.next_seq()
        with queue.transaction():
            queue.discard(DEST, 100)
            if outcome:
                ledger.write(queue.connection, Sent(DEST, 4, newer, "", START, "/a", outcome))
        transfer.heal(queue, dlq)
    assert shown(dlq) == states


def test_something_newer_that_was_sent_before_sends_no_rest(dlq: DeadLetterQueue, tmp_path: Path) -> None:
    """An edit that was delivered before the retry says nothing about the scenes that wait."""
    dlq.ask_carefully(ALL)
    with closing(SceneQueue(tmp_path, clock=Clock())) as queue:
        newer = queue.next_seq()
        with queue.transaction():
            ledger.write(queue.connection, Sent(DEST, 4, newer, "", START, "/a", "sent"))
        (dead_letter,) = dlq.asked()
        assert not transfer.redrive(queue, dlq, dead_letter, START)
    assert shown(dlq) == "dddr"


def test_a_kill_between_the_two_changes_of_a_careful_retry(
    dlq: DeadLetterQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first one and the rest change in one transaction, and so do its end and the rest."""
    monkeypatch.setattr(dlq_statements, "ASK", "SELECT no_such_column FROM dead_letters")
    with pytest.raises(sqlite3.OperationalError):
        dlq.ask_carefully(ALL)
    assert shown(dlq) == "dddd"
    monkeypatch.undo()
    dlq.ask_carefully(ALL)
    monkeypatch.setattr(dlq_statements, "SET_STATE", "SELECT no_such_column FROM dead_letters")
    with pytest.raises(sqlite3.OperationalError):
        dlq.resolve(DEST, 4, delivered=True)
    assert shown(dlq) == "wwwa"


def test_a_file_that_was_replaced_waits_for_nothing(dlq: DeadLetterQueue, tmp_path: Path) -> None:
    """What is taken over into another file gets other ids, so the rest is just dead there."""
    dlq.ask_carefully(ALL)
    replaced.keep(dlq.opened(), tmp_path / files.DLQ_DB)
    dlq.close()
    for file in tmp_path.glob(f"{files.DLQ_DB}*"):
        if replaced.FORMER not in file.name:
            file.unlink()
    with closing(SceneQueue(tmp_path)) as queue, closing(DeadLetterQueue(tmp_path)) as new:
        bury(new, 9)
        replaced.take_over(queue, new)
        assert shown(new) == "ddda"


def test_many_are_asked_for_in_many_steps(dlq: DeadLetterQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker asks for some of the rest at a time; until then a person can still discard them."""
    monkeypatch.setattr(dlq_module, "ASKED_ROWS", 1)
    dlq.ask_carefully(ALL)
    dlq.resolve(DEST, 4, delivered=True)
    listed = {one.scene_id: (one.state, one.waits_for) for one in dlq.get_recent(9)}
    assert listed == {1: ("dead", 0), 2: ("dead", 0), 3: ("dead", 0), 5: ("dead", None)}
    dlq.end_waiting()
    dlq.asked()
    second = dlq.find(DEST, 2)
    assert second is not None
    dlq.discard(Selection([second[0]]))
    assert shown(dlq) == "axar"


@pytest.mark.parametrize("doing", ["ask_carefully", "end"])
def test_many_hold_nobody_up(dlq: DeadLetterQueue, doing: str) -> None:
    """A careful retry of many rewrites none of them, and neither does the delivery of the first one."""
    with closing(sqlite3.connect(dlq.path)) as conn, conn:
        conn.execute("UPDATE dead_letters SET stack_trace = ?", ("x" * 500_000,))
    if doing == "end":
        dlq.ask_carefully(ALL)
    dlq.opened().execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    if doing == "end":
        dlq.end(first(dlq), delivered=True)
    else:
        dlq.ask_carefully(ALL)
    assert dlq.path.with_name(f"{files.DLQ_DB}-wal").stat().st_size < 1_500_000  # one of them is
