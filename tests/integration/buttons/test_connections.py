"""The modes that list, save, test and delete connections, and send existing scenes to one of them."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.standin.receivers import Receiver, Reply
from tests.standin.stash import GraphQLFailed
from tests.support.harness import Courier, wait_until

SECRET = "whsec_c3Rhc2gtY291cmllci1kZW1vLXNlY3JldC0wMDE="


class Live:
    """The modes of a plugin whose worker and hooks run."""

    def __init__(self, courier: Courier) -> None:
        self.stash = courier.stash
        self.folder = courier.data

    def call(self, mode: str, **args: object) -> dict[str, Any]:
        """Runs a mode; returns its output."""
        output: dict[str, Any] = self.stash.operation({"mode": mode, **args})
        return output


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Live]:
    with Courier(tmp_path, {}) as courier:
        yield Live(courier)


@pytest.fixture
def second() -> Iterator[Receiver]:
    with Receiver() as up:
        yield up


def listed(live: Live) -> tuple[int, dict[str, Any]]:
    """The revision, and the connections by id."""
    output = live.call("connections")
    return output["revision"], {one["id"]: one for one in output["connections"]}


def saved(live: Live, **draft: Any) -> dict[str, Any]:
    """Saves a connection with the present revision."""
    revision, _ = listed(live)
    output: dict[str, Any] = live.call("save_connection", revision=revision, **draft)
    return output


def webhook(live: Live, receiver: Receiver, name: str = "Hook", **values: object) -> str:
    """The id of a new webhook connection."""
    found = saved(live, kind="webhook", name=name, values={"url": receiver.url, **values})
    assert found["saved"], found
    return str(found["id"])


def test_a_saved_connection_delivers_and_shows_no_secret(live: Live, receiver: Receiver) -> None:
    """The next edit arrives, signed. No answer contains the secret, and only the owner can read the file."""
    name = webhook(live, receiver, secret=SECRET)
    live.stash.edit(7, title="Seven")
    (got,) = receiver.wait_for(1)
    assert "webhook-signature" in got.headers
    _, connections = listed(live)
    assert connections[name]["secrets"] == {"headers": False, "secret": True}
    assert SECRET not in json.dumps(live.call("connections"))
    file = live.folder / "connections.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert SECRET in file.read_text()


def test_an_absent_secret_stays_and_an_empty_one_goes(live: Live, receiver: Receiver) -> None:
    """A form never gets the secret, so it can't send it back."""
    name = webhook(live, receiver, secret=SECRET)
    assert saved(live, id=name, name="Other", values={"url": receiver.url + "path"})["saved"]
    _, connections = listed(live)
    assert (connections[name]["name"], connections[name]["secrets"]["secret"]) == ("Other", True)
    assert saved(live, id=name, values={"url": receiver.url, "secret": ""})["saved"]
    _, connections = listed(live)
    assert connections[name]["secrets"]["secret"] is False


@pytest.mark.parametrize("mode", ["save_connection", "test_connection"])
def test_a_secret_is_not_sent_to_another_address(
    mode: str, live: Live, receiver: Receiver, second: Receiver
) -> None:
    """If host or port change, the secret must be entered again, for a save and for a test."""
    name = webhook(live, receiver, headers="X-Key: very-secret-value")
    revision, _ = listed(live)
    args = {"revision": revision} if mode == "save_connection" else {}
    output = live.call(mode, id=name, values={"url": second.url}, **args)
    assert output.get("saved", output.get("ok")) is False
    assert "headers" in json.dumps(output)
    assert second.received == ()


