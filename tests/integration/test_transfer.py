"""Invariant 2: a kill at any durable system call leaves each delivery in the queue or in the dead letters.

Each case makes a data folder and runs one act on it in another process, which is killed at one call after another.
Then it starts like a worker (heal, recover) and checks where the deliveries are.
"""

from __future__ import annotations

import sqlite3
import tracemalloc
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from stash_courier.queue import control, transfer, troubles
from stash_courier.queue.dead_letters.dlq import DAY
from stash_courier.queue.history import ledger, receipts
from stash_courier.queue.history.ledger import Sent
from stash_courier.queue.inbox import files, schema
from stash_courier.queue.jobs import CorruptRow
from tests import ROOT
from tests.standin.stash.server import StandInStash
from tests.support import transfers
from tests.support.durable import DEST, HOOK, START, change, event, inbox, run_hook, spooled
from tests.support.fast_forward import FastForward
from tests.support.harness import PLUGIN
from tests.support.kill import doing, needs_strace, sweep
from tests.support.transfers import ERROR, SCENE, opened, route


def copies(folder: Path) -> int:
    """Starts like a worker and counts the scene's deliveries and open dead letters."""
    transfers.do_heal(folder)
    with opened(folder) as both:
        open_states = [state for state, _ in both.dead_letters() if state in {"dead", "asked"}]
        return both.queue.size + len(open_states)


@needs_strace
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


@needs_strace
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


@needs_strace
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


@needs_strace
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


@needs_strace
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


@needs_strace
def test_routed_or_still_an_event(tmp_path: Path) -> None:
    """After a kill during routing, all events are in the inbox or all are deliveries."""
    (folder := tmp_path / "before").mkdir()
    transfers.unrouted(folder)
    for kill in sweep(folder, tmp_path, doing("route")):
        with opened(kill.folder) as both:
            assert (both.queue.inbox_count(), both.queue.size) in {(3, 4), (0, 3)}, kill
            both.queue.route(both.queue.inbox_rows(), dict.fromkeys([DEST], 0.0))
            assert {delivery.scene_id for delivery in both.claim()} == {SCENE, 6, 7}


@needs_strace
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


@needs_strace
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


@needs_strace
@pytest.mark.parametrize(
    ("before", "act"), [(transfers.flying, "bury_wrongly"), (transfers.asked, "redrive_wrongly")]
)
def test_the_wrong_order_is_noticed(tmp_path: Path, before: Callable[[Path], None], act: str) -> None:
    """If a move clears its source before it writes its target, these tests notice the loss."""
    (folder := tmp_path / "before").mkdir()
    before(folder)
    assert 0 in {copies(kill.folder) for kill in sweep(folder, tmp_path, doing(act))}


def test_burying_twice_is_one_dead_letter(tmp_path: Path) -> None:
    """A delivery that fails again after its redrive is the same dead letter."""
    transfers.asked(tmp_path)
    with opened(tmp_path) as both:
        both.redrive()
        both.bury()
        assert [state for state, _ in both.dead_letters()] == ["dead"]
        (summary,) = both.dlq.get_recent()
        dead_letter = both.dlq.get_by_id(summary.id)
        assert dead_letter is not None
        assert dead_letter.generation == 3
        assert both.queue.empty()


def test_a_superseded_dead_letter_is_resolved(tmp_path: Path) -> None:
    """If the scene was sent since in a newer state, its dead letter is resolved and not sent again."""
    transfers.asked_and_newer(tmp_path)
    with opened(tmp_path) as both:
        (delivery,) = both.claim()
        with both.queue.transaction():
            both.queue.done(delivery)
            ledger.write(both.queue.connection, Sent(DEST, SCENE, delivery.seq, "", START, "/a", "sent"))
        both.redrive()
        assert both.queue.empty()
        assert [state for state, _ in both.dead_letters()] == ["resolved"]


@pytest.mark.parametrize(
    ("dead_letter", "row", "both_are"),
    [
        ("create", "destroy", "destroy"),
        ("update", "destroy", "destroy"),
        ("create", "update", "create"),
        ("destroy", "create", "create"),
    ],
)
def test_a_dead_letter_is_older_than_what_waits(tmp_path: Path, dead_letter: str, row: str, both_are: str) -> None:
    """A redriven dead letter counts as older than events that wait: it doesn't bring back a destroyed scene."""
    with opened(tmp_path) as both:
        route(both.queue, event(SCENE, dead_letter))
        both.bury()
        both.dlq.ask()
        route(both.queue, event(SCENE, row, path="/media/a.mp4" if row == "destroy" else ""))
        both.redrive()
        (delivery,) = both.claim()
        assert delivery.event == both_are
        assert delivery.path == ("/media/a.mp4" if row == "destroy" else "")


def test_an_unsendable_dead_letter_stays(tmp_path: Path) -> None:
    """A dead letter whose scene is unknown stays one, even if it is asked for."""
    with opened(tmp_path) as both:
        both.queue.put_many([b"{"])
        (row,) = both.queue.inbox_rows()
        assert isinstance(row, CorruptRow)
        dead_letter = both.dlq.add(row, ValueError(row.reason), 0)
        assert both.dlq.ask() == 0
        both.dlq.set_state(dead_letter, "asked")
        both.redrive()
        assert [summary.state for summary in both.dlq.get_recent()] == ["dead"]


