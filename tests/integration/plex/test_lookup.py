"""Which Plex item a scene's path leads to."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import urlsplit

import pytest

from stash_courier.queue.failures import Failure
from stash_courier.queue.jobs import SceneFile
from tests.standin.plex import Library
from tests.standin.plex import Plex as Server
from tests.support.plex import PATH, SCENE, UPDATE, Make, failure
from tests.support.steps import tried

pytestmark = pytest.mark.timeout(60)


@pytest.mark.parametrize(
    "name",
    [
        "one.mkv",
        "a, b & c; d.mkv",
        "100% #1? [x] 'é' \"ü\" +=&type=2.mkv",
        "日本語 🎬.mkv",
        "a\\b.mkv",
        "tab\tnew\nline.mkv",
        ",,.mkv",
    ],
)
def test_an_item_is_found_by_its_exact_path(server: Server, films: Library, plex: Make, name: str) -> None:
    """Of many items with similar paths, only the one with exactly the mapped path is edited."""
    for folder in ("/media", "/media/A", "/media/a/b", "/elsewhere/media/a"):
        server.add(films, f"{folder}/{name}")
    server.add(films, f"/media/a/x{name}")
    item = server.add(films, f"/media/a/{name}")
    plex().deliver(UPDATE, replace(SCENE, files=(SceneFile(f"/data/a/{name}", 1, 1.0, 1, 1),)))
    assert [i for i in films.items if i.values["title"] == "A day"] == [item]


def test_a_comma_in_a_name_does_not_list_the_library(server: Server, films: Library, plex: Make) -> None:
    """A file with a comma, Plex's separator of alternatives, in its name is found with one request."""
    for n in range(150):
        server.add(films, f"/media/a/{n:03} by me.mkv")
    item = server.add(films, "/media/a/me, a film.mkv")
    plex().deliver(UPDATE, replace(SCENE, files=(SceneFile("/data/a/me, a film.mkv", 1, 1.0, 1, 1),)))
    assert item.values["title"] == "A day"
    assert len(server.lookups) == 1


def test_only_the_library_that_has_the_folder_is_asked(server: Server, films: Library, plex: Make) -> None:
    """A scene costs one lookup even with several libraries: in the one that contains its path."""
    clips = Library("5", "Clips", ("/clips", "/media/a"))
    server.libraries.append(clips)
    films.locations = ("/media/other",)
    item = server.add(clips, PATH)
    plex().deliver(UPDATE, SCENE)
    assert item.values["title"] == "A day"
    assert [urlsplit(r.path).path for r in server.lookups] == ["/library/sections/5/all"]


def test_only_named_libraries_are_touched(server: Server, films: Library, plex: Make) -> None:
    """Items in libraries that aren't named in the settings stay unchanged, even with the same path."""
    wide = Library("6", "Films, HD", ("/media",))
    server.libraries.append(wide)
    server.add(films, PATH)
    item = server.add(wide, PATH)
    plex(libraries="films, hd").deliver(UPDATE, SCENE)
    assert item.values["title"] == "A day"
    assert films.items[0].values["title"] == "one"


@pytest.mark.parametrize("name", ["Filme", "Shows"])
def test_a_library_that_does_not_exist(server: Server, films: Library, plex: Make, name: str) -> None:
    """A wrong library name pauses Plex, and the message lists the right ones."""
    server.add(films, PATH)
    destination = plex(libraries=f"Films; {name}")
    failed = failure(destination)
    assert failed.failure is Failure.DESTINATION
    assert f'"{name}"' in failed.message
    assert 'Correct "Libraries": it has Films' in failed.message
    server.libraries.append(Library("9", name, ("/x",)))
    destination.deliver(UPDATE, SCENE)  # the next probe finds it
    assert films.items[0].values["title"] == "A day"


def test_two_items_with_that_path(server: Server, films: Library, plex: Make) -> None:
    """If two items have the scene's path, neither is edited and the dead letter names both."""
    other = Library("7", "Copies", ("/media/a",))
    server.libraries.append(other)
    items = server.add(films, PATH), server.add(other, PATH)
    failed = failure(plex())
    assert failed.failure is Failure.ITEM_REFUSED
    for item, library in zip(items, ("Films", "Copies"), strict=True):
        assert f'"one" in {library} (id {item.key})' in failed.message
    assert server.edits == []


def test_a_scene_with_several_files(server: Server, films: Library, plex: Make) -> None:
    """The item of the primary file is updated, or that of the next file if Plex doesn't know the primary one."""
    both = replace(SCENE, files=(*SCENE.files, SceneFile("/data/b/two.mkv", 1, 1.0, 1, 1)))
    second = server.add(films, "/media/b/two.mkv")
    plex().deliver(UPDATE, both)
    assert second.values["title"] == "A day"
    assert "found under /media/b/two.mkv" in tried(plex(), both)["example"].text
    first = server.add(films, PATH)
    second.values["title"] = "by hand"
    plex().deliver(UPDATE, both)
    assert (first.values["title"], second.values["title"]) == ("A day", "by hand")