@pytest.mark.parametrize("mode", ["save_connection", "test_connection"])
def test_a_secret_address_is_not_shown_by_way_of_another_preset(mode: str, live: Live, receiver: Receiver) -> None:
    """A script that only changes the preset gets neither the address nor a request to it."""
    address = f"{receiver.url.rstrip('/')}/api/webhooks/1/very-secret-token"
    name = str(saved(live, kind="webhook", name="Chat", values={"url": address, "preset": "discord"})["id"])
    revision, _ = listed(live)
    args = {"revision": revision} if mode == "save_connection" else {}
    output = live.call(mode, id=name, values={"preset": "standard"}, **args)
    assert output.get("saved", output.get("ok")) is False
    assert [one["field"] for one in output.get("problems") or output["steps"]] == ["url"]
    assert "very-secret-token" not in json.dumps([output, live.call("connections")])
    assert receiver.received == ()


def test_people_read_names(live: Live, receiver: Receiver) -> None:
    """Reports, dead letters and the lines for Stash's log call a connection by its name, not by its id."""
    name = webhook(live, receiver, name="Living room", attempts=1)
    receiver.answer = Reply(422)
    live.stash.edit(5, title="Five")
    wait_until(lambda: live.call("review_dead_letters")["total"] == 1, 20.0)
    receiver.answer = Reply(404)
    live.stash.edit(6, title="Six")
    wait_until(lambda: state(live, name)["state"] == "held", 20.0)
    lines = [
        line for task in ("review_dead_letters", "status", "enqueue_all") for line in live.call(task)["lines"]
    ]
    assert saved(live, id=name, values={"url": receiver.url, "attempts": 1, "studios": "A"})["saved"]
    said = "\n".join(lines).replace(f"Group: {name}", "")
    assert "to Living room (update)" in said
    assert "Connections: Living room." in said
    assert name not in said
    notices = live.folder / "notices"
    wait_until(lambda: notices.exists() and "Living room: " in notices.read_text(), 10.0)


def test_the_second_of_two_writers_gets_a_conflict(live: Live, receiver: Receiver) -> None:
    """A save names the revision that it started from, so nobody's change is lost."""
    revision, _ = listed(live)
    first = {"kind": "webhook", "name": "One", "values": {"url": receiver.url}}
    assert live.call("save_connection", revision=revision, **first)["saved"]
    late = live.call("save_connection", revision=revision, **{**first, "name": "Two"})
    assert (late["saved"], late["conflict"]) == (False, True)
    _, connections = listed(live)
    assert [one["name"] for one in connections.values()] == ["One"]


def test_each_bad_field_gets_a_problem(live: Live) -> None:
    """All problems come at once, each at its field, and nothing is stored."""
    output = saved(
        live,
        kind="jellyfin",
        name="",
        values={"url": "jelly", "path_map": "data", "concurrency": 99, "nonsense": 1, "skip_fields": ["titel"]},
    )
    fields = sorted(problem["field"] for problem in output["problems"])
    assert fields == ["concurrency", "key", "name", "nonsense", "path_map", "skip_fields", "url"]
    assert not (live.folder / "connections.json").exists()


def test_kinds_have_the_fields_that_are_parsed(live: Live) -> None:
    """A form drawn from the kinds can't offer a field that a save refuses."""
    for kind in live.call("connection_kinds")["kinds"]:
        values = {field["key"]: "" for field in kind["fields"] if not field["required"]}
        output = saved(live, kind=kind["kind"], name="x", values=values)
        wanted = {field["key"] for field in kind["fields"] if field["required"]}
        assert {problem["field"] for problem in output["problems"]} == wanted


def test_a_chat_is_asked_for_no_signing_secret_at_first(live: Live) -> None:
    """No chat and no phone checks a signature, so its form has that field among the advanced ones."""
    (hook,) = (kind for kind in live.call("connection_kinds")["kinds"] if kind["kind"] == "webhook")
    advanced = {variant["value"]: variant["advanced"] for variant in hook["variants"]}
    for preset in ("discord", "slack", "telegram", "ntfy", "gotify", "apprise"):
        assert advanced.pop(preset) == ["secret"]
    assert [*advanced.values()] == [[]] * 3  # standard, Home Assistant, custom


