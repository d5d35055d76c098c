"""Outages in fast-forward: they leave no dead letters, and everything is sent within a minute of their end."""

from __future__ import annotations

import itertools
import json
import random
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from stash_courier.queue import control
from stash_courier.queue.deliveries import scene_queue
from stash_courier.queue.inbox import files
from tests import ROOT
from tests.standin.receivers import Receiver, Reply
from tests.standin.stash.server import StandInStash
from tests.support.fast_forward import FastForward
from tests.support.harness import PLUGIN

HOUR = 3600.0
JOBS = 20
LASTS = HOUR / 4
OUTAGES = [("not listening", 1), ("500", 3), ("401", 1)]  # what happens, how many attempts the owner allows


@pytest.fixture(scope="module")
def stash(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandInStash]:
    with StandInStash(JOBS, config_dir=tmp_path_factory.mktemp("config")) as running:
        running.install_plugin(ROOT)  # no hook fires here: it is there to be enabled
        yield running


@pytest.mark.parametrize(("outage", "max_attempts"), OUTAGES)
def test_an_outage_leaves_no_dead_letters(
    tmp_path: Path, stash: StandInStash, outage: str, max_attempts: int
) -> None:
    """A receiver that is down misses nothing, however few attempts the owner allows."""
    with Receiver() as receiver, FastForward(tmp_path / "data", stash) as courier:
        stash.config.plugins[PLUGIN] = {"webhook_url": receiver.url, "worker_attempts": max_attempts}
        if outage == "not listening":
            receiver.down()
        else:
            receiver.answer = Reply(int(outage))
        for scene_id in range(1, JOBS + 1):
            courier.put(scene_id)
        courier.run(seconds=LASTS)
        assert courier.dlq.get_count() == 0
        assert courier.queue.size == JOBS
        if outage == "not listening":
            receiver.up()
        tried = len(receiver.received)
        receiver.answer = Reply()
        limit = 16 * 60.0 if outage == "401" else 60.0  # in the end a fault is probed every 15 minutes
        assert courier.run(courier.queue.empty) <= limit
        assert courier.dlq.get_count() == 0
        arrived = {received.json()["data"]["id"] for received in receiver.received[tried:]}
        assert arrived == {str(scene_id) for scene_id in range(1, JOBS + 1)}


def test_while_stash_is_away_nothing_is_buried(tmp_path: Path, stash: StandInStash) -> None:
    """While Stash itself is down deliveries wait, and they are sent within a minute of its return."""
    stash.config.plugins[PLUGIN] = {}
    with Receiver() as receiver, FastForward(tmp_path / "data", stash) as courier:
        stash.config.plugins[PLUGIN] = {"webhook_url": receiver.url, "worker_attempts": 1}
        courier.put(1)
        courier.run(courier.queue.empty)
        stash.stop()
        for scene_id in range(1, JOBS + 1):
            courier.put(scene_id)
        courier.run(seconds=LASTS)
        assert courier.dlq.get_count() == 0
        assert courier.queue.size == JOBS
        assert len(receiver.received) == 1
        stash.start()
        assert courier.run(courier.queue.empty) <= 60.0
        assert len(receiver.received) == JOBS + 1


def test_a_new_session_is_used_at_once(tmp_path: Path) -> None:
    """After a session has ended, a call of the page brings the next one: the worker doesn't wait for its turn."""
    with StandInStash(1, config_dir=tmp_path, credentials=("owner", "secret")) as stash:
        stash.install_plugin(ROOT)
        with FastForward(tmp_path / "data", stash) as courier:
            courier.run(seconds=600.0)
            away = control.get(courier.queue.connection, control.STASH)
            assert "401" in away["reason"]
            file = courier.folder / files.STASH
            known = json.loads(file.read_text())
            file.write_text(json.dumps({**known, "cookie": stash.sessions.make("owner")}))
            seconds = 0
            while control.get(courier.queue.connection, control.STASH) is not None:
                assert seconds < 5
                courier.jump(1.0)  # the worker looks at least this often
                seconds += 1
                courier.step()
                while courier.dispatcher.poller.awaiting:
                    courier.wakeup.wait(0.01)
                    courier.step()


def test_every_attempt_is_in_the_dead_letter(tmp_path: Path, stash: StandInStash) -> None:
    """However many attempts the owner allows, the dead letter lists each one with its answer; all have one id."""
    said = itertools.count(1)
    with Receiver() as receiver, FastForward(tmp_path / "data", stash) as courier:
        stash.config.plugins[PLUGIN] = {
            "webhook_url": receiver.url,
            "worker_attempts": 30,
            "worker_schedule": "1s",
            "worker_sweep_off": True,
        }
        receiver.answer = lambda _: Reply(500, body=f"{next(said)} ".encode() + b"x" * 2000)
        courier.put(7)
        courier.run(courier.queue.empty)
        (dead_letter,) = courier.dlq.get_recent()
        whole = courier.dlq.get_by_id(dead_letter.id)
        assert whole is not None
        assert dead_letter.retry_count == 30
        assert len({received.headers["webhook-id"] for received in receiver.received}) == 1
        assert whole.job is not None
        for history in (
            [attempt.answer for attempt in whole.history],
            [attempt["answer"] for attempt in whole.job["history"]],
        ):
            assert [int(answer.split()[0]) for answer in history] == list(range(1, 31))


