"""The modes that list, save, test, copy and switch connections, and the card of each, with the worker's loop."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stash_courier.worker import process
from stash_courier.worker.connections.model import Entry
from tests import ROOT
from tests.standin.receivers import Receiver, Reply
from tests.standin.stash import StandInStash
from tests.support import connections
from tests.support.fast_forward import FastForward
from tests.support.harness import PLUGIN, SECRET
from tests.support.press import press, refusal


@pytest.fixture
def stash(tmp_path: Path) -> Iterator[StandInStash]:
    """A Stash with 60 scenes and the plugin."""
    with StandInStash(60, config_dir=tmp_path / "config") as server:
        server.install_plugin(ROOT)
        server.config.plugins[PLUGIN] = {"worker_sweep_off": True}
        yield server


@pytest.fixture
def loop(tmp_path: Path, stash: StandInStash) -> Iterator[FastForward]:
    """The worker's loop."""
    with FastForward(tmp_path / "data", stash) as running:
        yield running


def saved(loop: FastForward, **draft: Any) -> dict[str, Any]:
    """Saves a connection with the present revision."""
    return press(loop.folder, "save_connection", revision=press(loop.folder, "connections")["revision"], **draft)


def webhook(loop: FastForward, receiver: Receiver, name: str = "Hook", **values: object) -> str:
    """The id of a new webhook connection."""
    found = saved(loop, kind="webhook", name=name, values={"url": receiver.url, **values})
    assert found["saved"], found
    return str(found["id"])


def card(loop: FastForward, name: str) -> dict[str, Any]:
    """A connection's card on the page."""
    return next(one for one in press(loop.folder, "overview")["connections"] if one["name"] == name)


def test_a_saved_connection_delivers_and_shows_no_secret(loop: FastForward, receiver: Receiver) -> None:
    """The next edit arrives, signed. No answer contains the secret, and only the owner can read the file."""
    name = webhook(loop, receiver, secret=SECRET)
    assert card(loop, "Hook")["health"] == "nothing_sent"
    loop.put(7)
    loop.run(lambda: bool(receiver.received) and loop.queue.empty())
    assert "webhook-signature" in receiver.received[0].headers
    (one,) = press(loop.folder, "connections")["connections"]
    assert (one["id"], one["secrets"]) == (name, {"headers": False, "secret": True})
    shown = card(loop, "Hook")
    assert (shown["health"], shown["delivered_day"], shown["waiting"]) == ("delivering", 1, 0)
    assert SECRET not in json.dumps([one, shown])
    file = loop.folder / "connections.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert SECRET in file.read_text()


@pytest.mark.parametrize("mode", ["save_connection", "test_connection"])
@pytest.mark.parametrize("values", [{"url": "{other}"}, {"preset": "standard"}])
def test_a_stored_secret_is_neither_sent_elsewhere_nor_shown(
    loop: FastForward, receiver: Receiver, mode: str, values: dict[str, str]
) -> None:
    """A script that changes only the address, or only the preset, must enter the secret again."""
    secrets = {"url": f"{receiver.url}very-secret-path", "preset": "discord", "headers": "X-Key: very-secret-key"}
    connections.store(loop.folder, Entry("chat", "Chat", "webhook", values=secrets))
    with Receiver() as other:
        given = {key: value.format(other=other.url) for key, value in values.items()}
        args = {"revision": 1} if mode == "save_connection" else {}
        output = press(loop.folder, mode, id="chat", values=given, **args)
        assert other.received == receiver.received == ()
    assert output.get("saved", output.get("ok")) is False
    field = "headers" if "url" in values else "url"
    assert field in [one["field"] for one in output.get("problems") or output["steps"]]
    assert "very-secret" not in json.dumps([output, press(loop.folder, "connections")])


