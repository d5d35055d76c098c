"""The mode that shows what a connection would send: of a stored connection and of a draft, without a request."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from stash_courier.queue.deliveries.scene_queue import SceneQueue
from stash_courier.queue.history import ledger
from stash_courier.queue.history.ledger import Sent
from stash_courier.worker.connections.model import Entry
from tests import ROOT
from tests.standin.jellyfin import KEY
from tests.standin.receivers import Receiver
from tests.standin.stash import StandInStash
from tests.support.connections import store
from tests.support.harness import SECRET
from tests.support.press import press, reach

TOKEN = "token-of-the-bot-0123456789"


@pytest.fixture
def stash(tmp_path: Path) -> Iterator[StandInStash]:
    """A Stash with 5 scenes and the plugin."""
    with StandInStash(5, config_dir=tmp_path / "config") as running:
        running.install_plugin(ROOT)
        yield running


@pytest.fixture
def folder(tmp_path: Path, stash: StandInStash) -> Path:
    """The data folder of a plugin that knows where Stash is."""
    reach(tmp_path / "data", stash.config.port)
    return tmp_path / "data"


def shown(folder: Path, **arguments: Any) -> tuple[Any, str]:
    """The scene of a preview, and its text."""
    found = press(folder, "preview", **arguments)
    assert "problem" not in found, found
    return found["scene"], found["text"]


def problem(folder: Path, **arguments: Any) -> str:
    """Why there is no preview."""
    return str(press(folder, "preview", **arguments)["problem"])


def test_a_webhooks_body_without_its_secrets(folder: Path, stash: StandInStash) -> None:
    """Host, names of headers and the body of the scene as it is now; nothing arrives at the receiver."""
    with Receiver() as receiver:
        headers = f"Authorization: Bearer {TOKEN}; X-Source: stash"
        values = {"url": f"{receiver.url}hook/{TOKEN}?key={TOKEN}", "secret": SECRET, "headers": headers}
        store(folder, Entry("hook", "Hook", "webhook", values=values))
        scene = stash.library.all()[1]
        about, text = shown(folder, destination="hook", scene=scene.id)
        assert receiver.received == ()
    assert about["id"] == scene.id
    head, _, body = text.partition("\n\n")
    assert head.splitlines()[0] == f"POST 127.0.0.1:{receiver.port}"
    assert "Authorization: …" in head
    assert "Content-Type: application/json" in head
    assert "webhook-signature: …" in head
    assert TOKEN not in text
    assert SECRET not in text
    told = json.loads(body)
    assert (told["type"], told["data"]["id"], told["data"]["title"]) == (
        "scene.updated",
        str(scene.id),
        about["title"],
    )
    assert text.count("\n") > 20


def test_a_draft_of_a_preset(folder: Path, stash: StandInStash) -> None:
    """The body is the preset's. The bot's token, which is in its address, isn't shown."""
    token = "123456:AbcdefGhijklmnopqrstuvwxyz"
    values = {"preset": "telegram", "url": "http://127.0.0.1:9", "token": token, "chat_id": "-100"}
    about, text = shown(folder, kind="webhook", name="Bot", values=values)
    assert about["title"] in json.loads(text.partition("\n\n")[2])["text"]
    assert "AbcdefGhij" not in text


@pytest.mark.parametrize("kind", ["jellyfin", "plex"])
def test_the_values_of_a_media_server(folder: Path, stash: StandInStash, kind: str) -> None:
    """The file as the server knows it, and each value on a line; no request is made."""
    scene = stash.library.all()[0]
    values = {"url": "http://127.0.0.1:9", "key": KEY, "path_map": "/media/films => /films", "images": True}
    about, text = shown(folder, kind=kind, name="x", values=values, scene=scene.id)
    lines = text.splitlines()
    assert lines[0] == f"file: {scene.path.replace('/media/films', '/films')}"
    assert f"title: {about['title']}" in lines
    assert "cover: the cover in Stash" in lines
    assert KEY not in text


def test_servers_that_are_only_told(folder: Path, stash: StandInStash) -> None:
    """Without fields the preview says that."""
    values: dict[str, Any] = {"url": "http://127.0.0.1:9", "key": KEY}
    assert "Emby refreshes the item" in shown(folder, kind="emby", name="x", values=values)[1]
    values["refresh_only"] = True
    assert "no field is written" in shown(folder, kind="jellyfin", name="x", values=values)[1]


def test_what_would_not_be_sent(folder: Path, stash: StandInStash) -> None:
    """Filters, and a scene that Stash no longer has."""
    values = {"url": "http://127.0.0.1:9", "skip_tags": "never", "folders": "/elsewhere"}
    assert "filters of this connection" in shown(folder, kind="webhook", name="x", values=values, scene=1)[1]
    about, text = shown(folder, kind="webhook", name="x", values={"url": "http://127.0.0.1:9"}, scene=999)
    assert about == {"id": 999, "title": ""}
    assert "Stash no longer has this scene" in text


def test_a_deleted_scene_that_was_sent(folder: Path, stash: StandInStash) -> None:
    """What was sent once and is gone from Stash becomes a deletion, as the worker would send it."""
    store(folder, Entry("hook", "Hook", "webhook", values={"url": "http://127.0.0.1:9"}))
    with closing(SceneQueue(folder)) as queue, queue.transaction():
        ledger.write(queue.connection, Sent("hook", 999, 1, "", 1.0, "/media/films/gone.mp4", "sent"))
    text = shown(folder, destination="hook", scene=999)[1]
    told = json.loads(text.partition("\n\n")[2])
    assert (told["type"], told["data"]["path"]) == ("scene.destroyed", "/media/films/gone.mp4")


def test_why_there_is_no_preview(folder: Path, stash: StandInStash) -> None:
    """Values that can't be used, an unknown connection, a Stash that is away: a sentence each, and no error."""
    wrong: dict[str, Any] = {"kind": "webhook", "name": "x", "values": {"url": "nonsense", "attempts": "many"}}
    assert "Attempts" in problem(folder, **wrong)
    steps = press(folder, "preview", **wrong)["steps"]
    assert steps == press(folder, "test_connection", **wrong)["steps"]
    assert {(one["step"], one["field"]) for one in steps} == {("fields", "url"), ("fields", "attempts")}
    assert "There is no connection" in problem(folder, destination="nothing")
    assert "kind" in problem(folder)
    stash.stop()
    assert problem(folder, kind="webhook", name="x").startswith("Stash ")


def test_stash_without_scenes(tmp_path: Path) -> None:
    """There is nothing to show."""
    with StandInStash(0, config_dir=tmp_path / "config") as stash:
        stash.install_plugin(ROOT)
        reach(tmp_path / "data", stash.config.port)
        draft = {"kind": "webhook", "name": "x", "values": {"url": "http://127.0.0.1:9"}}
        about, text = shown(tmp_path / "data", **draft)
    assert (about, text) == (None, "Stash has no scene, so there is nothing to show.")
