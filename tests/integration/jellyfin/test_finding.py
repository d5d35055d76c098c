"""Which item is a scene's: versions, parts, extras, names that are never items, and other spellings of paths."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stash_courier.queue.failures import Failure
from stash_courier.queue.history import ledger
from stash_courier.queue.jobs import Scene
from stash_courier.worker.destinations import Delivered
from tests.standin.jellyfin import LibraryOptions, StandInJellyfin
from tests.standin.stash.server import StandInStash
from tests.support.connections import store
from tests.support.fast_forward import FastForward
from tests.support.jellyfin import connected, jellyfin, refused
from tests.support.media_samples import delivery, scene
from tests.support.steps import tried

pytestmark = pytest.mark.timeout(60)

VERSIONS = ["10.10.7", "10.11.11", "12.0.0"]
SHARED = Delivered(notes=frozenset({"shared_item"}), outcome="filtered")
ANNA = ("/data/movies/Anna/Anna - a.mp4", "/data/movies/Anna/Anna - b.mp4")
PARTS = ("/data/movies/Long/Long part1.mp4", "/data/movies/Long/Long part2.mp4")


@pytest.fixture
def scanned(server: StandInJellyfin, version: str) -> StandInJellyfin:
    """A server of a version that has scanned two versions and two parts."""
    server.version = version
    put(server, *ANNA, *PARTS)
    return server


def put(server: StandInJellyfin, *paths: str) -> None:
    """Adds files, by the paths that Stash has, and scans."""
    server.put(*(path.replace("/data/", "/media/") for path in paths))
    server.scan()


def deliver(server: StandInJellyfin, *scenes: Scene, **values: Any) -> list[Delivered]:
    """Delivers scenes one after another, as the worker does with those that are due together."""
    with jellyfin(server, **values) as ours:
        jobs = [(delivery("jellyfin", one, row_id=one.id), one) for one in scenes]
        ours.prepare(jobs)
        return [ours.deliver(*job) for job in jobs]


def titles(server: StandInJellyfin) -> dict[str, str]:
    """The names of the items with a parent, by file name."""
    own = [item for item in server.items.values() if item["ParentId"]]
    return {item["Path"].rpartition("/")[2]: item["Name"] for item in own}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("paths", [ANNA, PARTS])
def test_only_the_scene_of_the_primary_file_is_written(scanned: StandInJellyfin, paths: tuple[str, str]) -> None:
    """Of versions and of parts, the first file's scene is written; the other ends as filtered, in any order."""
    scenes = [scene(path, id=n, title=f"T{n}") for n, path in enumerate(paths)]
    for order in (scenes, scenes[::-1]):
        outcomes = deliver(scanned, *order)
        assert {one.outcome for one in outcomes} == {"sent", "filtered"}
        assert replace(outcomes[order.index(scenes[1])], left=()) == SHARED
        assert titles(scanned)[paths[0].rpartition("/")[2]] == "T0"
    assert {body["Name"] for body in scanned.posted} == {"T0"}
    assert scanned.notified == []


@pytest.mark.parametrize("version", VERSIONS)
def test_a_scene_with_several_files(scanned: StandInJellyfin) -> None:
    """Whichever of its files comes first in Stash, the scene has the item of which it has the primary file."""
    for number, files in enumerate((ANNA, ANNA[::-1])):
        (done,) = deliver(scanned, scene(*files, title=f"T{number}"), respect_locks=False)
        assert done.outcome == "sent"
        assert titles(scanned)["Anna - a.mp4"] == f"T{number}"


@pytest.mark.parametrize("version", VERSIONS)
def test_the_test_tells_of_shared_items(scanned: StandInJellyfin) -> None:
    """ "Test" counts such scenes, shows one, and recommends the type of library that has no versions."""
    with jellyfin(scanned) as ours:
        found = tried(ours, *(scene(path, id=n) for n, path in enumerate(ANNA, 1)))
    assert found["shared"].status == "warn"
    assert found["shared"].text.startswith(
        "Scenes whose file shares another item: 1. Items with several files: 1. In: Movies. "
    )
    assert '"Home videos and photos"' in found["shared"].text
    assert found["shared"].report
    assert found["scenes"].text.startswith("1 of 2 scenes found. Sharing another scene's item: 1.")
    with jellyfin(scanned) as ours:
        found = tried(ours, scene(ANNA[1], id=2))
    assert "/media/movies/Anna/Anna - b.mp4, a file of scene 2, only as a version" in found["shared"].text
    with jellyfin(scanned) as ours:
        found = tried(ours, scene(ANNA[0], id=1))
    assert found["shared"].text.startswith("Items with several files: 1. In: Movies. Jellyfin shows other files")


