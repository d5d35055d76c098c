"""The mode "convert_settings": an old data folder and the settings of an earlier version become connections."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from stash_courier.queue.inbox import files
from stash_courier.worker.connections.model import Entry
from stash_courier.worker.connections.store import Store
from tests.faults.upgrades import KINDS, Old
from tests.standin import emby, jellyfin
from tests.standin.receivers import Receiver
from tests.standin.stash.web import Response
from tests.support.buttons import Buttons, webhook
from tests.support.harness import PLUGIN, SECRET, Courier, wait_until

pytestmark = pytest.mark.timeout(120)

LAST = len(KINDS)  # the old folder has one scene of each kind
FRESH, PRIVATE = LAST + 1, LAST + 2
# What is left on Stash's page afterwards.
COMMON = {"worker_timeout_seconds": 7, "worker_schedule": "1s", "worker_sweep_off": True}


@dataclass
class World:
    """A Stash whose plugin was updated, and its receivers."""

    courier: Courier
    receiver: Receiver
    jellyfin: jellyfin.StandInJellyfin
    emby: emby.Emby
    old: dict[str, object]  # the settings

    @property
    def names(self) -> list[str]:
        """The ids that the destinations had."""
        return ["emby", "jellyfin", webhook(self.receiver)]

    @property
    def settings(self) -> dict[str, Any]:
        """The plugin's settings as Stash has them."""
        return dict(self.courier.stash.config.plugins[PLUGIN])

    @property
    def silent(self) -> bool:
        """Whether nothing was sent anywhere."""
        servers = (self.jellyfin.receiver, self.emby.receiver, self.receiver)
        return not any(server.received for server in servers)

    def arrived(self) -> list[str]:
        """The ids of the scenes that the webhook got."""
        return sorted(one.json()["data"]["id"] for one in self.receiver.received)

    def titles(self) -> str:
        """Everything that any receiver got, as text."""
        bodies = [one.body for one in (*self.receiver.received, *self.jellyfin.receiver.received)]
        return b"\n".join(bodies).decode()

    def press(self, mode: str, **args: object) -> dict[str, Any]:
        """Runs a mode."""
        found: dict[str, Any] = self.courier.stash.operation({"mode": mode, **args})
        return found


def old_settings(receiver: Receiver, jelly: jellyfin.StandInJellyfin, em: emby.Emby) -> dict[str, object]:
    """Settings as commit 928a598 had them."""
    return {
        "webhook_url": receiver.url,
        "webhook_secret": SECRET,
        "webhook_headers": "X-Gate: open-sesame",
        "jellyfin_url": jelly.url,
        "jellyfin_api_key": jellyfin.KEY,
        "jellyfin_skip_fields": "details",
        "emby_url": em.url,
        "emby_api_key": emby.KEY,
        "path_map": "/media/films => /films",
        "filter_skip_tags": "private",
        "filter_paths": "/media/films",
        "delivery_timeout_seconds": 7,
        "delivery_retry_schedule": "1s",
        "sweep_off": True,
    }


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """An old data folder with something waiting, under the new plugin."""
    with (
        Receiver() as receiver,
        jellyfin.StandInJellyfin(libraries={"Films": ["/films"]}) as jelly,
        emby.Emby(libraries={"Films": ("/films",)}) as em,
    ):
        old = old_settings(receiver, jelly, em)
        with Courier(tmp_path, old, scenes=PRIVATE) as courier:
            Old(webhook(receiver), 1, 2).make(courier.data)
            for scene_id in range(1, PRIVATE + 1):
                found = courier.stash.library.find(scene_id)
                assert found is not None
                path = found.files[0].path.replace("/media/films", "/films")
                jelly.add(path)
                em.items.append(emby.Item(str(scene_id), path))
            courier.stash.change_without_hook(PRIVATE, tags=["Private"])
            yield World(courier, receiver, jelly, em, old)


def upgraded(world: World) -> None:
    """Edits two scenes, which starts the worker, and waits until it has found what must be converted."""
    world.courier.stash.edit(FRESH, title="Fresh", details="Only in Stash")
    world.courier.stash.edit(PRIVATE, title="Very secret")
    wait_until(lambda: "Convert settings" in world.courier.log(), 20.0)
    world.press("resume")  # the old folder was paused


def test_old_settings_become_connections_with_their_filters(world: World) -> None:
    """Nothing is sent before; afterwards all that waits arrives, filtered, under the same ids."""
    upgraded(world)
    time.sleep(2.0)
    before = world.press("status")
    assert world.silent
    assert {
        one["id"]: one["state"] for one in before["destinations"] if one["state"] != "removed"
    } == dict.fromkeys(world.names, "broken")
    assert any("filter_skip_tags" in one["message"] for one in before["problems"])

    found = world.press("convert_settings")
    assert sorted(found["connections"]) == world.names
    assert set(found["emptied"]) == set(world.old)
    assert world.settings == COMMON
    entries = {entry.id: entry for entry in Store(world.courier.data).read().entries}
    assert sorted(entries) == world.names
    assert all(entry.values["skip_tags"] == "private" for entry in entries.values())
    assert all(entry.values["path_map"] == "/media/films => /films" for entry in entries.values())
    assert (world.courier.data / files.CONNECTIONS).stat().st_mode & 0o777 == 0o600

    world.courier.drained(60.0)
    waited = Old(webhook(world.receiver), 1, 2).scenes(
        *("inbox", "waiting", "backing_off", "bulk", "in_flight", "overtaken", "suspect"), "asked", "back"
    )
    destroyed = Old(webhook(world.receiver), 1, 2).scenes("destroyed")
    assert world.arrived() == sorted(map(str, [*waited, *destroyed, FRESH]))
    assert {one.headers["x-gate"] for one in world.receiver.received} == {"open-sesame"}
    assert "Very secret" not in world.titles()
    assert "Fresh" in [item["Name"] for item in world.jellyfin.items.values()]
    assert "Only in Stash" not in str(world.jellyfin.items)
    assert world.emby.receiver.received
    assert world.courier.dead() == len({"dead", "removed"})  # the old folder's
    after = world.press("status")
    assert after["problems"] == []
    assert "open-sesame" not in world.courier.log() + json.dumps(after)


