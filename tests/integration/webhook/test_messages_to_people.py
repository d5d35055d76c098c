"""Chats and phones: one message for many scenes, no scene's title in a test, and only when named in "Send all"."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stash_courier.queue import troubles
from stash_courier.queue.inbox import files
from stash_courier.worker.connections.model import Entry
from tests import ROOT
from tests.standin.receivers import Receiver, Reply
from tests.standin.stash.server import GraphQLFailed, StandInStash
from tests.support.connections import store
from tests.support.fast_forward import FastForward
from tests.support.harness import Courier

DISCORD = "api/webhooks/123/very-secret-token"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as up:
        yield up


@pytest.fixture
def courier(tmp_path: Path, receiver: Receiver) -> Iterator[Courier]:
    """A Stash with a connection to Discord, which is the receiver."""
    with Courier(tmp_path, {"worker_schedule": "1s"}, scenes=40) as running:
        values = {"preset": "discord", "url": receiver.url + DISCORD, "concurrency": 1}
        running.connect(Entry("chat", "Chat", "webhook", values=values))
        yield running


def operation(courier: Courier, mode: str, **args: object) -> dict[str, Any]:
    output: dict[str, Any] = courier.stash.operation({"mode": mode, **args})
    return output


def embed(body: bytes) -> dict[str, Any]:
    (found,) = json.loads(body)["embeds"]
    return dict(found)


def test_an_edit_arrives_in_the_receivers_own_form(courier: Courier, receiver: Receiver) -> None:
    """Discord gets an embed, at its own address."""
    courier.stash.edit(3, title="Three")
    (got,) = receiver.wait_for(1)
    assert got.path == f"/{DISCORD}?wait=true"
    assert embed(got.body)["title"] == "Three"
    courier.drained()


def test_more_than_five_are_one_message(courier: Courier, receiver: Receiver) -> None:
    """While Discord is slow, edits pile up. The next message has their number, and all of them have arrived."""
    receiver.answer_next(Reply(delay=3.0))
    for scene in range(1, 31):
        courier.stash.edit(scene, title=f"Title {scene}")
    courier.drained()
    titles = [embed(got.body)["title"] for got in receiver.received]
    counted = [int(title.rpartition(" ")[2]) for title in titles if title.startswith("Scenes in Stash")]
    assert counted
    assert sum(counted) + len(titles) - len(counted) == 30
    assert courier.dead() == 0


@pytest.mark.parametrize(("scenes", "seconds"), [(3, 0.0), (12, 0.7)])
def test_existing_scenes_are_one_message(tmp_path: Path, receiver: Receiver, scenes: int, seconds: float) -> None:
    """A person who asks for existing scenes gets one message: also of a few, and where Stash is slow."""
    with Courier(tmp_path, {"worker_schedule": "1s"}, scenes=scenes) as courier:
        values = {"preset": "discord", "url": receiver.url + DISCORD}
        courier.connect(Entry("chat", "Chat", "webhook", values=values))
        courier.stash.faults.scene_delay = seconds
        courier.stash.edit(1, title="One")
        receiver.wait_for(1)  # now the worker knows how slow Stash is, and asks for a few scenes at a time
        forecast = operation(courier, "send_existing", connection="chat", all=True, count=True)
        assert "at most one digest" in forecast["text"]
        operation(courier, "send_existing", connection="chat", all=True)
        courier.drained()
        titles = [embed(got.body)["title"] for got in receiver.received]
        assert titles == ["One", f"Scenes in Stash: {min(scenes, 10)}"]


def test_a_message_about_trouble_is_in_no_digest(tmp_path: Path, receiver: Receiver) -> None:
    """It is read by itself, and the number of scenes is right."""
    values = {"preset": "discord", "url": receiver.url + DISCORD, "concurrency": 1}
    entry = Entry("chat", "Chat", "webhook", values=values)
    with (
        StandInStash(20, config_dir=tmp_path / "config") as stash,
        FastForward(tmp_path / "data", stash) as running,
    ):
        stash.install_plugin(ROOT)
        store(running.folder, replace(entry, state="paused"))
        running.run(lambda: running.dispatcher.poller.knows_settings)
        about = troubles.about("plex", "Plex upstairs", "plex")
        with running.queue.transaction():
            down = troubles.connection_down(about, running.wall, running.wall, "It refuses.", "")
            running.queue.notify("chat", troubles.slot("plex"), down, running.wall)
        for scene in range(1, 9):
            running.put(scene)
        running.run(running.queue.inbox_empty)
        store(running.folder, entry)
        running.run(running.queue.empty)
    titles = [embed(got.body)["title"] for got in receiver.received]
    assert sorted(titles) == ["Down: Plex upstairs", "Scenes in Stash: 8"]


def test_a_refused_digest_is_sent_singly(courier: Courier, receiver: Receiver) -> None:
    """One bad scene buries itself only."""

    def answer(got: Any) -> Reply:
        title = embed(got.body)["title"]
        bad = title.startswith("Scenes in Stash") or title == "Title 7"
        return Reply(400, body=b'{"message": "no"}') if bad else Reply(delay=0.2)

    receiver.answer = answer
    for scene in range(1, 21):
        courier.stash.edit(scene, title=f"Title {scene}")
    courier.drained()
    titles = [embed(got.body)["title"] for got in receiver.received]
    assert {f"Title {scene}" for scene in range(1, 21)} <= {*titles}
    assert any(title.startswith("Scenes in Stash") for title in titles)
    assert courier.dead() == 1


def test_a_test_shows_no_title_unless_asked(courier: Courier, receiver: Receiver) -> None:
    """Other people may read the chat."""
    courier.stash.edit(1, title="Private title")
    receiver.wait_for(1)
    assert operation(courier, "test_connection", id="chat")["ok"]
    assert b"Private title" not in receiver.wait_for(2)[1].body
    assert operation(courier, "test_connection", id="chat", show_scene=True)["ok"]
    assert len(receiver.received) == 3


def test_send_all_leaves_people_out_unless_named(courier: Courier, receiver: Receiver, tmp_path: Path) -> None:
    """Thousands of messages to a phone are never wanted by accident."""
    with Receiver() as program:
        values = {"url": program.url}
        courier.connect(Entry("program", "Program", "webhook", values=values))
        assert operation(courier, "enqueue_all")["destinations"] == ["program"]
        program.wait_for(40)
        courier.drained()
        assert receiver.received == ()
        assert operation(courier, "enqueue_all", connection="chat")["destinations"] == ["chat"]
        courier.drained()
        assert len(receiver.received) > 0


def test_send_all_is_refused_while_it_is_unknown_who_gets_messages(courier: Courier) -> None:
    """While connections.json can't be read, nobody knows which connections are chats."""
    courier.stash.edit(3, title="Three")
    courier.drained()
    for name in (files.CONNECTIONS, files.CONNECTIONS_PREVIOUS):
        (courier.data / name).write_bytes(b"{")
    for mode in ("enqueue_all", "enqueue_recent"):
        with pytest.raises(GraphQLFailed, match=r"can't be read.* Nothing was queued"):
            operation(courier, mode)
    assert courier.waiting() == 0


def test_the_address_is_never_shown(courier: Courier, receiver: Receiver) -> None:
    """Discord's address is the secret: only its host is in any answer, log or dead letter."""
    receiver.answer = lambda got: Reply(400, body=got.path.encode())
    courier.stash.edit(3, title="Three")
    courier.drained()
    for mode in ("connections", "status", "review_dead_letters", "test_connection"):
        args = {"id": "chat"} if mode == "test_connection" else {}
        assert "very-secret-token" not in json.dumps(operation(courier, mode, **args)), mode
    assert "very-secret-token" not in courier.log()
    (one,) = operation(courier, "connections")["connections"]
    assert one["host"].startswith("127.0.0.1:")