def test_a_copy_has_the_secrets(loop: FastForward, receiver: Receiver) -> None:
    """The copy signs as the original does; no answer contains the secret, and the name must be another."""
    first = webhook(loop, receiver, "One", secret=SECRET)
    assert [one["field"] for one in saved(loop, copy_of=first, name="One")["problems"]] == ["name"]
    assert "either id or copy_of" in refusal(loop.folder, "save_connection", copy_of=first, id=first, revision=1)
    elsewhere = saved(loop, copy_of=first, name="Two", values={"url": "http://127.0.0.1:9/hook"})
    assert [one["field"] for one in elsewhere["problems"]] == ["secret"]
    tested, copied = press(loop.folder, "test_connection", copy_of=first), saved(loop, copy_of=first, name="Two")
    assert (tested["ok"], copied["saved"], copied["id"] != first) == (True, True, True)
    assert SECRET not in str([tested, copied, press(loop.folder, "connections"), press(loop.folder, "overview")])
    loop.put(3)
    loop.run(lambda: len(receiver.received) == 3)
    assert all("webhook-signature" in got.headers for got in receiver.received)


def test_the_second_of_two_writers_gets_a_conflict(loop: FastForward, receiver: Receiver) -> None:
    """A save names the revision that it started from, so no change is lost."""
    first = {"kind": "webhook", "name": "One", "values": {"url": receiver.url}}
    assert press(loop.folder, "save_connection", revision=0, **first)["saved"]
    late = press(loop.folder, "save_connection", revision=0, **{**first, "name": "Two"})
    assert (late["saved"], late["conflict"]) == (False, True)
    assert [one["name"] for one in press(loop.folder, "connections")["connections"]] == ["One"]


def test_each_bad_field_gets_a_problem(loop: FastForward) -> None:
    """All problems come at once, each at its field, and nothing is stored."""
    values = {"url": "jelly", "path_map": "data", "concurrency": 99, "nonsense": 1, "skip_fields": ["titel"]}
    output = saved(loop, kind="jellyfin", name="", values=values)
    fields = sorted(problem["field"] for problem in output["problems"])
    assert fields == ["concurrency", "key", "name", "nonsense", "path_map", "skip_fields", "url"]
    assert not (loop.folder / "connections.json").exists()


def test_kinds_have_the_fields_that_are_parsed(loop: FastForward) -> None:
    """A form can't offer a field that a save refuses; a chat, which checks no signature, has that one last."""
    kinds = press(loop.folder, "connection_kinds")["kinds"]
    for kind in kinds:
        values = {field["key"]: "" for field in kind["fields"] if not field["required"]}
        output = saved(loop, kind=kind["kind"], name="x", values=values)
        wanted = {field["key"] for field in kind["fields"] if field["required"]}
        assert {problem["field"] for problem in output["problems"]} == wanted
    (hook,) = (kind for kind in kinds if kind["kind"] == "webhook")
    advanced = {variant["value"] for variant in hook["variants"] if variant["advanced"] == ["secret"]}
    assert advanced == {"discord", "slack", "telegram", "ntfy", "gotify", "apprise"}


def test_people_read_names(loop: FastForward, receiver: Receiver) -> None:
    """Reports and dead letters call a connection by its name, not by its id."""
    name = webhook(loop, receiver, name="Living room", attempts=1)
    receiver.answer = Reply(422)
    loop.put(5)
    loop.run(lambda: loop.dlq.get_count() == 1)
    receiver.answer = Reply(404)
    loop.put(6)
    loop.run(lambda: card(loop, "Living room")["health"] == "waiting")
    tasks = ("review_dead_letters", "status", "enqueue_all")
    said = "\n".join(line for task in tasks for line in press(loop.folder, task)["lines"])
    assert "to Living room (update)" in said
    assert "Connections: Living room." in said
    assert name not in said.replace(f"Group: {name}", "")


