"""A webhook that refuses scenes with a 4xx: one scene's fault, or the connection's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import ROOT
from tests.standin.receivers import Received, Receiver, Reply
from tests.standin.stash.server import StandInStash
from tests.support.fast_forward import FastForward
from tests.support.harness import PLUGIN, Courier, wait_until

HOUR = 3600.0


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running


@pytest.fixture
def courier(tmp_path: Path, receiver: Receiver) -> Iterator[FastForward]:
    with StandInStash(40, config_dir=tmp_path / "config") as stash:
        stash.install_plugin(ROOT)
        stash.config.plugins[PLUGIN] = {"webhook_url": receiver.url, "worker_sweep_off": True}
        with FastForward(tmp_path / "data", stash) as running:
            yield running


def arrived(receiver: Receiver) -> list[str]:
    """The scene ids that a receiver got, in order."""
    return [received.json()["data"]["id"] for received in receiver.received]


def refusing(*scenes: int) -> Callable[[Received], Reply]:
    """Refuses these scenes and accepts the others."""

    def answer(received: Received) -> Reply:
        return Reply(422 if int(received.json()["data"]["id"]) in scenes else 200)

    return answer


@pytest.mark.parametrize("status", [400, 413, 422])
def test_three_refused_scenes_hold_the_connection_and_lose_their_dead_letters(
    courier: FastForward, receiver: Receiver, status: int
) -> None:
    """Two dead letters are recalled when a third scene is refused; all arrive when the fault is corrected."""
    receiver.answer = Reply(status)
    for scene_id, dead in ((1, 1), (2, 2), (3, 0), (4, 0), (5, 0)):
        courier.put(scene_id)
        courier.run(seconds=2.0)
        assert courier.dlq.get_count() == dead
    courier.run(seconds=HOUR)
    assert courier.dlq.get_count() == 0
    assert courier.queue.size == 5
    (pool,) = courier.dispatcher.registry.pools.values()
    assert pool.health.state == "ill"
    assert f"answered {status}" in pool.health.reason
    tried = len(receiver.received)
    receiver.answer = Reply()
    courier.run(courier.queue.empty)
    assert sorted(arrived(receiver)[tried:]) == ["1", "2", "3", "4", "5"]
    assert courier.dlq.get_count() == 0


def test_the_same_scene_three_times_holds_nothing(courier: FastForward, receiver: Receiver) -> None:
    """Three distinct scenes are needed: one that is edited again and again is its own fault."""
    receiver.answer = Reply(400)
    for _ in range(5):
        courier.put(7)
        courier.run(seconds=2.0)
    assert courier.dlq.get_count() == 1
    (pool,) = courier.dispatcher.registry.pools.values()
    assert pool.health.state == "well"


def test_a_refused_scene_among_others_that_succeed_is_buried_at_once(
    courier: FastForward, receiver: Receiver
) -> None:
    """Each is tried once and is a dead letter, however many there are, if others succeed in between."""
    receiver.answer = refusing(2, 4, 6, 8, 10)
    for scene_id in range(1, 11):
        courier.put(scene_id)
        courier.run(seconds=1.0)
    assert courier.dlq.get_count() == 5
    assert courier.queue.empty()
    assert len(receiver.received) == 10


def test_a_success_shows_that_the_refused_scenes_are_at_fault(courier: FastForward, receiver: Receiver) -> None:
    """If an edit of another scene is accepted, those that are refused once more become dead letters."""
    receiver.answer = refusing(1, 2, 3)
    for scene_id in (1, 2, 3):
        courier.put(scene_id)
        courier.run(seconds=1.0)
    assert courier.dlq.get_count() == 0
    courier.put(4)
    passed = courier.run(lambda: "4" in arrived(receiver))
    assert passed <= 10.0
    courier.run(courier.queue.empty)
    assert courier.dlq.get_count() == 3


@pytest.mark.timeout(60)
def test_a_real_worker_recalls_them(tmp_path: Path, receiver: Receiver) -> None:
    """With a real worker and hooks, no dead letter stays of a webhook that refuses everything."""
    receiver.answer = Reply(400)
    with Courier(tmp_path, {"webhook_url": receiver.url, "worker_sweep_off": True}) as courier:
        for scene_id in (1, 2):
            courier.stash.edit(scene_id, title="New")
            wait_until(lambda count=scene_id: courier.dead() == count, 15.0)  # type: ignore[misc]
        courier.stash.edit(3, title="New")
        wait_until(lambda: courier.dead() == 0 and courier.waiting() == 3, 15.0)
