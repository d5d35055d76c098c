"""A kill at any durable system call leaves each delivery in the queue or in the dead letters.

Each case makes a data folder and runs one act on it in another process, which is killed at one call after another.
Then it starts like a worker (heal, recover) and checks where the deliveries are.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from stash_courier.queue import troubles
from stash_courier.queue.history import ledger, receipts
from stash_courier.queue.inbox import files
from tests.support import transfers
from tests.support.durable import DEST, HOOK, START, change, inbox, run_hook, spooled
from tests.support.kill import doing, needs_strace, sweep
from tests.support.transfers import ERROR, SCENE, opened

pytestmark = [pytest.mark.check, needs_strace]  # several seconds each


def copies(folder: Path) -> int:
    """Starts like a worker and counts the scene's deliveries and open dead letters."""
    transfers.do_heal(folder)
    with opened(folder) as both:
        open_states = [state for state, _ in both.dead_letters() if state in {"dead", "asked"}]
        return both.queue.size + len(open_states)


@pytest.mark.parametrize(
    ("before", "act"),
    [
        (transfers.waiting, "claim"),
        (transfers.flying, "back"),
        (transfers.overtaken, "back"),
        (transfers.overtaken, "done"),
        (transfers.flying, "bury"),
        (transfers.overtaken, "bury"),
        (transfers.redriven, "claim"),
        (transfers.asked, "redrive"),
        (transfers.half_buried, "heal"),
        (transfers.half_redriven, "heal"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_a_killed_act_loses_and_doubles_nothing(tmp_path: Path, before: Callable[[Path], None], act: str) -> None:
    """After a kill at any call, a delivery is in the queue or a dead letter, once, with its newest state."""
    (folder := tmp_path / "before").mkdir()
    before(folder)
    for kill in sweep(folder, tmp_path, doing(act)):
        assert copies(kill.folder) == 1, kill
        with opened(kill.folder) as both:
            both.dlq.ask()
            both.redrive()
            (delivery,) = both.claim()
            assert delivery.event == ("update" if act == "done" and delivery.changed == ("date",) else "create")
            if before is transfers.overtaken:
                assert "date" in delivery.changed
            assert [state for state, _ in both.dead_letters()] in ([], ["back"])


def test_a_killed_worker_tells_of_dead_letters_once_or_twice(tmp_path: Path) -> None:
    """After a kill at any call a message about dead letters waits, or the next look makes it."""
    (folder := tmp_path / "before").mkdir()
    transfers.unreported(folder)
    for kill in sweep(folder, tmp_path, doing("report")):
        transfers.do_heal(kill.folder)
        transfers.do_report(kill.folder)
        with opened(kill.folder) as both:
            (message,) = both.claim()
            assert both.dlq.unreported() == []
        _, _, about = troubles.message(message.notice)
        assert about["count"] in {3, 6}, kill
        assert about["connection_id"] == "other"


def test_a_redriven_dead_letter_joins_what_is_newer(tmp_path: Path) -> None:
    """A kill during a redrive neither loses an edit that waits nor replaces it with the older event."""
    (folder := tmp_path / "before").mkdir()
    transfers.asked_and_newer(folder)
    for kill in sweep(folder, tmp_path, doing("redrive")):
        transfers.do_heal(kill.folder)
        transfers.do_redrive(kill.folder)
        with opened(kill.folder) as both:
            (delivery,) = both.claim()
            ((state, seq),) = both.dead_letters()
            assert (delivery.event, delivery.changed, state) == ("create", ("date", "title"), "back"), kill
            assert delivery.seq > seq


def test_done_with_the_ledger_or_not_at_all(tmp_path: Path) -> None:
    """After a kill while a delivery ends, either it is there or ledger, receipt and count say that it was sent."""
    (folder := tmp_path / "before").mkdir()
    transfers.flying(folder)
    for kill in sweep(folder, tmp_path, doing("done")):
        transfers.do_heal(kill.folder)
        with opened(kill.folder) as both:
            conn = both.queue.connection
            sent, receipt = ledger.find(conn, DEST, SCENE), receipts.find(conn, DEST, SCENE)
            assert both.queue.size == (0 if sent else 1), kill
            assert (receipt and receipt.outcome) == ("delivered" if sent else None), kill
            assert receipts.delivered(conn, START) == ({DEST: (1, 1)} if sent else {}), kill


@pytest.mark.parametrize(
    ("before", "act"), [(transfers.flying, "bury"), (transfers.half_buried, "heal")], ids=("bury", "heal")
)
def test_a_dead_letter_has_a_receipt(tmp_path: Path, before: Callable[[Path], None], act: str) -> None:
    """After a kill while a delivery is buried, it is still there, or its receipt says that it is a dead letter."""
    (folder := tmp_path / "before").mkdir()
    before(folder)
    for kill in sweep(folder, tmp_path, doing(act)):
        transfers.do_heal(kill.folder)
        with opened(kill.folder) as both:
            receipt = receipts.find(both.queue.connection, DEST, SCENE)
            assert both.queue.size == (0 if receipt else 1), kill
            assert (receipt and (receipt.outcome, receipt.reason)) in {None, ("dead", str(ERROR))}, kill


def test_routed_or_still_an_event(tmp_path: Path) -> None:
    """After a kill during routing, all events are in the inbox or all are deliveries."""
    (folder := tmp_path / "before").mkdir()
    transfers.unrouted(folder)
    for kill in sweep(folder, tmp_path, doing("route")):
        with opened(kill.folder) as both:
            assert (both.queue.inbox_count(), both.queue.size) in {(3, 4), (0, 3)}, kill
            both.queue.route(both.queue.inbox_rows(), dict.fromkeys([DEST], 0.0))
            assert {delivery.scene_id for delivery in both.claim()} == {SCENE, 6, 7}


@pytest.mark.parametrize("first", [True, False], ids=["first", "later"])
def test_a_killed_hook_damages_nothing(tmp_path: Path, first: bool) -> None:
    """A killed hook damages neither the queue nor other events. Stash kills hooks when a browser disconnects."""
    (folder := tmp_path / "before").mkdir()
    if not first:
        run_hook(folder, change(SCENE))
    before = len(inbox(folder))
    for kill in sweep(folder, tmp_path, lambda _: HOOK, stdin=change(6)):
        kept = [*inbox(kill.folder), *spooled(kill.folder)]
        assert [row["scene"] for row in kept] in ([SCENE] * before, [SCENE] * before + [6]), kill
        assert run_hook(kill.folder, change(7)).returncode == 0
        assert spooled(kill.folder) == []
        assert [row["scene"] for row in inbox(kill.folder)] == [row["scene"] for row in kept] + [7]


def test_a_hook_that_spools_is_killed(tmp_path: Path) -> None:
    """A hook that is killed while it writes to the spool leaves a complete event there or none."""
    (folder := tmp_path / "before").mkdir()
    (folder / files.QUEUE_DB).write_bytes(b"")
    seen = set()
    for kill in sweep(folder, tmp_path, lambda _: HOOK, stdin=change(6)):
        kept = [event["scene"] for event in spooled(kill.folder)]
        seen.add(len(kept))
        assert kept in ([], [6]), kill
    assert seen == {0, 1}


@pytest.mark.parametrize(
    ("before", "act"), [(transfers.flying, "bury_wrongly"), (transfers.asked, "redrive_wrongly")]
)
def test_the_wrong_order_is_noticed(tmp_path: Path, before: Callable[[Path], None], act: str) -> None:
    """If a move clears its source before it writes its target, these tests notice the loss."""
    (folder := tmp_path / "before").mkdir()
    before(folder)
    assert 0 in {copies(kill.folder) for kill in sweep(folder, tmp_path, doing(act))}