def test_what_changed_while_it_was_off_is_offered(loop: FastForward, receiver: Receiver) -> None:
    """Switching it on offers to send what changed since, as the arguments of another mode."""
    name = webhook(loop, receiver)
    assert saved(loop, id=name, state="off")["saved"]
    assert "no connection" in refusal(loop.folder, "send_existing", connection=name, all=True)
    (offer,) = saved(loop, id=name, state="on")["offers"]
    assert press(loop.folder, "send_existing", **offer)["destinations"] == [name]


def test_an_outage_and_a_receiver_that_is_gone(loop: FastForward, receiver: Receiver) -> None:
    """The card has the reason, since when, and the next try; "Deliver now" tries even after a 410."""
    lock = process.hold(str(loop.folder))  # a worker runs
    assert lock is not None
    webhook(loop, receiver)
    receiver.answer = Reply(503)
    loop.put(3)
    loop.run(lambda: press(loop.folder, "badge")["down"] == ["Hook"])
    held = card(loop, "Hook")
    assert (held["health"], held["waiting"], held["since"] > 0, held["next_try"] > 0) == ("waiting", 1, True, True)
    assert "503" in held["reason"]
    receiver.answer = Reply(410)
    loop.run(lambda: card(loop, "Hook")["health"] == "gone")
    receiver.answer = Reply()
    tried = len(receiver.received)
    loop.run(seconds=3600.0)
    assert len(receiver.received) == tried
    press(loop.folder, "expedite", connection=held["id"])
    loop.run(loop.queue.empty)
    assert press(loop.folder, "badge")["count"] == 0
    os.close(lock)


def test_a_draft_can_be_tested_before_it_is_saved(loop: FastForward, receiver: Receiver) -> None:
    """Nothing is stored by a test."""
    draft = {"kind": "webhook", "name": "Draft", "values": {"url": receiver.url}}
    assert press(loop.folder, "test_connection", **draft)["ok"] is True
    receiver.down()
    assert press(loop.folder, "test_connection", **draft)["ok"] is False
    assert press(loop.folder, "connections")["connections"] == []


def test_a_connection_of_stash_settings_is_changed_there(
    loop: FastForward, stash: StandInStash, receiver: Receiver
) -> None:
    """It is listed as such, can be duplicated, and is neither saved nor deleted here."""
    stash.configure("stash_plugin", {"webhook_url": receiver.url})
    (one,) = press(loop.folder, "connections")["connections"]
    name = one["id"]
    assert (name.partition(":")[0], one["from_settings"]) == ("webhook", True)
    assert "Change it there" in refusal(loop.folder, "save_connection", id=name, state="off", revision=0)
    deletion = {"id": name, "waiting": "send", "revision": 0}
    assert "Empty it there" in refusal(loop.folder, "delete_connection", **deletion)
    assert saved(loop, copy_of=name, name="Mine")["saved"]
    listed = press(loop.folder, "connections")["connections"]
    assert sorted(one["from_settings"] for one in listed) == [False, True]
    assert stash.config.plugins["stash_plugin"] == {"webhook_url": receiver.url}


def test_people_get_one_digest_of_existing_scenes(loop: FastForward, receiver: Receiver) -> None:
    """Of sixty scenes a chat gets one message, as the count says before; others are told how long it takes."""
    chat = webhook(loop, receiver, "Chat", preset="ntfy", topic="stash")
    count = press(loop.folder, "send_existing", connection=chat, all=True, count=True)
    assert (count["scenes"], count["digest"]) == (60, True)
    assert "one digest of the newest 10" in count["text"]
    press(loop.folder, "send_existing", connection=chat, all=True)
    loop.run(lambda: bool(receiver.received) and loop.queue.empty())
    (got,) = receiver.received
    assert b"Film 60" in got.body
    assert b"Film 50" not in got.body
    hook = webhook(loop, receiver)
    count = press(loop.folder, "send_existing", connection=hook, all=True, count=True)
    assert (count["scenes"], count["digest"], 0 < count["seconds"] < 60) == (60, False, True)
