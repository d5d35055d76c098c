"""Scenes whose item Plex doesn't have yet, and deleted scenes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from stash_courier.queue.failures import Failure
from stash_courier.queue.jobs import SceneFile
from tests.standin.plex import Library
from tests.standin.plex import Plex as Server
from tests.support.plex import DESTROY, PATH, SCENE, UPDATE, Make, failure
from tests.support.steps import tried

pytestmark = pytest.mark.timeout(60)


def test_a_new_file_is_scanned_and_then_found(server: Server, films: Library, plex: Make) -> None:
    """A missing item's folder is scanned, and the next attempt finds the item."""
    destination = plex()
    failed = failure(destination)
    assert failed.failure is Failure.NOT_THERE_YET
    assert PATH in failed.message
    assert "/data/a/one.mkv" in failed.message
    assert "/data => /media" in failed.message
    assert "it was asked to look for it" in failed.message
    assert server.scans == [("3", "/media/a")]
    assert server.edits == []
    item = server.add(films, PATH)
    destination.deliver(UPDATE, SCENE)
    assert item.values["title"] == "A day"


def test_one_folder_is_not_scanned_over_and_over(server: Server, plex: Make) -> None:
    """Many new files in a folder start one scan, and another when the first of them is retried."""
    now = [1000.0]
    destination = plex(clock=lambda: now[0])
    for n in range(5):
        files = (SceneFile(f"/data/a/{n}.mkv", 1, 1.0, 1, 1),)
        assert failure(destination, replace(SCENE, files=files)).failure is Failure.NOT_THERE_YET
    assert len(server.scans) == 1
    now[0] += 24.0  # the shortest retry
    failure(destination)
    assert len(server.scans) == 2


@pytest.mark.parametrize("name", [".one.mkv", "@eaDir/one.mkv", "one-scene.mkv"])
def test_a_name_that_is_never_an_item(server: Server, films: Library, plex: Make, name: str) -> None:
    """What the library's scanner leaves out isn't waited for, unless Plex has it; the test says why."""
    films.scanner = "Plex Video Files Scanner"
    one = replace(SCENE, files=(SceneFile(f"/data/a/{name}", 1, 1.0, 1, 1),))
    failed = failure(plex(), one)
    assert failed.failure is Failure.NEVER_THERE
    assert failed.notes == {"never_by_name"}
    assert f"/media/a/{name}: Plex " in failed.message
    assert server.scans == []
    assert " is never shown: Plex " in tried(plex(), one)["scenes"].examples[0]
    item = server.add(films, f"/media/a/{name}")
    plex().deliver(UPDATE, one)
    assert item.values["title"] == "A day"


def test_a_deleted_scene_only_starts_a_scan(server: Server, films: Library, plex: Make) -> None:
    """A deleted scene starts a scan of its folder; nothing in Plex is deleted or edited."""
    item = server.add(films, PATH)
    before = replace(item)
    destination = plex()
    destination.deliver(DESTROY, None)
    destination.deliver(DESTROY, None)
    assert server.scans == [("3", "/media/a")] * 2
    assert films.items == [before]
    assert {r.method for r in server.requests()} == {"GET"}


@pytest.mark.parametrize("path", ["", "/elsewhere/x.mkv"])
def test_a_deleted_scene_that_plex_never_had(server: Server, plex: Make, path: str) -> None:
    """A deleted scene outside all libraries, or with an unknown path, counts as delivered."""
    plex().deliver(replace(DESTROY, path=path), None)
    assert server.scans == []


def test_a_new_library_is_noticed_at_the_next_attempt(server: Server, films: Library, plex: Make) -> None:
    """The next attempt for a missing scene searches libraries that were made meanwhile."""
    films.locations = ("/other",)
    now = [1000.0]
    destination = plex(clock=lambda: now[0])
    assert failure(destination).failure is Failure.NOT_THERE_YET
    films.locations = ("/other", "/media")
    item = server.add(films, PATH)
    now[0] += 24.0  # the shortest retry
    destination.deliver(UPDATE, SCENE)
    assert item.values["title"] == "A day"