def test_a_paused_connection_queues_and_one_that_is_off_does_not(
    live: Live, receiver: Receiver, second: Receiver
) -> None:
    """Paused: everything waits and arrives later. Off: an edit is not queued, and sending it is offered later."""
    paused = webhook(live, receiver, "Paused")
    off = webhook(live, second, "Off")
    assert saved(live, id=paused, state="paused")["saved"]
    assert saved(live, id=off, state="off")["saved"]
    live.stash.edit(3, title="Three")
    wait_until(lambda: state(live, paused)["waiting"] == 1, 10.0)
    assert (receiver.received, second.received) == ((), ())
    assert saved(live, id=paused, state="on")["offers"] == []
    receiver.wait_for(1)
    (offer,) = saved(live, id=off, state="on")["offers"]
    assert live.call("send_existing", count=True, **offer)["scenes"] == 1
    assert second.received == ()
    live.call("send_existing", **offer)
    (got,) = second.wait_for(1)
    assert got.json()["data"]["title"] == "Three"
    assert len(receiver.received) == 1


def state(live: Live, name: str) -> dict[str, Any]:
    """What status says about a connection."""
    return next((one for one in live.call("status")["destinations"] if one["id"] == name), {"waiting": 0})


@pytest.mark.parametrize("waiting", ["send", "dead_letter", "discard"])
def test_deleting_a_connection_says_what_becomes_of_what_waits(
    waiting: str, live: Live, receiver: Receiver
) -> None:
    """It is sent first, becomes dead letters, or is discarded; the id is never used again."""
    name = webhook(live, receiver)
    receiver.down()
    live.stash.edit(5, title="Five")
    wait_until(lambda: state(live, name)["waiting"] + state(live, name).get("in_flight", 0) >= 1, 10.0)
    revision, _ = listed(live)
    assert live.call("delete_connection", id=name, revision=revision, waiting=waiting)["deleted"]
    receiver.up()
    if waiting == "send":
        receiver.wait_for(1, timeout=30.0)
    wait_until(lambda: name not in listed(live)[1], 20.0)
    dead = 1 if waiting == "dead_letter" else 0
    wait_until(
        lambda: live.call("review_dead_letters")["total"] == dead and state(live, name)["waiting"] == 0, 20.0
    )
    assert len(receiver.received) == (1 if waiting == "send" else 0)
    retried = live.call("retry_dead_letters")
    assert (retried["retried"], retried["unsendable"]) == (0, dead)
    assert live.call("review_dead_letters")["total"] == dead
    assert webhook(live, receiver) != name


def test_a_draft_can_be_tested_before_it_is_saved(live: Live, receiver: Receiver) -> None:
    """Nothing is stored by a test."""
    draft = {"kind": "webhook", "name": "Draft", "values": {"url": receiver.url}}
    assert live.call("test_connection", **draft)["ok"] is True
    receiver.down()
    assert live.call("test_connection", **draft)["ok"] is False
    assert listed(live) == (0, {})


def test_a_connection_of_stash_settings_is_changed_there(live: Live, receiver: Receiver) -> None:
    """It is listed as such, delivers, can be duplicated, and is neither saved nor deleted here."""
    live.stash.configure("stash_plugin", {"webhook_url": receiver.url})
    revision, connections = listed(live)
    (name,) = connections
    assert (name.partition(":")[0], connections[name]["from_settings"]) == ("webhook", True)
    with pytest.raises(GraphQLFailed, match="Change it there"):
        saved(live, id=name, state="off")
    with pytest.raises(GraphQLFailed, match="Empty it there"):
        live.call("delete_connection", id=name, waiting="send", revision=revision)
    live.stash.edit(2, title="Two")
    receiver.wait_for(1)
    assert saved(live, copy_of=name, name="Mine")["saved"]
    assert [one["from_settings"] for one in listed(live)[1].values()] == [False, True]
    assert live.stash.config.plugins["stash_plugin"] == {"webhook_url": receiver.url}
