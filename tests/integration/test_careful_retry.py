"""A careful retry: the receiver gets one, and the rest only if that one is delivered."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from stash_courier.queue import control
from stash_courier.queue.dead_letters.listing import Selection
from stash_courier.worker.connections import drafts
from stash_courier.worker.connections.model import Entry
from stash_courier.worker.connections.store import Store
from tests import ROOT
from tests.standin.receivers import Received, Receiver, Reply
from tests.standin.stash.server import StandInStash
from tests.support.connections import store
from tests.support.fast_forward import FastForward
from tests.support.harness import PLUGIN, Courier, wait_until

REFUSED = (2, 4, 6, 8)  # scenes


def scene(received: Received) -> int:
    """The scene that a request was about."""
    return int(received.json()["data"]["id"])


def refusing(received: Received) -> Reply:
    """Refuses some scenes and accepts the others."""
    return Reply(422 if scene(received) in REFUSED else 200)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver(refusing) as running:
        yield running


@pytest.fixture
def courier(tmp_path: Path, receiver: Receiver) -> Iterator[Courier]:
    """A worker with four dead letters; scene 8's is the newest. The receiver's requests so far don't count."""
    settings = {"webhook_url": receiver.url, "worker_schedule": "1s", "worker_sweep_off": True}
    with Courier(tmp_path, settings) as running:
        for count, number in enumerate(range(1, 10), 1):
            running.stash.edit(number, title=f"Title {number}")
            receiver.wait_for(count)
        wait_until(lambda: running.dead() == len(REFUSED) and running.waiting() == 0, 20.0)
        yield running


def rows(courier: Courier) -> dict[int, str]:
    """The states of the dead letters as the page shows them, by scene."""
    answer: dict[str, Any] = courier.stash.operation({"mode": "dead_letters"})
    return {row["scene_id"]: row["state"] for row in answer["rows"]}


@pytest.mark.check  # a real worker; the rules are below, in fast-forward
def test_the_rest_follows_after_a_kill(courier: Courier, receiver: Receiver) -> None:
    """A worker that is killed while it sends the first one forgets neither it nor the rest."""
    before = len(receiver.received)
    receiver.answer = Reply()
    receiver.answer_next(Reply(delay=5.0))
    courier.stash.operation({"mode": "retry_dead_letters", "careful": True})
    receiver.wait_for(before + 1)
    courier.kill_worker()
    assert rows(courier) == dict.fromkeys((2, 4, 6), "after_one")
    courier.stash.operation({"mode": "wake"})
    receiver.wait_for(before + 5, 20.0)
    wait_until(lambda: courier.dead() == 0, 10.0)
    courier.drained()
    assert [scene(one) for one in receiver.received[before : before + 2]] == [8, 8]
    assert sorted(scene(one) for one in receiver.received[before + 2 :]) == [2, 4, 6]


# In fast-forward


class Attended(FastForward):
    """A dispatcher whose chores are done, too."""

    def step(self) -> float:
        wait = super().step()
        if self.dispatcher.poller.knows_settings:
            self.dispatcher.forgetting.work()
            self.dispatcher.registry.leave()
        return min(wait, 1.0)


@pytest.fixture
def stash(tmp_path: Path) -> Iterator[StandInStash]:
    with StandInStash(20, config_dir=tmp_path / "config") as running:
        running.install_plugin(ROOT)
        running.config.plugins[PLUGIN] = {"worker_sweep_off": True}
        yield running


@pytest.fixture
def forward(tmp_path: Path, stash: StandInStash) -> Iterator[Attended]:
    with Attended(tmp_path / "data", stash) as running:
        yield running


def hook(name: str, receiver: Receiver) -> Entry:
    """A webhook connection."""
    return Entry(name, name, "webhook", values={"url": f"{receiver.url}{name}"})


def fail(forward: Attended, *scenes: int) -> None:
    """Makes dead letters, a second apart, with successes in between so that nothing is held."""
    for number in scenes:
        for edited in (number, 1):
            forward.put(edited)
            forward.run(seconds=1.0)


def test_the_rest_follows_only_a_delivery(forward: Attended, stash: StandInStash, receiver: Receiver) -> None:
    """When the first one fails again, nothing else is sent. When it is delivered, each other one is, once."""
    store(forward.folder, hook("first", receiver))
    fail(forward, 2, 4, 6)
    newest, *rest = forward.dlq.get_recent()
    assert newest.path == stash.scene(6).path
    before = len(receiver.received)
    assert forward.dlq.ask_carefully(Selection()) == (newest.id, 2)
    forward.run(seconds=60.0)
    assert [scene(one) for one in receiver.received[before:]] == [6]
    assert [(one.state, one.waits_for) for one in forward.dlq.get_recent()] == [("dead", None)] * 3
    receiver.answer = Reply()
    assert forward.dlq.ask_carefully(Selection([rest[0].id, newest.id, rest[1].id])) == (rest[0].id, 2)
    forward.run(lambda: forward.dlq.get_count() == 0 and forward.queue.empty())
    sent = [scene(one) for one in receiver.received[before + 1 :]]
    assert (sent[0], sorted(sent)) == (rest[0].scene_id, [2, 4, 6])


@pytest.mark.parametrize("waiting", ["burying", "discard"])
def test_the_connection_of_the_first_one_is_deleted(forward: Attended, receiver: Receiver, waiting: str) -> None:
    """While the first one waits for a connection that is away, that one is deleted: the rest stays, unsent."""
    with Receiver(refusing) as other:
        first = hook("first", receiver)
        store(forward.folder, hook("other", other), first)
        fail(forward, 2, 4)
        assert forward.dlq.get_count() == 4
        receiver.answer = Reply(503)
        (leader,) = [one for one in forward.dlq.get_recent(9, Selection(destination="first")) if one.scene_id == 4]
        rest = [one.id for one in forward.dlq.get_recent(9, Selection(destination="other"))]
        other.answer = Reply()
        before = len(other.received)
        assert forward.dlq.ask_carefully(Selection([leader.id, *rest])) == (leader.id, 2)
        forward.run(seconds=30.0)
        assert len(other.received) == before
        assert not forward.queue.empty()
        if waiting == "burying":
            store(forward.folder, hook("other", other), replace(first, state="burying", off_since=forward.wall))
        else:
            kept = Store(forward.folder)
            kept.change(kept.read().revision, partial(drafts.deleted, connection="first"))
            control.put(forward.queue.connection, control.FORGET, {"first": "discard"})
        forward.run(forward.queue.empty)
        forward.run(seconds=60.0)
        assert len(other.received) == before
        left = {one.id: (one.state, one.waits_for) for one in forward.dlq.get_recent(9)}
        assert [left[one] for one in rest] == [("dead", None)] * 2


def test_a_first_one_that_is_skipped_sends_no_rest(
    forward: Attended, stash: StandInStash, receiver: Receiver
) -> None:
    """If there is nothing to send of the first one any more, that says nothing about the others."""
    store(forward.folder, hook("first", receiver))
    fail(forward, 2, 4, 6)
    stash.vanish(6)
    receiver.answer = Reply()
    before = len(receiver.received)
    assert forward.dlq.ask_carefully(Selection())[1] == 2
    forward.run(lambda: forward.dlq.get_count() == 2)
    forward.run(seconds=60.0)
    assert len(receiver.received) == before
    assert [(one.state, one.waits_for) for one in forward.dlq.get_recent(9)] == [("dead", None)] * 2
