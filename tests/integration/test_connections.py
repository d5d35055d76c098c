"""Connections in the running plugin: saved during deliveries, each with its own paths, filters and state."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from stash_courier.queue.inbox import files
from stash_courier.worker.connections.model import Entry
from tests import ROOT
from tests.standin.jellyfin import KEY, StandInJellyfin
from tests.standin.receivers import Receiver, Reply
from tests.standin.stash.server import StandInStash
from tests.support.connections import store
from tests.support.fast_forward import FastForward
from tests.support.harness import PLUGIN, Courier, wait_until

pytestmark = pytest.mark.timeout(90)


@pytest.fixture
def courier(tmp_path: Path) -> Iterator[Courier]:
    """A Stash with nothing set up on its page."""
    with Courier(tmp_path, {"worker_schedule": "1s", "worker_sweep_off": True}, scenes=60) as running:
        yield running


@pytest.fixture
def stash(tmp_path: Path) -> Iterator[StandInStash]:
    """A Stash whose hooks start no worker."""
    with StandInStash(5, config_dir=tmp_path / "config", env={"STASH_COURIER_WORKER": "off"}) as running:
        running.install_plugin(ROOT)
        yield running


def webhook(receiver: Receiver, name: str = "hook", **values: object) -> Entry:
    """A webhook connection; its id is its name."""
    return Entry(name, name, "webhook", values={"url": f"{receiver.url}/hook", **values})


def arrived(receiver: Receiver) -> list[str]:
    """The ids of the scenes that a receiver got, in order."""
    return [one.json()["data"]["id"] for one in receiver.received]


def titles(receiver: Receiver) -> list[str]:
    """The titles that a receiver got, in order."""
    return [one.json()["data"]["title"] for one in receiver.received]


def names(server: StandInJellyfin) -> list[str]:
    """The names of a server's items."""
    return [item["Name"] for item in server.items.values()]


def saved(courier: Courier, entry: Entry) -> None:
    """Saves a connection and waits until the worker has noticed."""
    before = courier.log().count("connections: ")
    courier.connect(entry)
    wait_until(lambda: courier.log().count("connections: ") > before, 10.0)


# Saving


@pytest.mark.check
def test_a_save_during_deliveries_loses_and_repeats_nothing(
    courier: Courier, receiver: Receiver, other: Receiver
) -> None:
    """A connection that is saved while its requests run gets each edit once; another one keeps its sockets."""
    receiver.answer = other.answer = Reply(delay=0.15)
    entry = webhook(receiver, concurrency=3)
    courier.connect(entry, webhook(other, "other"))
    for scene_id in range(1, 41):
        courier.stash.edit(scene_id, title=f"Edit of {scene_id}")
    receiver.wait_for(3)
    for timeout in (20, 30, 40):
        saved(
            courier, replace(entry, name=f"Renamed {timeout}", values={**entry.values, "timeout_seconds": timeout})
        )
    courier.drained(40.0)
    wanted = {str(scene_id): 1 for scene_id in range(1, 41)}
    assert Counter(arrived(receiver)) == wanted
    assert Counter(arrived(other)) == wanted
    assert " failed: " not in courier.log()
    assert other.connections <= 4  # those of its one pool


def test_an_address_that_is_saved_takes_what_waits_along(
    courier: Courier, receiver: Receiver, other: Receiver
) -> None:
    """What waits for a connection is sent to its new address, under the same id."""
    receiver.answer = Reply(503)
    courier.connect(webhook(receiver))
    courier.stash.edit(3, title="Waits")
    receiver.wait_for(1)
    courier.connect(webhook(other))
    (received,) = other.wait_for(1)
    assert received.json()["data"]["title"] == "Waits"
    courier.drained()
    assert courier.dead() == 0


def test_a_login_in_an_address_is_never_shown(courier: Courier, receiver: Receiver) -> None:
    """The address then counts as a secret: only its host is shown, and a save without it keeps it."""
    login = receiver.url.replace("://", "://me:pass-word@")
    courier.connect(Entry("hook", "Hook", "webhook", values={"url": login}))
    answer = courier.stash.operation({"mode": "connections"})
    (found,) = answer["connections"]
    assert "pass-word" not in str(answer)
    assert (found["host"], found["secrets"]["url"]) == (f"127.0.0.1:{receiver.port}", True)
    change = {"mode": "save_connection", "id": "hook", "revision": 1, "name": "New", "values": {}}
    assert courier.stash.operation(change)["saved"]
    courier.stash.edit(1, title="An edit")
    (received,) = receiver.wait_for(1)
    assert received.headers["authorization"].startswith("Basic ")


# Each its own


@pytest.mark.check
def test_two_jellyfins_get_an_edit_under_their_own_paths(courier: Courier) -> None:
    """Two servers that call the folder differently both show the edit."""
    with StandInJellyfin() as one, StandInJellyfin() as two:
        found = courier.stash.library.find(5)
        assert found is not None
        name = Path(found.files[0].path).relative_to("/media/films")
        entries = {
            "jellyfin": (one, "/data"),
            "jellyfin-2": (two, "/mnt/media"),
        }
        for server, folder in entries.values():
            server.add(f"{folder}/{name}")
        courier.connect(
            *(
                Entry(
                    key,
                    key,
                    "jellyfin",
                    values={"url": s.url, "key": KEY, "path_map": f"/media/films => {folder}"},
                )
                for key, (s, folder) in entries.items()
            )
        )
        courier.stash.edit(5, title="In both")
        wait_until(lambda: [names(server) for server in (one, two)] == [["In both"]] * 2, 15.0)
        courier.drained()
    assert courier.dead() == 0