def test_what_an_old_tab_writes_back_is_ignored_and_reported(world: World) -> None:
    """The old settings come back: nothing stops, nothing is sent twice or unfiltered, and pressing again heals."""
    upgraded(world)
    world.press("convert_settings")
    world.courier.drained(60.0)
    sent = len(world.receiver.received)

    world.courier.stash.configure(PLUGIN, world.old)
    world.courier.stash.edit(FRESH, title="Fresh again")
    world.courier.stash.edit(PRIVATE, title="Very secret again")
    world.receiver.wait_for(sent + 1)
    world.courier.drained(60.0)
    assert len(world.receiver.received) == sent + 1
    assert "Very secret" not in world.titles()
    found = world.press("status")
    named = {one["field"] for one in found["problems"] if "was converted before" in one["message"]}
    assert {"webhook_url", "jellyfin_url", "emby_url", "filter_skip_tags", "webhook_headers"} <= named
    assert sorted(one["id"] for one in found["destinations"] if one["state"] == "well") == world.names

    assert world.press("convert_settings")["connections"] == []
    assert world.settings == COMMON
    assert world.press("status")["problems"] == []


class Killing:
    """Stash's site, which kills the button that wants its settings emptied."""

    def __init__(self, courier: Courier, buttons: Buttons) -> None:
        self._site: Any = courier.stash._site
        self._buttons = buttons
        self.killed = threading.Event()
        courier.stash._site = self  # type: ignore[assignment]
        courier.stash.restart()

    def __call__(self, request: Any) -> Response | None:
        """Answers one request."""
        if b"SaveSettings" in request.body and not self.killed.is_set():
            os.kill(self._buttons.pid, signal.SIGKILL)
            self.killed.set()
            return None
        answer: Response | None = self._site(request)
        return answer


def test_a_kill_before_the_settings_are_emptied_is_healed_by_pressing_again(world: World) -> None:
    """Between the two writes the filters already apply; the second press keeps the common settings too."""
    upgraded(world)
    config = world.courier.stash.config
    buttons = Buttons(config.config_dir, config.port, worker=True)
    killing = Killing(world.courier, buttons)
    assert buttons.call("convert_settings").code == -signal.SIGKILL
    assert killing.killed.is_set()
    assert world.settings == world.old
    world.courier.drained(60.0)
    assert str(FRESH) in world.arrived()
    assert "Very secret" not in world.titles()
    sent = len(world.receiver.received)

    assert world.press("convert_settings")["connections"] == []
    assert world.settings == COMMON
    assert sorted(entry.id for entry in Store(world.courier.data).read().entries) == world.names
    world.courier.stash.edit(FRESH, title="Once more")
    world.receiver.wait_for(sent + 1)
    world.courier.drained(60.0)
    assert len(world.receiver.received) == sent + 1


def test_filters_without_a_destination_wait_for_the_first(tmp_path: Path) -> None:
    """A filter that no destination takes over isn't lost: the first destination gets it. So does a key."""
    settings = {"filter_skip_tags": "private", "jellyfin_api_key": "a-key", "filter_skip_events": "create"}
    with Courier(tmp_path, settings, scenes=1) as courier:
        found = courier.stash.operation({"mode": "convert_settings"})
        assert courier.stash.config.plugins[PLUGIN] == settings
        assert found["lines"] == [
            "Settings converted: 0. Enter the address of a receiver first; the filters are for it."
        ]
        courier.stash.config.plugins[PLUGIN]["jellyfin_url"] = "http://127.0.0.1:9"
        courier.stash.operation({"mode": "convert_settings"})
        assert courier.stash.config.plugins[PLUGIN] == {}
        (entry,) = Store(courier.data).read().entries
    assert (entry.values["skip_tags"], entry.values["events"]) == ("private", ["update", "destroy"])


def test_a_filter_that_comes_too_late_is_named(tmp_path: Path) -> None:
    """Where there are connections with filters of their own, an old one is for none of them, and that is said."""
    with Courier(tmp_path, {"filter_skip_tags": "private"}, scenes=1) as courier:
        courier.connect(Entry("webhook-1", "Hook", "webhook", values={"url": "http://127.0.0.1:9/"}))
        found = courier.stash.operation({"mode": "convert_settings"})
        assert courier.stash.config.plugins[PLUGIN] == {}
    assert "These belong to no connection and apply to none: filter_skip_tags." in found["lines"]


@pytest.mark.parametrize(
    ("skipped", "state"), [("create update destroy", "off"), ("creat, update", "broken"), ("create", "well")]
)
def test_a_filter_of_events_never_becomes_all_events(tmp_path: Path, skipped: str, state: str) -> None:
    """Where all events were skipped nothing is queued; a mistyped one stops the connection."""
    with Receiver() as receiver:
        settings = {"webhook_url": receiver.url, "filter_skip_events": skipped, "sweep_off": True}
        with Courier(tmp_path, settings, scenes=2) as courier:
            courier.stash.operation({"mode": "convert_settings"})
            courier.stash.edit(1, title="An edit")
            wait_until(lambda: courier.waiting() == (state == "broken"), 15.0)
            (found,) = courier.stash.operation({"mode": "status"})["destinations"]
        assert found["state"] == state
        assert len(receiver.received) == (state == "well")
