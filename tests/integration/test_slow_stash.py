"""A Stash that takes long for each scene, or never answers for one of them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import ROOT
from tests.standin.receivers import Receiver
from tests.standin.stash.server import StandInStash
from tests.support.fast_forward import FastForward
from tests.support.harness import PLUGIN, Courier, wait_until

SCENES = 50


@pytest.fixture
def stash(tmp_path: Path, receiver: Receiver) -> Iterator[StandInStash]:
    with StandInStash(SCENES + 1, config_dir=tmp_path / "config") as running:
        running.install_plugin(ROOT)  # no hook fires here: it is there to be enabled
        running.config.plugins[PLUGIN] = {"webhook_url": receiver.url, "worker_sweep_off": True}
        yield running


def arrived(receiver: Receiver) -> set[int]:
    """The scenes that a receiver got."""
    return {int(received.json()["data"]["id"]) for received in receiver.received}


@pytest.mark.check
@pytest.mark.timeout(150)
def test_fifty_scenes_of_a_slow_stash_arrive_and_status_says_why_it_takes_long(
    tmp_path: Path, receiver: Receiver
) -> None:
    """Stash takes 0.7 s for a scene, so 50 would take longer than a request may. All arrive nevertheless."""
    with Courier(tmp_path, {"webhook_url": receiver.url, "worker_sweep_off": True}, scenes=SCENES) as courier:
        courier.stash.edit(1, title="Starts the worker")
        receiver.wait_for(1)
        courier.stash.faults.scene_delay = 0.7
        courier.stash.operation({"mode": "enqueue_all"})
        receiver.wait_for(1 + 3, timeout=30.0)
        status = courier.stash.operation({"mode": "status"})
        began = time.monotonic()
        wait_until(lambda: len(arrived(receiver)) == SCENES, 90.0)
        assert time.monotonic() - began < 60.0
        courier.drained()
        assert courier.dead() == 0
    assert status["stash_slow"] == pytest.approx(0.7, abs=0.3)
    assert any(line.startswith("Stash: slow. It last took 0.") for line in status["lines"])


@pytest.mark.check
def test_a_stash_that_cannot_answer_in_time_is_asked_for_fewer(
    tmp_path: Path, stash: StandInStash, receiver: Receiver
) -> None:
    """Requests that are not answered in time become smaller, down to a single scene."""
    stash.faults.scene_delay = 0.7
    with FastForward(tmp_path / "data", stash, timeout=1.0) as courier:
        for scene_id in range(1, 9):
            courier.put(scene_id)
        courier.run(courier.queue.empty)
        assert courier.dispatcher.poller.available
        stash.faults.clear()
        for scene_id in range(1, SCENES + 1):
            courier.put(scene_id)
        before = stash.requests.total
        courier.run(courier.queue.empty)
    assert arrived(receiver) == set(range(1, SCENES + 1))
    assert len(receiver.received) == 8 + SCENES
    assert stash.requests.total - before <= 10  # it grows again


@pytest.mark.check
def test_a_scene_for_which_stash_hangs_stops_no_other(
    tmp_path: Path, stash: StandInStash, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    """Stash hangs at one scene of ten and fails at another. The others arrive, later edits too. Those two wait."""
    caplog.set_level("INFO")
    stash.faults.slow_ids, stash.faults.broken_ids = {5}, {6}
    with FastForward(tmp_path / "data", stash, timeout=0.5) as courier:
        for scene_id in range(1, 11):
            courier.put(scene_id)
        courier.run(lambda: len(arrived(receiver)) == 8)
        for scene_id in range(11, 21):
            courier.put(scene_id)
        courier.run(lambda: len(arrived(receiver)) == 18)
        courier.run(seconds=3600.0)
        assert courier.dispatcher.poller.available
        assert courier.queue.size == 2
        assert "failed: Stash doesn't answer for scene 5 within 0.5 s" in caplog.text
        stash.faults.clear()
        courier.run(courier.queue.empty)
        assert courier.dlq.get_count() == 0
    assert len(receiver.received) == 20


@pytest.mark.check
def test_a_stash_that_hangs_is_away(tmp_path: Path, stash: StandInStash, receiver: Receiver) -> None:
    """If Stash answers nothing any more, no scene is at fault."""
    with FastForward(tmp_path / "data", stash, timeout=0.5) as courier:
        courier.put(1)
        courier.run(courier.queue.empty)
        stash.faults.hang = True
        for scene_id in range(2, 11):
            courier.put(scene_id)
        courier.run(lambda: not courier.dispatcher.poller.available)
        stash.faults.clear()
        courier.run(courier.queue.empty)
        assert courier.dlq.get_count() == 0
    assert arrived(receiver) == set(range(1, 11))
