"""Moves between the queue and the dead letters, and what heals a move that a kill ended. See test_kills.py."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from stash_courier.queue import control, transfer
from stash_courier.queue.dead_letters import dlq as dlq_module
from stash_courier.queue.dead_letters.dlq import DAY
from stash_courier.queue.history import ledger, receipts
from stash_courier.queue.history.ledger import Sent
from stash_courier.queue.inbox import files
from stash_courier.queue.jobs import CorruptRow
from tests import ROOT
from tests.standin.stash.server import StandInStash
from tests.support import transfers
from tests.support.durable import DEST, START, event
from tests.support.fast_forward import FastForward
from tests.support.harness import PLUGIN
from tests.support.transfers import ERROR, SCENE, opened, route


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


@pytest.mark.parametrize(
    ("before", "in_queue", "state"),
    [(transfers.half_buried, 0, "dead"), (transfers.half_redriven, 1, "back"), (transfers.redriven, 1, "back")],
)
def test_heal_ends_what_a_kill_interrupted(
    tmp_path: Path, before: Callable[[Path], None], in_queue: int, state: str
) -> None:
    """What a move left in both files is in one of them, with a receipt if that is the dead letters."""
    before(tmp_path)
    transfers.do_heal(tmp_path)
    with opened(tmp_path) as both:
        assert (both.queue.size, [found for found, _ in both.dead_letters()]) == (in_queue, [state])
        receipt = receipts.find(both.queue.connection, DEST, SCENE)
        assert receipt is not None
        assert receipt.outcome == "dead"


def test_a_start_reads_dead_letters_in_transit_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many are on their way, heal holds a page of them at a time, and leaves out none."""
    monkeypatch.setattr(dlq_module, "PAGE_ROWS", 2)
    with opened(tmp_path) as both:
        route(both.queue, *(event(scene) for scene in range(1, 6)))
        both.bury()
        both.dlq.ask()
        statements: list[str] = []
        both.dlq.opened().set_trace_callback(statements.append)
        transfer.heal(both.queue, both.dlq)
        both.dlq.opened().set_trace_callback(None)
        pages = [one for one in statements if one.startswith("SELECT") and "state = 'asked' AND id >" in one]
        assert len(pages) == 4  # two full ones, one that isn't, and an empty one
        assert all(one.endswith("LIMIT 2") for one in pages)
        assert [found.state for found in both.dlq.get_recent()] == ["asked"] * 5


@pytest.mark.parametrize("job", [{}, {"raw": b"\x00", "seq": 5}, {"changed": 5}, {"changed": [5]}, None])
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
