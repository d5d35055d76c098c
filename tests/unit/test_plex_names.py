"""Names of files and folders that Plex never makes an item of."""

from __future__ import annotations

import pytest

from stash_courier.worker.destinations.plex.names import SCANNERS, why_never

ROOT = "/media"


@pytest.mark.parametrize("scanner", SCANNERS)
@pytest.mark.parametrize(
    "path",
    [
        "/.hidden.mp4",
        "/a/.hidden.mp4",
        "/.trash/a.mp4",
        "/a/@eaDir/a.mp4",
        "/a/@eadir/b/a.mp4",
        "/#recycle/a.mp4",
        "/@Recycle/a.mp4",
        "/@Recently-Snapshot/a.mp4",
        "/lost+found/a.mp4",
        "/a/_UNPACK_film/a.mp4",
        "/$RECYCLE.BIN/a.mp4",
        "/System Volume Information/a.mp4",
        "/a/a-trailer.mp4",
        "/a/a-Scene.mp4",
        "/a/a-behindthescenes.mp4",
        "/a/movie-trailer 2.mp4",
        "/a/Scenes/a.mp4",
        "/a/behind the scenes/a.mp4",
        "/a/extras/a.mp4",
    ],
)
def test_names_that_are_never_an_item(path: str, scanner: str) -> None:
    """These are left out by the scanner of the library, wherever it is."""
    assert why_never(f"{ROOT}{path}", ROOT, scanner)
    assert why_never("C:\\media" + path.replace("/", "\\"), "C:\\media", scanner)


@pytest.mark.parametrize(
    "path",
    [
        "/a.mp4",
        "/scenes/a.mp4",  # directly in the library's folder
        "/a/a scene.mp4",
        "/a/a_scene.mp4",
        "/a/my scenes/a.mp4",
        "/a/a-scene 2.mp4",
        "/a/sample.mp4",  # depends on its size
        "/a/$RECYCLE.BIN/a.mp4",  # only directly in the library's folder
    ],
)
def test_names_of_items(path: str) -> None:
    """Most names become items."""
    assert why_never(f"{ROOT}{path}", ROOT, SCANNERS[0]) == ""


def test_the_folders_above_the_library_do_not_matter() -> None:
    """A library may be in a hidden folder."""
    assert why_never("/.media/@eaDir/a.mp4", "/.media/@eaDir", SCANNERS[0]) == ""


@pytest.mark.parametrize("scanner", ["", "Plex Movie", "Another Scanner"])
def test_an_unknown_scanner(scanner: str) -> None:
    """What other scanners leave out isn't known, so the file is waited for."""
    assert why_never("/media/.hidden.mp4", ROOT, scanner) == ""


@pytest.mark.parametrize(
    ("path", "what"),
    [
        ("/.a.mp4", "so rename the file"),
        ("/.b/.a.mp4", "so move the file"),
        ("/@eaDir/a.mp4", 'such as "@eaDir", so move the file'),
        ("/a/a-short.mp4", '"-short" for an extra of a film, so rename the file'),
    ],
)
def test_the_reason_says_what_to_do(path: str, what: str) -> None:
    """The sentence names the name, and what helps."""
    assert why_never(f"{ROOT}{path}", ROOT, SCANNERS[0]).endswith(what)