def test_a_waiting_retry_blocks_nothing_behind_it(tmp_path: Path, stash: StandInStash) -> None:
    """While one scene backs off for hours, the next edit is delivered at once."""
    with Receiver() as receiver, FastForward(tmp_path / "data", stash) as courier:
        stash.config.plugins[PLUGIN] = {"webhook_url": receiver.url, "worker_schedule": "5h"}
        receiver.answer = lambda received: Reply(500 if received.json()["data"]["id"] == "1" else 200)
        courier.put(1)
        courier.run(seconds=60.0)
        courier.put(2)
        passed = courier.run(lambda: any(r.json()["data"]["id"] == "2" for r in receiver.received))
        assert passed < 1.0
        assert courier.queue.size >= 1


def test_a_queue_that_is_locked_for_a_while_strands_nothing(
    tmp_path: Path, stash: StandInStash, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program that locks the queue at any moment only delays deliveries; each still arrives."""
    monkeypatch.setattr(scene_queue, "BUSY_SECONDS", 0.01)
    with Receiver() as receiver, FastForward(tmp_path / "data", stash) as courier:
        stash.config.plugins[PLUGIN] = {"webhook_url": receiver.url}
        intruder = sqlite3.connect(tmp_path / "data" / "queue.db", isolation_level=None, timeout=5.0)
        chances = random.Random(7)
        try:
            for scene_id in range(1, JOBS + 1):
                courier.put(scene_id)
                for _ in range(3):
                    if chances.random() < 0.4:
                        intruder.execute("BEGIN IMMEDIATE")
                    courier.dispatcher.step()
                    courier.wakeup.wait(0.002)
                    courier.dispatcher.step()
                    if intruder.in_transaction:
                        intruder.execute("COMMIT")
            courier.run(courier.queue.empty)
        finally:
            intruder.close()
        assert {r.json()["data"]["id"] for r in receiver.received} == {str(n) for n in range(1, JOBS + 1)}
        assert courier.dlq.get_count() == 0


def test_a_claim_that_could_not_be_put_back_is_recovered(
    tmp_path: Path, stash: StandInStash, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If Stash fails while the queue is locked, the claimed delivery is still delivered."""
    monkeypatch.setattr(scene_queue, "BUSY_SECONDS", 0.01)
    with Receiver() as receiver, FastForward(tmp_path / "data", stash) as courier:
        stash.config.plugins[PLUGIN] = {"webhook_url": receiver.url, "worker_sweep_off": True}
        control.put(courier.queue.connection, control.PAUSED, courier.wall)
        courier.put(1)
        courier.run(courier.queue.inbox_empty)
        stash.faults.delay = 0.1
        stash.faults.status = 500
        control.put(courier.queue.connection, control.PAUSED, None)
        courier.run(courier.dispatcher.busy)
        intruder = sqlite3.connect(tmp_path / "data" / "queue.db", isolation_level=None)
        intruder.execute("BEGIN IMMEDIATE")
        while courier.dispatcher.poller.awaiting:
            courier.wakeup.wait(1.0)
            courier.dispatcher.step()
        intruder.close()
        stash.faults.clear()
        courier.run(courier.queue.empty, seconds=600.0)
        assert [r.json()["data"]["id"] for r in receiver.received] == ["1"]


def test_three_refused_scenes_hold_the_connection_and_lose_their_dead_letters(
    tmp_path: Path, stash: StandInStash
) -> None:
    """Two dead letters are recalled when a third scene is refused; all arrive when the fault is corrected."""
    with Receiver(Reply(422)) as receiver, FastForward(tmp_path / "data", stash) as courier:
        stash.config.plugins[PLUGIN] = {"webhook_url": receiver.url, "worker_sweep_off": True}
        for scene_id, dead in ((1, 1), (2, 2), (3, 0), (4, 0), (5, 0)):
            courier.put(scene_id)
            courier.run(seconds=2.0)
            assert courier.dlq.get_count() == dead
        courier.run(seconds=HOUR)
        assert courier.dlq.get_count() == 0
        assert courier.queue.size == 5
        (pool,) = courier.dispatcher.registry.pools.values()
        assert pool.health.state == "ill"
        assert "answered 422" in pool.health.reason
        tried = len(receiver.received)
        receiver.answer = Reply()
        courier.run(courier.queue.empty)
        assert sorted(r.json()["data"]["id"] for r in receiver.received[tried:]) == ["1", "2", "3", "4", "5"]
        assert courier.dlq.get_count() == 0
