"""Connections that the owner deletes: nothing that was accepted before is lost or sent elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import pytest

from stash_courier.queue import control, transfer
from stash_courier.queue.dead_letters.dlq import DeadLetterQueue
from stash_courier.queue.deliveries.scene_queue import SceneQueue
from stash_courier.queue.history import ledger
from stash_courier.queue.jobs import SceneEvent
from stash_courier.worker.connections.model import Entry, State
from stash_courier.worker.connections.store import Store
from tests import ROOT
from tests.standin.receivers import Receiver, Reply
from tests.standin.stash.server import StandInStash
from tests.support.connections import store
from tests.support.fast_forward import FastForward
from tests.support.harness import PLUGIN


class Attended(FastForward):
    """A dispatcher whose chores are done, too."""

    def step(self) -> float:
        wait = super().step()
        if self.dispatcher.poller.knows_settings:
            self.dispatcher.forgetting.work()
            self.dispatcher.registry.leave()
        return min(wait, 1.0)

    def gone(self, name: str) -> bool:
        """Whether a connection is deleted and nothing is left to do for it."""
        wished = control.get(self.queue.connection, control.FORGET) or {}
        return Store(self.folder).read().find(name) is None and name not in wished


@pytest.fixture
def courier(tmp_path: Path) -> Iterator[Attended]:
    with StandInStash(20, config_dir=tmp_path / "config") as stash:
        stash.install_plugin(ROOT)
        stash.config.plugins[PLUGIN] = {"worker_sweep_off": True}
        with Attended(tmp_path / "data", stash) as running:
            yield running


def webhook(receiver: Receiver) -> Entry:
    """A webhook connection."""
    return Entry("hook", "Hook", "webhook", values={"url": f"{receiver.url}hook"})


@pytest.mark.parametrize(("state", "dead", "sent"), [("burying", 2, 0), ("leaving", 0, 2)])
def test_what_was_not_routed_yet_is_not_lost(
    state: State, dead: int, sent: int, courier: Attended, receiver: Receiver
) -> None:
    """Events that the worker had not looked at when the connection was deleted go where the owner said."""
    store(courier.folder, replace(webhook(receiver), state=state, off_since=courier.wall + 1.0))
    courier.put(1)
    courier.put(2)
    courier.jump(2.0)
    courier.put(3)  # after the connection was deleted
    courier.run(lambda: courier.gone("hook"))
    assert (courier.dlq.get_count(), len(receiver.received)) == (dead, sent)
    assert courier.queue.empty()
    assert Store(courier.folder).read().retired == {"hook"}
    assert "hook" not in control.states(courier.queue.connection)
    assert not ledger.highest(courier.queue.connection, "hook")


def test_a_wish_drops_no_connection_that_is_switched_off(courier: Attended, receiver: Receiver) -> None:
    """A wish to forget that is older than the connection of the same id is dropped, and what waits stays."""
    receiver.answer = Reply(503)
    store(courier.folder, webhook(receiver))
    courier.put(1)
    courier.run(lambda: len(receiver.received) > 0)
    store(courier.folder, replace(webhook(receiver), state="off", off_since=courier.wall))
    control.put(courier.queue.connection, control.FORGET, {"hook": "discard"})
    courier.run(lambda: control.get(courier.queue.connection, control.FORGET) is None)
    assert courier.queue.backlog()["hook"].total == 1


def test_a_kill_while_dead_letters_are_made_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A delivery that is in both files after a kill is one dead letter after the next start."""
    with closing(SceneQueue(tmp_path)) as queue, closing(DeadLetterQueue(tmp_path)) as dlq:
        for scene in range(1, 6):
            event = SceneEvent(queue.next_seq(), scene, "update", (), 1.0)
            queue.route([event], dict.fromkeys(["plex"], 0.0))
        monkeypatch.setattr(SceneQueue, "remove", Mock(side_effect=[None, InterruptedError]))
        with pytest.raises(InterruptedError):
            transfer.bury_waiting(queue, dlq, "plex", ValueError("forgotten"), 100)
        monkeypatch.undo()
        assert queue.backlog()["plex"].total == 5
        assert dlq.get_count() == 2
        transfer.heal(queue, dlq)
        transfer.bury_waiting(queue, dlq, "plex", ValueError("forgotten"), 3)
        transfer.bury_waiting(queue, dlq, "plex", ValueError("forgotten"), 3)
        assert queue.backlog() == {}
        assert sorted(one.scene_id for one in dlq.get_recent(99)) == [1, 2, 3, 4, 5]
