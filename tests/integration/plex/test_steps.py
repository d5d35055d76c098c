"""The steps of a test of a Plex connection."""

from __future__ import annotations

import pytest

from tests.standin.plex import Library
from tests.standin.plex import Plex as Server
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


def test_a_library_with_unknown_folders(server: Server, films: Library, plex: Make) -> None:
    """If the libraries' folders are unknown, the test makes no claim about them."""
    films.locations = ()
    found = tried(plex(), SCENE)
    assert not found.ok
    assert found["libraries"].text.startswith("Libraries: Films (folders unknown).")
    assert found["scenes"].text == "0 of 1 scenes found. Not known under their path: 1."
    assert found["scenes"].examples == ("Scene 17: not known as /media/a/one.mkv (in Stash /data/a/one.mkv).",)


def test_an_unknown_library(server: Server, plex: Make) -> None:
    """An unknown library name fails, names the field, and lists the libraries."""
    step = tried(plex(libraries="Filme"), SCENE)["libraries"]
    assert (step.status, step.field) == ("fail", "libraries")
    assert step.fix is not None
    assert step.fix.label == "Search all libraries"
    assert tried(plex(**step.fix.values), SCENE)["libraries"].status == "ok"
    assert 'Correct "Libraries": it has Films' in step.text
