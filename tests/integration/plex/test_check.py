"""What "Test destinations" reports about Plex."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.standin.plex import TOKEN, Library
from tests.standin.plex import Plex as Server
from tests.standin.receivers import Reply
from tests.support.intercept import HTML, LOGIN
from tests.support.plex import PATH, SCENE, Make

pytestmark = pytest.mark.timeout(60)


def test_the_check_shows_what_would_change(server: Server, films: Library, plex: Make) -> None:
    """The check names server, version, libraries, the scene's item and each field that would change."""
    item = server.add(films, PATH, summary=SCENE.details, studio="Studio", originallyAvailableAt="2024-05-06")
    item.tags = {
        "genre": ["outside", "rain & wind", "50%"],
        "actor": ["Anna", "Zoë", "Bo, Jr.", "Cy"],
        "director": ["Dana"],
    }
    report = plex().check(SCENE)
    assert report.ok
    host = server.url.removeprefix("http://")
    assert report.lines == (
        f"Attic at {host} (Plex {server.version}) accepts the token.",
        "Scenes are searched in Films (/media).",
        f'Scene 17 is "one" in Films (id {item.key}), found under {PATH} (in Stash /data/a/one.mkv; by '
        'the rule /data => /media of "Path map").',
        'title: "one" would become "A day"',
        'groups: nothing would become "Group"',
    )
    item.values["title"] = "A day"
    item.tags["collection"] = ["Group"]
    assert plex().check(SCENE).lines[-1] == "Nothing would change."
    assert {r.method for r in server.requests()} == {"GET"}
    assert server.scans == []


def test_the_check_shows_the_missing_rule(server: Server, films: Library, plex: Make) -> None:
    """If the path isn't found, the check shows Plex's folders and file, and the missing rule."""
    server.add(films, PATH)
    report = plex(path_map="").check(SCENE)
    assert not report.ok
    text = "\n".join(report.lines)
    assert "Scene 17 is not known under /data/a/one.mkv" in text
    assert 'no rule of "Path map" fits it' in text
    assert "None of the searched libraries contains that folder: Films (/media)." in text
    assert f'a file of that name at {PATH}: the rule /data => /media in "Path map"' in text
    assert {r.method for r in server.requests()} == {"GET"}
    assert server.scans == []


def test_the_check_of_a_file_that_is_not_scanned(server: Server, plex: Make) -> None:
    """The check of an unknown file in a library's folder says so and starts no scan."""
    report = plex().check(SCENE)
    assert not report.ok
    assert len(report.lines) == 4
    assert "by the rule /data => /media of" in report.lines[2]
    assert report.lines[3] == "That folder is in the library Films (/media), which has not scanned it yet."
    assert server.scans == []


def test_the_check_shows_a_wrong_rule(server: Server, films: Library, plex: Make) -> None:
    """A file elsewhere in the same library means a wrong rule, not a pending scan."""
    server.add(films, "/media/films/a/one.mkv")
    report = plex().check(SCENE)
    assert not report.ok
    assert report.lines[3:] == (
        'It has a file of that name at /media/films/a/one.mkv: the rule /data => /media/films in "Path map", in '
        "place of /data => /media, would map one to the other.",
    )


def test_the_check_of_a_library_with_unknown_folders(server: Server, films: Library, plex: Make) -> None:
    """If the libraries' folders are unknown, the check makes no claim about them."""
    films.locations = ()
    report = plex().check(SCENE)
    assert not report.ok
    assert len(report.lines) == 3
    assert report.lines[1] == "Scenes are searched in Films (folders unknown)."


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (Reply(401, HTML, b"<html><h1>401</h1>" + TOKEN.encode()), '"Token"'),
        (LOGIN, "login page"),
        (Reply(404, HTML, b"<html>"), '"Address"'),
    ],
)
def test_the_check_of_a_wrong_token_or_address(server: Server, plex: Make, reply: Reply, said: str) -> None:
    """The check of a wrong token or address fails and names the setting to check."""
    server.receiver.answer = reply
    report = plex().check(SCENE)
    assert not report.ok
    assert said in report.lines[0]
    assert TOKEN not in "".join(report.lines)


def test_the_check_without_a_scene_or_file(server: Server, plex: Make) -> None:
    """The check passes in an empty Stash, and fails for a scene without files."""
    report = plex().check(None)
    assert report.ok
    assert "no path was looked up" in report.lines[-1]
    bare = plex().check(replace(SCENE, files=()))
    assert not bare.ok
    assert "has no file" in bare.lines[-1]


def test_the_check_of_an_unknown_library(server: Server, plex: Make) -> None:
    """The check of an unknown library name fails and lists the libraries."""
    report = plex(libraries="Filme").check(SCENE)
    assert not report.ok
    assert 'Correct "Libraries": it has Films' in report.lines[-1]
