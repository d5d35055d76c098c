"""The steps of a test of a Plex connection."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.standin.plex import TOKEN, Library
from tests.standin.plex import Plex as Server
from tests.standin.receivers import Reply
from tests.support.intercept import HTML, LOGIN
from tests.support.plex import PATH, SCENE, Make
from tests.support.steps import tried

pytestmark = pytest.mark.timeout(60)


def test_each_step_passes(server: Server, films: Library, plex: Make) -> None:
    """Server, version, libraries, the scene's item and each field that would change are named."""
    item = server.add(films, PATH, summary=SCENE.details, studio="Studio", originallyAvailableAt="2024-05-06")
    item.tags = {
        "genre": ["outside", "rain & wind", "50%"],
        "actor": ["Anna", "Zoë", "Bo, Jr.", "Cy"],
        "director": ["Dana"],
    }
    found = tried(plex(), SCENE)
    assert {step.status for step in found.steps.values()} == {"ok"}
    host = server.url.removeprefix("http://")
    assert [step.text for step in found.steps.values()] == [
        f'{host} is Plex {server.version} ("Attic").',
        'It accepts "Token".',
        "Libraries: Films (/media). Libraries of TV shows are not supported: Shows (/tv).",
        "1 of 1 scenes found.",
        f'Scene 17 is "one" in Films (id {item.key}), found under {PATH} (in Stash /data/a/one.mkv; by the rule '
        '/data => /media of "Path map"). title: "one" would become "A day". collections: nothing would become '
        '"Group".',
    ]
    item.values["title"] = "A day"
    item.tags["collection"] = ["Group"]
    assert tried(plex(), SCENE)["example"].text.endswith("Nothing would change.")
    assert {r.method for r in server.requests()} == {"GET"}
    assert server.scans == []


def test_a_missing_rule_is_one_fix_away(server: Server, films: Library, plex: Make) -> None:
    """If the path isn't found, Plex's path of the file is shown, and the missing rule, which then finds it."""
    server.add(films, PATH)
    step = tried(plex(path_map=""), SCENE)["scenes"]
    assert (step.status, step.field) == ("fail", "path_map")
    assert step.text == (
        '0 of 1 scenes found. At another path there: 1. The rule /data => /media in "Path map" would lead there.'
    )
    assert step.examples == (f"Scene 17: not at /data/a/one.mkv, but a file of that name is at {PATH}.",)
    assert step.fix is not None
    assert tried(plex(**step.fix.values), SCENE).ok
    assert {r.method for r in server.requests()} == {"GET"}
    assert server.scans == []


def test_a_file_that_is_not_scanned(server: Server, plex: Make) -> None:
    """An unknown file in a library's folder is a pending scan, and the test starts none."""
    step = tried(plex(), SCENE)["scenes"]
    assert (step.status, step.fix) == ("fail", None)
    assert step.text == "0 of 1 scenes found. Not scanned yet: 1. Have Plex scan its libraries."
    assert step.examples == (
        "Scene 17: /media/a/one.mkv (in Stash /data/a/one.mkv) is in the library Films, which has not scanned "
        "it yet.",
    )
    assert server.scans == []


def test_a_wrong_rule(server: Server, films: Library, plex: Make) -> None:
    """A file elsewhere in the same library means a wrong rule, not a pending scan."""
    server.add(films, "/media/films/a/one.mkv")
    step = tried(plex(), SCENE)["scenes"]
    assert step.text.endswith(
        'The rule /data => /media/films in "Path map" in place of /data => /media would lead there.'
    )
    assert step.fix is not None
    assert step.fix.label == "Use this path: /data => /media/films"


def test_a_library_with_unknown_folders(server: Server, films: Library, plex: Make) -> None:
    """If the libraries' folders are unknown, the test makes no claim about them."""
    films.locations = ()
    found = tried(plex(), SCENE)
    assert not found.ok
    assert found["libraries"].text.startswith("Libraries: Films (folders unknown).")
    assert found["scenes"].text == "0 of 1 scenes found. Not known under their path: 1."
    assert found["scenes"].examples == ("Scene 17: not known as /media/a/one.mkv (in Stash /data/a/one.mkv).",)


@pytest.mark.parametrize(
    ("reply", "step", "said"),
    [
        (Reply(401, HTML, b"<html><h1>401</h1>" + TOKEN.encode()), "key", '"Token"'),
        (LOGIN, "reached", "login page"),
        (Reply(404, HTML, b"<html>"), "reached", '"Address"'),
    ],
)
def test_a_wrong_token_or_address(server: Server, plex: Make, reply: Reply, step: str, said: str) -> None:
    """A wrong token or address fails at its step and names the field to change."""
    server.receiver.answer = reply
    found = tried(plex(), SCENE)
    assert list(found.steps)[-1] == step
    assert (found[step].status, found[step].field) == ("fail", "key" if step == "key" else "url")
    assert said in found[step].text
    assert TOKEN not in found.text


def test_without_a_scene_or_file(server: Server, plex: Make) -> None:
    """The test passes in an empty Stash, and fails for a scene without files."""
    empty = tried(plex())
    assert empty.ok
    assert "no path was looked up" in empty["scenes"].text
    bare = tried(plex(), replace(SCENE, files=()))
    assert not bare.ok
    assert "has no file" in bare["scenes"].examples[0]


def test_an_unknown_library(server: Server, plex: Make) -> None:
    """An unknown library name fails, names the field, and lists the libraries."""
    step = tried(plex(libraries="Filme"), SCENE)["libraries"]
    assert (step.status, step.field) == ("fail", "libraries")
    assert step.fix is not None
    assert step.fix.label == "Search all libraries"
    assert tried(plex(**step.fix.values), SCENE)["libraries"].status == "ok"
    assert 'Correct "Libraries": it has Films' in step.text
