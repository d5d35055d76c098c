"""The cast of a Jellyfin item: nobody is lost from it, and its roles stay."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from stash_courier.queue.jobs import Scene
from stash_courier.worker.destinations import Delivered
from stash_courier.worker.destinations.jellyfin.destination import Jellyfin
from tests.standin.jellyfin import StandInJellyfin
from tests.support.jellyfin import VERSIONS, jellyfin
from tests.support.media_samples import delivery, scene
from tests.support.steps import tried

pytestmark = pytest.mark.timeout(60)

CAST: list[dict[str, Any]] = [
    {"Name": "Cast One", "Role": "Hero", "Type": "Actor"},
    {"Name": "Cast Two", "Role": "Villain", "Type": "GuestStar"},
    {"Name": "Nina Director", "Role": "", "Type": "Director"},
]
NAMES = [one["Name"] for one in CAST]


def names(server: StandInJellyfin, item_id: str) -> list[str]:
    """The whole cast of an item, also who isn't shown."""
    return [one["Name"] for one in server.items[item_id]["People"]]


def deliver(ours: Jellyfin, one: Scene, record: bytes = b"") -> Delivered:
    """Delivers a scene."""
    return ours.deliver(delivery("jellyfin", one), one, record)


@pytest.mark.parametrize("version", VERSIONS)
def test_an_edit_of_the_title_loses_nobody(server: StandInJellyfin, version: str) -> None:
    """A person who was renamed in Jellyfin, and so isn't shown, stays in the cast when only a title changes."""
    server.version = version
    item_id = server.add("/media/movies/one.mkv", People=CAST)
    server.rename_person("Cast One", "Cast Uno")
    with jellyfin(server, skip_fields="performers director") as ours:
        done = deliver(ours, scene())
    assert server.items[item_id]["Name"] == "A Title"
    assert names(server, item_id) == NAMES
    assert done.notes == frozenset()
    assert server.counts["GET /Persons"] == 0  # only asked if people change


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("prepared", [False, True])
def test_people_are_left_alone_while_somebody_is_hidden(
    server: StandInJellyfin, version: str, prepared: bool
) -> None:
    """If somebody of the cast isn't shown, the people stay, the rest is delivered, and a note says so."""
    server.version = version
    item_id = server.add("/media/movies/one.mkv", People=CAST)
    server.rename_person("Cast One", "Cast Uno")
    one = scene()
    with jellyfin(server) as ours:
        if prepared:
            ours.prepare([(delivery("jellyfin", one), one)] * 2)
        done = deliver(ours, one)
        assert "hides somebody of the cast" in tried(ours, one)["example"].text
    item = server.items[item_id]
    assert names(server, item_id) == NAMES
    assert (item["Name"], item["Tags"]) == ("A Title", ["calm", "loud"])
    assert "Cast" not in item["LockedFields"]
    assert done.notes == {"hidden_people"}


def test_people_are_written_once_nobody_is_hidden(server: StandInJellyfin) -> None:
    """After the cast was corrected in Jellyfin, the next delivery writes the people."""
    item_id = server.add("/media/movies/one.mkv", People=CAST)
    server.rename_person("Cast One", "Cast Uno")
    with jellyfin(server) as ours:
        done = deliver(ours, scene())
        server.rename_person("Cast One", "Cast One")
        assert deliver(ours, scene(), done.record or b"").notes == frozenset()
    assert server.people(item_id, "Actor") == ["Anna", "Zoë"]
    assert server.people(item_id, "GuestStar") == ["Cast Two"]


@pytest.mark.parametrize("version", VERSIONS)
def test_the_others_keep_their_roles(server: StandInJellyfin, version: str) -> None:
    """When a performer comes or goes, the others keep role, type and order; version 12 keeps several roles."""
    server.version = version
    twin = [{"Name": "Anna", "Role": "Twin", "Type": "Actor"}] if version.startswith("12") else []
    cast = [
        {"Name": "Walter Writer", "Role": "", "Type": "Writer"},
        {"Name": "Anna", "Role": "The Queen", "Type": "Actor"},
        {"Name": "Gone", "Role": "King", "Type": "Actor"},
        *twin,
        {"Name": "Gus", "Role": "Guest", "Type": "GuestStar"},
    ]
    item_id = server.add("/media/movies/one.mkv", People=cast)
    with jellyfin(server) as ours:
        deliver(ours, scene(director=""))
    shown = [(p["Name"], p.get("Role") or "", p["Type"]) for p in server.items[item_id]["People"]]
    assert shown == [
        ("Walter Writer", "", "Writer"),
        ("Anna", "The Queen", "Actor"),
        *(("Anna", "Twin", "Actor") for _ in twin),
        ("Gus", "Guest", "GuestStar"),
        ("Zoë", "", "Actor"),
    ]


def test_somebody_who_is_hidden_later_is_no_lock_of_the_owner(server: StandInJellyfin) -> None:
    """We lock the cast that we write. If a person in it is renamed, no note says that the owner locked it."""
    item_id = server.add("/media/movies/one.mkv")
    one = scene()
    with jellyfin(server) as ours:
        record = deliver(ours, one).record or b""
        cast = names(server, item_id)
        server.rename_person(cast[0], "Another name")
        fewer = replace(one, performers=one.performers[:1])
        done = deliver(ours, fewer, record)
    assert names(server, item_id) == cast
    assert done.notes == {"hidden_people"}
