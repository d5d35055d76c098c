"""Connections that the owner deletes: nothing that was accepted before is lost or sent elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from unittest import mock
from unittest.mock import Mock

import pytest

from stash_courier.queue import control, transfer
from stash_courier.queue.dead_letters.dlq import DeadLetterQueue
from stash_courier.queue.deliveries.scene_queue import SceneQueue
from stash_courier.queue.history import ledger
from stash_courier.queue.history.ledger import Sent
from stash_courier.queue.jobs import SceneEvent
from stash_courier.worker.connections.model import Entry
from stash_courier.worker.connections.store import Store
from stash_courier.worker.delivery.breaker import Health
from tests import ROOT
from tests.standin.receivers import Receiver, Reply
from tests.standin.stash.server import StandInStash
from tests.support.connections import store
from tests.support.fast_forward import FastForward
from tests.support.harness import PLUGIN
from tests.support.press import press, refusal


class Attended(FastForward):
    """A dispatcher whose chores are done, too."""

    stash: StandInStash

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
            running.stash = stash
            yield running


def webhook(receiver: Receiver) -> Entry:
    """A webhook connection."""
    return Entry("hook", "Hook", "webhook", values={"url": f"{receiver.url}hook"})


@pytest.mark.parametrize(("waiting", "dead", "sent"), [("dead_letter", 3, 0), ("send", 0, 3), ("discard", 0, 0)])
def test_what_was_accepted_goes_where_its_owner_said(
    waiting: str, dead: int, sent: int, courier: Attended, receiver: Receiver
) -> None:
    """What waits or was not routed yet is sent first, becomes dead letters, or is discarded. Then it is gone."""
    receiver.down()
    store(courier.folder, webhook(receiver))
    courier.put(1)
    courier.run(lambda: any(waits.retrying for waits in courier.queue.backlog().values()))
    courier.put(2)
    courier.put(3)
    courier.jump(2.0)
    deletion = {"id": "hook", "waiting": waiting}
    with mock.patch.object(time, "time", return_value=courier.wall):
        assert "waiting must be" in refusal(courier.folder, "delete_connection", id="hook", revision=1)
        assert press(courier.folder, "delete_connection", revision=0, **deletion)["conflict"] is True
        assert press(courier.folder, "delete_connection", revision=1, **deletion)["deleted"] is True
    courier.jump(2.0)
    courier.put(4)  # after the connection was deleted
    receiver.up()
    courier.run(lambda: courier.gone("hook"))
    assert (courier.dlq.get_count(), len(receiver.received)) == (dead, sent)
    assert courier.queue.empty()
    assert Store(courier.folder).read().retired == {"hook"}
    assert "hook" not in control.states(courier.queue.connection)
    assert not ledger.highest(courier.queue.connection, "hook")
    assert press(courier.folder, "outcomes")["rows"] == []
    retried = press(courier.folder, "retry_dead_letters")
    assert (retried["retried"], retried["unsendable"]) == (0, dead)


def test_a_removed_destination_is_forgotten(courier: Attended, receiver: Receiver) -> None:
    """What the settings no longer name is dropped with its state and ledger; what is set up is refused."""
    store(courier.folder, webhook(receiver))
    for state in ("old", "hook"):
        control.put_state(courier.queue.connection, state, asdict(Health(last_success=1.0)))
        ledger.write(courier.queue.connection, Sent(state, 50, 1, "", 1.0, "/a", "sent", None))
    for scene in range(1, 6):
        courier.queue.route([SceneEvent(courier.queue.next_seq(), scene, "update", (), 1.0)], {"old": 9e9})
    for args, said in (
        ({"destination": "hook", "waiting": "discard"}, "is set up"),
        ({"destination": "plex"}, "Removed: old."),
        ({"destination": "old"}, "waiting must be"),
        ({}, "needs the argument destination"),
    ):
        assert said in refusal(courier.folder, "forget_destination", **args)
    courier.stash.config.plugins[PLUGIN] = {"webhook_url": "nonsense"}  # it may hide any connection
    hidden = {"destination": "webhook:a", "waiting": "discard"}
    assert "is set up" in refusal(courier.folder, "forget_destination", **hidden)
    courier.stash.config.plugins[PLUGIN] = {"worker_sweep_off": True}
    assert press(courier.folder, "forget_destination", destination="old", waiting="dead_letter")["waiting"] == 5
    courier.run(lambda: control.get(courier.queue.connection, control.FORGET) is None)
    assert {one.destination: one.count for one in courier.dlq.groups()} == {"old": 5}
    assert control.states(courier.queue.connection).keys() == {"hook"}
    assert [ledger.highest(courier.queue.connection, name) for name in ("old", "hook")] == [0, 50]


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