def test_filters_belong_to_their_connection(courier: Courier, receiver: Receiver, other: Receiver) -> None:
    """Each connection gets what its own filters let through."""
    courier.connect(
        webhook(receiver, "public", skip_tags="private"),
        webhook(other, "organized", only_organized=True, events="update"),
    )
    courier.stash.edit(1, title="For both", organized=True)
    courier.stash.edit(2, title="Not organized", organized=False)
    private = courier.stash.add_scene(tags=["Private"], organized=True)
    courier.stash.edit(private, title="Private")
    courier.stash.destroy(4)
    courier.drained()
    assert sorted(arrived(receiver)) == ["1", "2", "4"]
    assert sorted(arrived(other)) == ["1", str(private)]


@pytest.mark.check
def test_delivery_policies_belong_to_their_connection(
    courier: Courier, receiver: Receiver, other: Receiver
) -> None:
    """One attempt of one connection leaves the attempts of another as they are."""
    receiver.answer = other.answer = Reply(500)
    courier.connect(webhook(receiver, "once", attempts=1), webhook(other, "patient", attempts=3, schedule="1s"))
    courier.stash.edit(1, title="Refused")
    wait_until(lambda: courier.dead() == 2, 30.0)
    assert (len(receiver.received), len(other.received)) == (1, 3)


# States


def test_what_was_accepted_before_it_was_switched_off_is_kept(
    tmp_path: Path, stash: StandInStash, receiver: Receiver
) -> None:
    """An event that the worker had not routed yet still waits for the connection; later ones don't."""
    stash.config.plugins[PLUGIN] = {"worker_sweep_off": True}
    with FastForward(tmp_path / "data", stash) as running:
        store(running.folder, replace(webhook(receiver), state="off", off_since=running.wall + 1.0))
        running.put(1)
        running.jump(2.0)
        running.put(2)
        running.run(running.queue.inbox_empty)
        assert {name: waits.total for name, waits in running.queue.backlog().items()} == {"hook": 1}
        store(running.folder, webhook(receiver))
        running.run(running.queue.empty)
    assert arrived(receiver) == ["1"]


def test_what_is_off_gets_nothing_later_however_it_is_switched_on(
    tmp_path: Path, stash: StandInStash, receiver: Receiver
) -> None:
    """While the only connection is off, with a field that can't be used, changes are neither kept nor swept up."""
    stash.config.plugins[PLUGIN] = {}
    with FastForward(tmp_path / "data", stash) as running:
        store(running.folder, webhook(receiver))
        running.run(seconds=3600.0)
        off = replace(webhook(receiver, attempts=0.5), state="off", off_since=running.wall)
        store(running.folder, off)
        running.run(seconds=60.0)
        running.put(1)
        changed_at = datetime.fromtimestamp(running.wall, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        stash.library.commit([replace(stash.library.get(2), updated_at=changed_at)])
        running.run(running.queue.inbox_empty, seconds=60.0)
        store(running.folder, webhook(receiver))
        running.run(seconds=3600.0)
        assert running.queue.empty()
    assert arrived(receiver) == []


# The file


def _deleted(folder: Path) -> None:
    (folder / files.CONNECTIONS).unlink()


def _damaged(folder: Path) -> None:
    (folder / files.CONNECTIONS).write_bytes(b'{"format": 1, "connections": [')


SPOILT = {"deleted": _deleted, "damaged": _damaged}
SAYS: Mapping[str, str] = {"deleted": "is missing", "damaged": "is damaged"}


@pytest.mark.check
@pytest.mark.parametrize(("how", "restarts"), [("deleted", True), ("damaged", False)])
def test_a_file_that_can_not_be_read_removes_and_loses_nothing(
    courier: Courier, receiver: Receiver, how: str, restarts: bool
) -> None:
    """Live or after a restart, nothing is sent or removed, status says why, and correcting it heals."""
    receiver.answer = Reply(503)
    courier.connect(webhook(receiver, skip_tags="private"))
    courier.stash.edit(1, title="Before")
    receiver.wait_for(1)
    kept = (courier.data / files.CONNECTIONS).read_bytes()
    before = courier.log().count("connections: ")
    SPOILT[how](courier.data)
    if restarts:
        courier.kill_worker()
    courier.stash.edit(2, title="Meanwhile")
    courier.stash.edit(courier.stash.add_scene(tags=["Private"]), title="Private")
    wait_until(lambda: courier.log().count("connections: ") > before, 15.0)
    tried = len(receiver.received)
    receiver.answer = Reply()
    time.sleep(1.5)
    found = courier.stash.operation({"mode": "status"})
    (problem,) = [one for one in found["problems"] if one["field"] == files.CONNECTIONS]
    assert SAYS[how] in problem["message"]
    assert [(one["id"], one["state"]) for one in found["destinations"]] != []
    assert all(one["state"] != "removed" for one in found["destinations"])
    assert len(receiver.received) == tried
    assert courier.waiting() == 3
    file = courier.data / files.CONNECTIONS
    file.write_bytes(kept)
    courier.drained(30.0)
    assert sorted(arrived(receiver)[tried:]) == ["1", "2"]
    assert "Private" not in titles(receiver)
