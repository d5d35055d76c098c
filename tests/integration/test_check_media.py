"""The button "Test destinations" with three media servers: the real process, a Stash, and sockets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from stash_courier.plugin.buttons import check_destinations
from stash_courier.worker.connections.model import Entry
from tests.standin import emby, jellyfin, plex
from tests.support.harness import Courier

pytestmark = pytest.mark.timeout(60)

FOLDER = "/media/films"  # as Stash calls it; "/films" at the servers


@dataclass
class Servers:
    """The three servers, each with a library of films."""

    jellyfin: jellyfin.StandInJellyfin
    plex: plex.Plex
    emby: emby.Emby

    def scan(self, path: str) -> None:
        """Adds a file to all three servers."""
        self.jellyfin.add(path)
        self.plex.add(self.plex.libraries[0], path)
        self.emby.items.append(emby.Item(path, path))

    def connections(self, **values: object) -> list[Entry]:
        """A connection to each, with these fields in all of them."""
        places = {
            "jellyfin": (self.jellyfin.url, jellyfin.KEY),
            "plex": (self.plex.url, plex.TOKEN),
            "emby": (self.emby.url, emby.KEY),
        }
        common = {"path_map": f"{FOLDER} => /films", **values}
        return [
            Entry(kind, kind, kind, values={"url": url, "key": key, **common})
            for kind, (url, key) in places.items()
        ]

    @property
    def untouched(self) -> bool:
        """Whether no server was asked to change anything."""
        received = (
            *self.jellyfin.receiver.received,
            *self.plex.receiver.received,
            *self.emby.receiver.received,
        )
        return bool(received) and {r.method for r in received} == {"GET"} and self.plex.scans == []


@pytest.fixture
def servers() -> Iterator[Servers]:
    """The three servers, running."""
    with (
        jellyfin.StandInJellyfin(libraries={"Films": ["/films"]}) as one,
        plex.Plex(plex.Library("3", "Films", ("/films",))) as two,
        emby.Emby(libraries={"Films": ("/films",)}) as three,
    ):
        yield Servers(one, two, three)


@pytest.fixture
def courier(tmp_path: Path, servers: Servers) -> Iterator[Courier]:
    """A Stash with three scenes, and connections to the three servers."""
    with Courier(tmp_path, {}, scenes=3) as running:
        running.connect(*servers.connections())
        yield running


def press(courier: Courier) -> dict[str, Any]:
    """Presses the button."""
    found: dict[str, Any] = courier.stash.operation({"mode": "test_destinations"})
    assert jellyfin.KEY not in str(found)
    assert plex.TOKEN not in str(found)
    assert emby.KEY not in str(found)
    return found


def outcome(found: dict[str, Any]) -> dict[str, bool]:
    """Which destinations passed."""
    return {one["id"]: one["ok"] for one in found["destinations"]}


def said_of(found: dict[str, Any], destination: str) -> str:
    """The lines about one destination."""
    (one,) = [one for one in found["destinations"] if one["id"] == destination]
    return "\n".join(one["lines"])


def tried(found: dict[str, Any]) -> list[dict[str, Any]]:
    """The scene that each destination was tested with."""
    return [one["scene"] for one in found["destinations"]]


ALL = dict.fromkeys(("emby", "jellyfin", "plex"), True)


def test_each_server_is_tried_with_a_real_scene(courier: Courier, servers: Servers) -> None:
    """Server, version, libraries, the newest scene's item and its changes are shown; nothing is written."""
    scene_id = courier.stash.add_scene(f"{FOLDER}/last.mkv", title="The Last")
    servers.scan("/films/last.mkv")
    found = press(courier)
    assert outcome(found) == ALL
    assert tried(found) == [{"id": scene_id, "title": "The Last"}] * 3
    for destination, version in (("jellyfin", "10.10.7"), ("plex", "1.41.3"), ("emby", "4.9.1")):
        text = said_of(found, destination)
        assert version in text
        assert "Films (/films)" in text
        assert f"Scene {scene_id} is " in text
        assert "/films/last.mkv" in text
    for destination in ("jellyfin", "plex"):
        assert 'title: "last" would become "The Last"' in said_of(found, destination)
    assert servers.untouched