def test_a_redrive_stores_a_forgotten_destination_as_removed(tmp_path: Path) -> None:
    """A dead letter of a forgotten destination waits like other deliveries of removed destinations."""
    transfers.asked(tmp_path)
    with opened(tmp_path) as both:
        assert control.states(both.queue.connection) == {}
        both.redrive()
        assert control.states(both.queue.connection) == {DEST: {"removed_at": START}}


def test_a_redrive_keeps_the_state_of_a_known_destination(tmp_path: Path) -> None:
    """A redrive doesn't change the state of a destination that is known."""
    transfers.asked(tmp_path)
    with opened(tmp_path) as both:
        control.put_state(both.queue.connection, DEST, {"state": "ill", "since": START})
        both.redrive()
        assert control.states(both.queue.connection) == {DEST: {"state": "ill", "since": START}}
        assert len(both.claim()) == 1


def test_a_redrive_for_a_forgotten_destination_ends(tmp_path: Path) -> None:
    """A dead letter that was sent again to a removed destination is a dead letter again after 30 days."""
    (folder := tmp_path / "data").mkdir()
    transfers.asked(folder)
    with StandInStash(9, config_dir=tmp_path / "config") as stash:
        stash.install_plugin(ROOT)
        stash.config.plugins[PLUGIN] = {"webhook_url": "http://127.0.0.1:9/", "worker_sweep_off": True}
        with FastForward(folder, stash) as courier:
            courier.run(lambda: courier.queue.size == 1)
        for days, left in ((29, 1), (31, 0)):
            later = FastForward(folder, stash)  # a worker that knows only what is in the files
            later.wall += days * DAY
            with later as courier:
                courier.run(seconds=60.0)
                assert (courier.queue.size, courier.dlq.get_count()) == (left, 1 - left)
                assert [dead_letter.error_type for dead_letter in courier.dlq.get_recent()] == (
                    [] if left else ["RemovedDestinationError"]
                )


def test_a_start_takes_no_memory_for_dead_letters_in_transit(tmp_path: Path) -> None:
    """A hundred thousand dead letters in transit are checked a thousand at a time."""
    many = 50_000
    numbers = "WITH RECURSIVE numbers (n) AS (VALUES (:first) UNION ALL SELECT n + 1 FROM numbers LIMIT :many)"
    with opened(tmp_path) as both:
        route(both.queue, event(SCENE))
        both.bury()
        with closing(sqlite3.connect(tmp_path / files.DLQ_DB)) as conn, conn:
            names = [row[1] for row in conn.execute("PRAGMA table_info(dead_letters)")]
            changed = {"id": "NULL", "scene_id": "n", "state": ":state", "job_data": "zeroblob(100)"}
            conn.executemany(
                f"{numbers} INSERT INTO dead_letters SELECT "
                f"{', '.join(changed.get(name, name) for name in names)} "
                "FROM dead_letters, numbers WHERE scene_id = :scene",
                [
                    {"first": first, "many": many, "state": state, "scene": SCENE}
                    for state, first in (("asked", 1000), ("back", 1000 + many))
                ],
            )
        with both.queue.transaction():
            both.queue.connection.execute(
                f"{numbers} INSERT INTO {schema.DELIVERIES} (status, destination, scene_id, data, timestamp, "
                "event, changed, seq, due, generation) "
                "SELECT 0, :name, n, '{}', 0, 'update', '', 1, 0, 9 FROM numbers",
                {"first": 1000 + many, "many": many, "name": DEST},
            )
        tracemalloc.start()
        try:
            transfer.heal(both.queue, both.dlq)
            assert tracemalloc.get_traced_memory()[1] < 3 << 20
        finally:
            tracemalloc.stop()
        with closing(sqlite3.connect(tmp_path / files.DLQ_DB)) as conn:
            states = dict(conn.execute("SELECT state, count(*) FROM dead_letters GROUP BY state").fetchall())
        assert states == {"dead": 1, "asked": many, "back": many}


@pytest.mark.parametrize("job", [{}, {"raw": b"\x00", "seq": 5}, None])
def test_a_dead_letter_without_a_readable_job_can_be_sent_again(
    tmp_path: Path, job: dict[str, object] | None
) -> None:
    """A row that could not be decoded, and a job that was not loaded, name a scene: its current state is sent."""
    transfers.asked(tmp_path)
    with opened(tmp_path) as both:
        (dead_letter,) = both.dlq.asked()
        assert transfer.redrive(both.queue, both.dlq, replace(dead_letter, job=job, event="unknown"), START)
        (delivery,) = both.claim()
        assert (delivery.scene_id, delivery.event) == (SCENE, "update")


def test_a_damaged_dead_letter_file_keeps_the_delivery(tmp_path: Path) -> None:
    """If the dead letter can't be written, the delivery stays in the queue."""
    transfers.flying(tmp_path)
    (tmp_path / files.DLQ_DB).write_bytes(b"no database")
    with opened(tmp_path) as both:
        (delivery,) = both.queue.in_flight()
        with pytest.raises(sqlite3.DatabaseError, match="not a database"):
            transfer.bury(both.queue, both.dlq, delivery, ERROR, now=START)
        assert both.queue.in_flight() == [delivery]
