"""Chats and phones: one message for many scenes, no scene's title in a test, and only when named in "Send all"."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
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
def courier(tmp_path: Path, receiver: Receiver) -> Iterator[Courier]:
    """A Stash with a connection to Discord, which is the receiver."""
    with Courier(tmp_path, {"worker_schedule": "1s"}, scenes=10) as running:
        running.connect(chat(receiver))
        yield running


def chat(receiver: Receiver) -> Entry:
    """A connection to Discord, which is the receiver."""
    return Entry("chat", "Chat", "webhook", values={"preset": "discord", "url": receiver.url + DISCORD})


def operation(courier: Courier, mode: str, **args: object) -> dict[str, Any]:
    output: dict[str, Any] = courier.stash.operation({"mode": mode, **args})
    return output


def titles(receiver: Receiver) -> list[str]:
    """The titles of the embeds that arrived."""
    return [embed["title"] for got in receiver.received for embed in got.json()["embeds"]]


@contextmanager
def many_waiting(tmp_path: Path, entry: Entry, scenes: int) -> Iterator[FastForward]:
    """A worker for which edits of all scenes wait, because the connection was paused; now it isn't."""
    with (
        StandInStash(scenes, config_dir=tmp_path / "config") as stash,
        FastForward(tmp_path / "data", stash) as running,
    ):
        stash.install_plugin(ROOT)
        store(running.folder, replace(entry, state="paused"))
        running.run(lambda: running.dispatcher.poller.knows_settings)
        for scene in range(1, scenes + 1):
            stash.change_without_hook(scene, title=f"Title {scene}")
            running.put(scene)
        running.run(running.queue.inbox_empty)
        store(running.folder, entry)
        yield running


def test_more_than_five_are_one_message(tmp_path: Path, receiver: Receiver) -> None:
    """Many waiting edits are one message with their number. One about trouble is read by itself, in no digest."""
    with many_waiting(tmp_path, chat(receiver), 8) as running:
        about = troubles.about("plex", "Plex upstairs", "plex")
        with running.queue.transaction():
            down = troubles.connection_down(about, running.wall, running.wall, "It refuses.", "")
            running.queue.notify("chat", troubles.slot("plex"), down, running.wall)
        running.run(running.queue.empty)
    assert sorted(titles(receiver)) == ["Down: Plex upstairs", "Scenes in Stash: 8"]


def test_a_refused_digest_is_sent_singly(tmp_path: Path, receiver: Receiver) -> None:
    """Each scene of a digest that was refused is sent alone, so one bad scene buries only itself."""

    def answer(got: Any) -> Reply:
        title = got.json()["embeds"][0]["title"]
        bad = title.startswith("Scenes in Stash") or title == "Title 7"
        return Reply(400, body=b'{"message": "no"}') if bad else Reply()

    receiver.answer = answer
    with many_waiting(tmp_path, chat(receiver), 12) as running:
        running.run(running.queue.empty)
        (letter,) = running.dlq.get_recent(10)
    assert letter.scene_id == 7
    assert {f"Title {scene}" for scene in range(1, 13)} <= {*titles(receiver)}
    assert titles(receiver)[0].startswith("Scenes in Stash: ")


@pytest.mark.parametrize(
    ("scenes", "seconds"), [(3, 0.0), pytest.param(12, 0.7, marks=pytest.mark.check)], ids=["few", "slow"]
)
def test_existing_scenes_are_one_message(tmp_path: Path, receiver: Receiver, scenes: int, seconds: float) -> None:
    """A person who asks for existing scenes gets one message: also of a few, and where Stash is slow."""
    with Courier(tmp_path, {"worker_schedule": "1s"}, scenes=scenes) as courier:
        courier.connect(chat(receiver))
        courier.stash.faults.scene_delay = seconds
        courier.stash.edit(1, title="One")
        receiver.wait_for(1)  # now the worker knows how slow Stash is, and asks for a few scenes at a time
        forecast = operation(courier, "send_existing", connection="chat", all=True, count=True)
        assert "at most one digest" in forecast["text"]
        operation(courier, "send_existing", connection="chat", all=True)
        courier.drained()
        assert titles(receiver) == ["One", f"Scenes in Stash: {min(scenes, 10)}"]


def test_a_test_shows_no_title_and_nothing_shows_the_address(courier: Courier, receiver: Receiver) -> None:
    """Other people may read the chat, so a test names a scene only if asked to.

    Discord's address is the secret: only its host is in any answer, log or dead letter.
    """
    courier.stash.edit(10, title="Private title")  # of the newest scene
    (got,) = receiver.wait_for(1)
    assert got.path == f"/{DISCORD}?wait=true"
    assert titles(receiver) == ["Private title"]
    assert operation(courier, "test_connection", id="chat")["ok"]
    assert b"Private title" not in receiver.wait_for(2)[1].body
    assert operation(courier, "test_connection", id="chat", show_scene=True)["ok"]
    assert b"Private title" in receiver.wait_for(3)[2].body
    receiver.answer = lambda got: Reply(400, body=got.path.encode())
    courier.stash.edit(3, title="Three")
    courier.drained()
    assert courier.dead() == 1
    for mode in ("connections", "status", "review_dead_letters", "test_connection"):
        args = {"id": "chat"} if mode == "test_connection" else {}
        assert "very-secret-token" not in json.dumps(operation(courier, mode, **args)), mode
    assert "very-secret-token" not in courier.log()
    (shown,) = operation(courier, "connections")["connections"]
    assert shown["host"].startswith("127.0.0.1:")


def test_send_all_leaves_people_out_unless_named(courier: Courier, receiver: Receiver) -> None:
    """Thousands of messages to a phone are never wanted by accident, nor while it is unknown who gets them."""
    with Receiver() as program:
        courier.connect(Entry("program", "Program", "webhook", values={"url": program.url}))
        assert operation(courier, "enqueue_all")["destinations"] == ["program"]
        program.wait_for(10)
        courier.drained()
        assert receiver.received == ()
        assert operation(courier, "enqueue_all", connection="chat")["destinations"] == ["chat"]
        courier.drained()
        assert len(receiver.received) > 0
    for name in (files.CONNECTIONS, files.CONNECTIONS_PREVIOUS):
        (courier.data / name).write_bytes(b"{")
    for mode in ("enqueue_all", "enqueue_recent"):
        with pytest.raises(GraphQLFailed, match=r"can't be read.* Nothing was queued"):
            operation(courier, mode)
    assert courier.waiting() == 0