def test_a_scene_without_a_file_is_skipped(courier: Courier, servers: Servers) -> None:
    """The check uses the newest scene with a file, since others can't be found on a server."""
    scene_id = courier.stash.add_scene(f"{FOLDER}/last.mkv")
    servers.scan("/films/last.mkv")
    for _ in range(30):
        courier.stash.add_scene()
    found = press(courier)
    assert {one["id"] for one in tried(found)} == {scene_id}
    assert outcome(found) == ALL


@pytest.mark.parametrize(
    ("filters", "fields"),
    [
        ({"only_organized": True}, {"organized": False}),
        ({"skip_tags": "private"}, {"tags": ["Private"]}),
        ({"include_tags": "public"}, {"tags": ["Private"]}),
        ({"folders": FOLDER}, {}),
    ],
)
def test_a_filtered_scene_is_skipped(
    courier: Courier, servers: Servers, filters: dict[str, object], fields: dict[str, Any]
) -> None:
    """The check uses the newest scene that passes the filters."""
    scene_id = courier.stash.add_scene(f"{FOLDER}/last.mkv", organized=True, tags=["Public"])
    servers.scan("/films/last.mkv")
    courier.stash.add_scene("/other/newer.mkv", **{"organized": True, **fields})
    courier.connect(*servers.connections(**filters))
    found = press(courier)
    assert {one["id"] for one in tried(found)} == {scene_id}
    assert outcome(found) == ALL


def test_filters_that_nothing_passes(courier: Courier, servers: Servers) -> None:
    """If no scene passes the filters, a warning says so, and the newest scene with a file is used."""
    scene_id = courier.stash.add_scene(f"{FOLDER}/last.mkv")
    courier.stash.add_scene()
    servers.scan("/films/last.mkv")
    courier.connect(*servers.connections(folders="/nowhere"))
    found = press(courier)
    warnings = [line for line in found["lines"] if '"Only these folders"' in line]
    assert len(warnings) == len(ALL)
    wanted = f"jellyfin: none of Stash's newest {check_destinations.LOOKED_AT} scenes passes the filters"
    assert any(wanted in line for line in warnings)
    assert {one["id"] for one in tried(found)} == {scene_id}
    assert outcome(found) == ALL


def test_a_stash_without_any_file(courier: Courier, servers: Servers) -> None:
    """If no scene has a file, a line says so, and each server fails."""
    for scene_id in (1, 2, 3):
        courier.stash.vanish(scene_id)
    scene_id = courier.stash.add_scene()
    found = press(courier)
    assert any("newest 500 scenes has a file" in line for line in found["lines"])
    assert {one["id"] for one in tried(found)} == {scene_id}
    assert outcome(found) == dict.fromkeys(ALL, False)
    assert all("has no file" in said_of(found, destination) for destination in ALL)


def test_an_empty_stash(courier: Courier, servers: Servers) -> None:
    """Without any scene, addresses and keys are still checked."""
    for scene_id in (1, 2, 3):
        courier.stash.vanish(scene_id)
    found = press(courier)
    assert tried(found) == [None] * 3
    assert outcome(found) == ALL
    assert servers.untouched


def test_a_missing_rule_shows_at_each_server(courier: Courier, servers: Servers) -> None:
    """If the path isn't known, each server's path of the same file is shown with the missing rule."""
    courier.stash.add_scene(f"{FOLDER}/last.mkv")
    servers.scan("/films/last.mkv")
    courier.connect(*servers.connections(path_map=""))
    found = press(courier)
    assert outcome(found) == dict.fromkeys(ALL, False)
    for destination in ALL:
        text = said_of(found, destination)
        assert f'{FOLDER}/last.mkv; no rule of "Path map" fits it' in text
        assert 'a file of that name at /films/last.mkv: the rule /media => / in "Path map" would' in text
    assert servers.untouched
