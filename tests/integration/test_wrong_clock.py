"""A clock that is wrong before or after a restart: nothing waits for a year, nothing is deleted early."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from stash_courier.queue.dead_letters.dlq import DeadLetterQueue
from stash_courier.queue.inbox import files, schema
from stash_courier.queue.jobs import CorruptRow
from stash_courier.worker import heartbeat
from tests import ROOT
from tests.standin.receivers import Receiver, Reply
from tests.standin.stash.server import StandInStash
from tests.support.fast_forward import FastForward
from tests.support.harness import PLUGIN, Courier, wait_until

DAY = 86_400.0
YEAR = 365 * DAY
WAIT = 300.0  # seconds, by the retry schedule


@pytest.fixture
def stash(tmp_path: Path) -> Iterator[StandInStash]:
    with StandInStash(9, config_dir=tmp_path / "config") as running:
        running.install_plugin(ROOT)
        yield running


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running


@pytest.mark.parametrize("status", [409, 503])
@pytest.mark.parametrize("behind", [False, True], ids=["wrong boot", "wrong boot that is corrected while it runs"])
def test_a_boot_with_a_wrong_clock_delays_nothing_for_a_year(
    tmp_path: Path, stash: StandInStash, receiver: Receiver, status: int, behind: bool
) -> None:
    """A delivery that failed, and a destination that was held, are tried again within their usual waits."""
    stash.config.plugins[PLUGIN] = {
        "webhook_url": receiver.url,
        "worker_schedule": f"{WAIT:.0f}s",
        "worker_sweep_off": True,
    }
    receiver.answer = lambda _: Reply(status)
    courier = FastForward(tmp_path / "data", stash)
    right = courier.wall
    courier.wall += 0.0 if behind else YEAR
    with courier:
        courier.put(1)
        courier.run(lambda: bool(receiver.received) and not courier.dispatcher.busy())
        courier.run(seconds=60.0)
    receiver.answer = lambda _: Reply()
    courier.wall = right - (YEAR if behind else 0.0)
    with courier:
        if behind:
            courier.step()
            courier.wall += YEAR
        courier.run(courier.queue.empty, seconds=2 * WAIT)
        assert courier.queue.empty()


def test_an_edit_during_a_delivery_waits_for_no_wrong_clock(tmp_path: Path, stash: StandInStash) -> None:
    """The due time of an edit that came in during a delivery is corrected too."""
    courier = FastForward(tmp_path / "data", stash)
    with courier:
        courier.queue.route([], {})
    with closing(sqlite3.connect(courier.folder / files.QUEUE_DB)) as conn, conn:
        conn.execute(
            f"INSERT INTO {schema.DELIVERIES} (data, timestamp, status, destination, scene_id, event, seq, taken, "
            "due, later_event, later_changed, later_data, later_at, later_due) "
            "VALUES (?1, 1.0, 2, 'webhook:x', 1, 'update', 2, 1, 1.0, 'update', '', ?1, 1.0, ?2)",
            ('{"path": "", "oshash": "", "checksum": ""}', courier.wall + YEAR),
        )
    with courier:
        due, _ = courier.queue.next_due("webhook:x")
        assert due is not None
        assert due <= courier.wall


@pytest.fixture
def courier(tmp_path: Path, receiver: Receiver) -> Iterator[Courier]:
    with Courier(tmp_path, {"webhook_url": f"{receiver.url}/hook", "worker_sweep_off": True}) as running:
        running.data.mkdir(parents=True, exist_ok=True)
        yield running


def beats(courier: Courier, age: float, **more: object) -> None:
    """Writes the heartbeat of a worker that ended."""
    at = time.time() - age
    said = {"pid": 1, "version": "0", "started_at": at, "heartbeat_at": at, **more}
    (courier.data / files.WORKER_STATUS).write_text(json.dumps(said))


@pytest.mark.parametrize(
    ("age", "more", "deletes"),
    [(60.0, {}, True), (YEAR, {}, False), (-YEAR, {}, False), (60.0, {"purge_in": 5000.0}, False)],
    ids=["soon after", "a year later", "a year earlier", "a second start with a wrong clock"],
)
def test_nothing_is_deleted_while_the_clock_may_be_wrong(
    courier: Courier, receiver: Receiver, age: float, more: dict[str, object], deletes: bool
) -> None:
    """After more than a week without a heartbeat, reviewed dead letters stay until workers have run for a day."""
    beats(courier, age, **more)
    dlq = DeadLetterQueue(courier.data, clock=lambda: time.time() - 100 * DAY)
    dlq.mark_reviewed([dlq.add(CorruptRow(1, "", 0, b"", "made up"), ValueError("made up"), 0)])
    courier.stash.edit(1, title="Starts the worker")
    receiver.wait_for(1)
    courier.stash.edit(2, title="When it has done its chores")
    receiver.wait_for(2)
    if deletes:
        wait_until(lambda: dlq.get_count() == 0, 10.0)
    assert dlq.get_count() == (not deletes)
    dlq.close()


def test_the_day_of_running_counts_across_restarts(tmp_path: Path) -> None:
    """A worker counts down what the one before it had left, and a new silence starts it again."""
    heartbeat.beat(tmp_path, 0.0)
    path = tmp_path / files.WORKER_STATUS
    stored = json.loads(path.read_text())
    path.write_text(json.dumps({**stored, "heartbeat_at": stored["heartbeat_at"] - YEAR}))
    assert heartbeat.beat(tmp_path, 0.0) == DAY
    assert heartbeat.beat(tmp_path, 0.0, 3600.0) == DAY - 3600.0
    assert heartbeat.beat(tmp_path, 0.0) == DAY - 3600.0
    assert heartbeat.beat(tmp_path, 0.0, DAY) == 0.0
    assert json.loads(path.read_text())["pid"] == os.getpid()