# Extras folders


@pytest.mark.parametrize("version", ["10.11.11", "12.0.0"])
@pytest.mark.parametrize("folder", ["scenes", "trailers"])
@pytest.mark.parametrize("collection", ["movies", None])
def test_an_extras_folder_of_the_library(
    server: StandInJellyfin, version: str, folder: str, collection: str | None
) -> None:
    """A file that is listed a second time as an extra is written to the item of its own."""
    server.version = version
    server.options["Movies"] = LibraryOptions(collection)
    path = f"/data/movies/{folder}/a.mp4"
    put(server, path)
    assert len(server.items) == 2
    (done,) = deliver(server, scene(path))
    assert done.outcome == "sent"
    assert titles(server) == {"a.mp4": "A Title"}
    assert all(body["ParentId"] for body in server.posted)


# Names that are never items


@pytest.mark.parametrize(
    ("inner", "word"),
    [
        ("beach-scene.mp4", '"-scene"'),
        ("x/beach-clip2.mp4", '"-clip"'),
        ("sample.mp4", '"sample"'),
        (".hidden.mp4", "dot"),
        ("x/@eaDir/a.mp4", '"@eaDir"'),
        ("Performer/clips/a.mp4", '"clips"'),
    ],
)
def test_a_name_that_is_never_an_item(server: StandInJellyfin, inner: str, word: str) -> None:
    """After a look the failure says what is wrong with the name; Jellyfin isn't asked to scan the file."""
    path = f"/data/movies/{inner}"
    put(server, path)
    with jellyfin(server) as ours:
        failed = refused(ours, scene(path))
        found = tried(ours, scene(path))
    assert failed.failure == "never_there"
    assert word in failed.message
    assert "Path map" not in failed.message
    assert server.notified == []
    assert server.counts["GET /Items?ids"]
    assert (found["scenes"].status, found["scenes"].fix) == ("fail", None)
    assert word in found["scenes"].examples[0]


def test_a_scene_with_one_possible_file_is_waited_for(server: StandInJellyfin) -> None:
    """Only the file that may become an item is announced."""
    with jellyfin(server) as ours:
        failed = refused(ours, scene("/data/movies/a-scene.mp4", "/data/movies/a.mp4"))
    assert failed.failure is Failure.NOT_THERE_YET
    assert [one["Path"] for one in server.notified] == ["/media/movies/a.mp4"]


@pytest.mark.parametrize("absent", ["skip", "dead_letter"])
def test_what_becomes_of_such_a_scene(
    tmp_path: Path, stash: StandInStash, server: StandInJellyfin, absent: str
) -> None:
    """With "skip" it is counted, else it is a dead letter: at its first attempt, although it came today."""
    server.libraries = {"Films": ["/films"]}
    one = stash.add_scene("/media/films/a-scene.mp4")
    with FastForward(tmp_path / "data", stash) as courier:
        store(courier.folder, connected(server.url, absent=absent))
        courier.put(one, "create")
        courier.run(lambda: courier.queue.empty() and courier.queue.inbox_empty())
        assert courier.ran < 30
        letters = courier.dlq.get_recent(10)
        row = ledger.find(courier.queue.connection, "jellyfin", one)
    if absent == "skip":
        assert letters == []
        assert row is not None
        assert row.outcome == "absent"
        assert row.notes == {"never_by_name"}
    else:
        assert row is None
        assert [letter.error_type for letter in letters] == ["never_there"]
        assert '"-scene"' in letters[0].error_message
    assert server.notified == []


# Other spellings of paths


@pytest.mark.parametrize("path_map", ["/data => /media", "/data => //nas/media"])
def test_network_path_substitution(server: StandInJellyfin, path_map: str) -> None:
    """An item is found by the path of its file and by the one that Jellyfin shows, and new files are announced."""
    server.substitutions = {"/media": "//nas/media"}
    put(server, "/data/movies/One.mp4")
    with jellyfin(server, path_map=path_map) as ours:
        one = scene("/data/movies/One.mp4")
        assert ours.deliver(delivery("jellyfin", one), one).outcome == "sent"
        refused(ours, scene("/data/movies/new.mp4"))
    assert titles(server) == {"One.mp4": "A Title"}
    assert [one["Path"] for one in server.notified] == ["/media/movies/new.mp4"]
