"""A clock that is wrong before or after a restart: nothing waits for a year, nothing is deleted early."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from stash_courier.queue.inbox import files, schema
from stash_courier.worker import heartbeat
from tests import ROOT
from tests.standin.receivers import Receiver, Reply
from tests.standin.stash.server import StandInStash
from tests.support.fast_forward import FastForward
from tests.support.harness import PLUGIN

DAY = 86_400.0
YEAR = 365 * DAY
WAIT = 300.0  # seconds, by the retry schedule


@pytest.fixture
def stash(tmp_path: Path) -> Iterator[StandInStash]:
    with StandInStash(9, config_dir=tmp_path / "config") as running:
        running.install_plugin(ROOT)
        yield running


@pytest.mark.parametrize("behind", [False, True], ids=["wrong boot", "wrong boot that is corrected while it runs"])
def test_a_boot_with_a_wrong_clock_delays_nothing_for_a_year(
    tmp_path: Path, stash: StandInStash, receiver: Receiver, behind: bool
) -> None:
    """A delivery that failed, and a destination that was held, are tried again within their usual waits."""
    stash.config.plugins[PLUGIN] = {
        "webhook_url": receiver.url,
        "worker_schedule": f"{WAIT:.0f}s",
        "worker_sweep_off": True,
    }
    receiver.answer = lambda _: Reply(503)
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
        ((due,),) = courier.queue.connection.execute(f"SELECT due FROM {schema.DELIVERIES}").fetchall()
        assert due <= courier.wall


@pytest.mark.parametrize("silence", [YEAR, -YEAR], ids=["a year later", "a year earlier"])
def test_nothing_is_deleted_while_the_clock_may_be_wrong(tmp_path: Path, silence: float) -> None:
    """After a week without a heartbeat dead letters stay until workers have run for a day in all."""
    assert heartbeat.beat(tmp_path, 0.0) == 0.0
    path = tmp_path / files.WORKER_STATUS
    stored = json.loads(path.read_text())
    path.write_text(json.dumps({**stored, "heartbeat_at": stored["heartbeat_at"] - silence}))
    assert heartbeat.beat(tmp_path, 0.0) == DAY
    assert heartbeat.beat(tmp_path, 0.0, 3600.0) == DAY - 3600.0
    assert heartbeat.beat(tmp_path, 0.0) == DAY - 3600.0
    assert heartbeat.beat(tmp_path, 0.0, DAY) == 0.0


@pytest.mark.parametrize("jump", [-3600.0, 3600.0])
def test_a_jump_of_the_clock_strands_and_floods_nothing(tmp_path: Path, stash: StandInStash, jump: float) -> None:
    """After a jump of the clock by an hour a retry still comes after its five minutes."""
    with Receiver(Reply(500)) as receiver, FastForward(tmp_path / "data", stash) as courier:
        stash.config.plugins[PLUGIN] = {"webhook_url": receiver.url, "worker_schedule": "5m"}
        courier.put(1)
        courier.run(lambda: len(receiver.received) == 1)
        courier.run(seconds=10.0)
        courier.wall += jump
        waited = courier.run(lambda: len(receiver.received) == 2)
        assert 280.0 < waited + 10.0 < 320.0
