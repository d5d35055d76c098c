"""Which names Jellyfin never makes an item of."""

from __future__ import annotations

import re

import pytest

from stash_courier.worker.destinations.jellyfin.names import NEVER, why_never
from tests.standin.jellyfin.disk import resolve

ROOT = "/media/films"
VERSIONS = [(10, 8), (10, 10), (10, 11), (12, 0)]


def why(inner: str, version: tuple[int, int] = (10, 11)) -> str:
    """Why a file of the library never becomes an item."""
    return why_never(f"{ROOT}/{inner}", ROOT, version)


@pytest.mark.parametrize("version", [*VERSIONS, NEVER])
@pytest.mark.parametrize(
    "inner",
    [
        *("a-scene.mp4", "a-Clip2.mp4", "a.trailer.mkv", "a_sample.mp4", "a - trailer.mp4", "sample.mkv"),
        *("Trailer.mp4", ".a.mp4", "x/.a.mp4", ".x/a.mp4", "x/@eaDir/a.mp4", "#recycle/x/a.mp4", "x/sample/a.mp4"),
        *("Performer/scenes/a.mp4", "Performer/Extras/x/a.mp4"),
    ],
)
def test_names_that_are_never_items(version: tuple[int, int], inner: str) -> None:
    """Such a name is explained, in any version and if the version isn't known."""
    assert why(inner, version)


@pytest.mark.parametrize("version", [*VERSIONS, NEVER])
@pytest.mark.parametrize(
    "inner",
    [
        *(
            "a scene.mp4",
            "a.scene.mp4",
            "a_clip.mp4",
            "resample.mp4",
            "Film part1.mp4",
            "scene.mp4",
            "a-scenes.mp4",
        ),
        *("trailer park.mp4", "a-scene b.mp4", "x-clip/a.mp4", "x.y/a.mp4", "scene/a.mp4", ""),
    ],
)
def test_names_that_may_be_items(version: tuple[int, int], inner: str) -> None:
    """No such name is blamed."""
    assert not why(inner, version)


@pytest.mark.parametrize(
    ("inner", "never", "may"),
    [
        ("scenes/a.mp4", (10, 10), (10, 11)),
        ("scenes/x/a.mp4", (10, 10), (12, 0)),
        ("x/clips/a.mp4", (10, 9), (10, 8)),
        ("a-other.mp4", (10, 9), (10, 8)),
        ("a trailer.mp4", (10, 10), (10, 11)),
        ("x/subs/a.mp4", (10, 11), (10, 10)),
    ],
)
def test_rules_of_some_versions(inner: str, never: tuple[int, int], may: tuple[int, int]) -> None:
    """Some names are items in some versions. If the version isn't known, they are not blamed."""
    assert why(inner, never)
    assert not why(inner, may)
    assert not why(inner, NEVER)


def test_only_what_is_in_the_library_counts() -> None:
    """The library's own folder may have any name. On Windows the separators don't matter."""
    assert not why_never("/media/scenes/a.mp4", "/media/scenes", (10, 10))
    assert not why_never("/.media/clips/x/a.mp4", "/.media/clips/", (10, 10))
    assert not why_never("D:\\Clips\\a.mp4", "d:/clips", (10, 10))
    assert '"Clips"' in why_never("D:\\Films\\x\\Clips\\a.mp4", "d:/films", (10, 11))


def test_what_is_wrong_is_named() -> None:
    """The reason names the part of the path that is wrong, and what to do."""
    assert '"-scene"' in why("x/a-scene.mp4")
    assert why("x/a-scene.mp4").endswith(", so rename the file")
    assert '"clips"' in why("x/clips/a.mp4")


@pytest.mark.parametrize("version", [(10, 10), (10, 11), (12, 0)])
@pytest.mark.parametrize("collection", ["movies", "homevideos", None])
def test_the_stand_in_agrees(version: tuple[int, int], collection: str | None) -> None:
    """What is blamed is no item in the stand-in, which was written from runs of real servers."""
    stems = ["a", "a-scene", "a scene", "a-other", "a.trailer", "a_clip", "sample", "a-short3", ".a"]
    folders = ["", "x/", "scenes/", "x/scenes/", "other/", "x/other/", "scenes/y/", "@eaDir/", ".x/"]
    for path in (f"{ROOT}/{folder}{stem}.mp4" for folder in folders for stem in stems):
        items = [one for one in resolve([path], ROOT, collection, version) if one.parent]
        blamed = bool(why_never(path, ROOT, version))
        assert blamed is not bool(items), re.sub(r"\s+", " ", f"{path} {items} {why_never(path, ROOT, version)}")
