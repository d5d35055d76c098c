"""The mode that tests every connection, with three media servers: the real process, a Stash, and sockets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

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
    """A Stash without scenes, and connections to the three servers."""
    with Courier(tmp_path, {}, scenes=0) as running:
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
    """The sentences about one destination."""
    (one,) = [one for one in found["destinations"] if one["id"] == destination]
    return "\n".join(text for step in one["steps"] for text in (step["text"], *step["examples"]))


def tried(found: dict[str, Any]) -> list[dict[str, Any]]:
    """The first scene that each destination was tested with."""
    return [one["scene"] for one in found["destinations"]]


def steps_of(found: dict[str, Any], destination: str) -> dict[str, dict[str, Any]]:
    """The steps of one destination, by name."""
    (one,) = [one for one in found["destinations"] if one["id"] == destination]
    return {step["name"]: step for step in one["steps"]}


ALL = dict.fromkeys(("emby", "jellyfin", "plex"), True)


def test_each_server_is_tried_with_twenty_scenes(courier: Courier, servers: Servers) -> None:
    """20 scenes of both library folders are looked up; versions, libraries and one scene's changes are shown."""
    courier.stash.config.stashes = [FOLDER, "/media/more films"]
    for number in range(200):
        courier.stash.add_scene(f"{FOLDER}/{number}.mkv", title="A film")
        servers.scan(f"/films/{number}.mkv")
    for number in range(3):
        courier.stash.add_scene(f"/media/more films/more {number}.mkv")
    found = press(courier)
    assert outcome(found) == ALL
    assert [one["scenes"] for one in found["destinations"]] == [20] * 3
    for destination, version in (("jellyfin", "10.10.7"), ("plex", "1.41.3"), ("emby", "4.9.1")):
        text = said_of(found, destination)
        assert version in text
        assert "Films (/films)" in text
        assert "17 of 20 scenes found. In none of the searched libraries: 3. Correct " in text
        assert '"Library report" compares all scenes.' in text
        assert "/media/more films/more " in text
        assert steps_of(found, destination)["scenes"]["status"] == "warn"
    for destination in ("jellyfin", "plex"):
        assert 'would become "A film"' in steps_of(found, destination)["example"]["text"]
    assert press(courier)["destinations"] == found["destinations"], "the same scenes are looked up each time"
    assert servers.untouched


def test_a_filtered_scene_is_left_out(courier: Courier, servers: Servers) -> None:
    """Only scenes that pass the filters are looked up."""
    scene_id = courier.stash.add_scene(f"{FOLDER}/last.mkv")
    servers.scan("/films/last.mkv")
    courier.stash.add_scene("/media/newer.mkv", tags=["Private"])
    courier.connect(*servers.connections(skip_tags="private"))
    found = press(courier)
    assert {one["id"] for one in tried(found)} == {scene_id}
    assert [one["scenes"] for one in found["destinations"]] == [1] * 3
    assert outcome(found) == ALL


def test_a_scene_that_stash_cannot_give(courier: Courier, servers: Servers) -> None:
    """If Stash fails on a scene of the sample, the newest scenes are looked up instead."""
    broken = courier.stash.add_scene(f"{FOLDER}/broken.mkv")
    for number in range(60):
        courier.stash.add_scene(f"{FOLDER}/{number}.mkv")
        servers.scan(f"/films/{number}.mkv")
    courier.stash.faults.broken_ids = {broken}
    found = press(courier)
    assert outcome(found) == ALL
    assert "20 of 20 scenes found." in said_of(found, "jellyfin")


def test_filters_that_nothing_passes(courier: Courier, servers: Servers) -> None:
    """If no scene passes the filters, a warning says so, and the newest scene with a file is used."""
    scene_id = courier.stash.add_scene(f"{FOLDER}/last.mkv")
    courier.stash.add_scene()
    servers.scan("/films/last.mkv")
    courier.connect(*servers.connections(folders="/nowhere"))
    found = press(courier)
    for destination in ALL:
        remark = steps_of(found, destination)["sample"]
        assert remark["status"] == "warn"
        assert '"Only these folders"' in remark["text"]
    assert {one["id"] for one in tried(found)} == {scene_id}
    assert outcome(found) == ALL
