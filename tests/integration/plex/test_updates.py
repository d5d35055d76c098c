"""What an update changes in a Plex item, and what it leaves alone."""

from __future__ import annotations

import unicodedata
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from stash_courier.queue.failures import Failure
from tests.standin.plex import Library
from tests.standin.plex import Plex as Server
from tests.standin.receivers import Reply
from tests.support.intercept import intercept
from tests.support.media_samples import named
from tests.support.plex import PATH, SCENE, UPDATE, Ledger, Make, failure, sent

pytestmark = pytest.mark.timeout(60)


@pytest.mark.parametrize("replaces", [False, True])
def test_an_edit_shows_in_plex(server: Server, films: Library, plex: Make, replaces: bool) -> None:
    """All fields of a scene reach its item in one edit and are locked, whether lists replace or add."""
    server.replaces_tags = replaces
    item = server.add(films, PATH)
    item.tags = {"genre": ["old", "outside", "older"], "actor": ["Anna"], "collection": ["Hand"]}
    server.add(films, "/media/a/one.mkv.bak.mkv")
    plex().deliver(UPDATE, SCENE)
    assert item.values == {
        "title": "A day",
        "summary": "What happens:\nnot much.",
        "studio": "Studio",
        "originallyAvailableAt": "2024-05-06",
    }
    assert item.tags == {
        "genre": ["outside", "rain & wind", "50%"],
        "actor": ["Anna", "Zoë", "Bo, Jr.", "Cy"],
        "director": ["Dana"],
        "collection": ["Hand", "Group"],
    }
    fields = {"title", "summary", "studio", "originallyAvailableAt", "genre", "actor", "director", "collection"}
    assert item.locked == fields
    assert films.items[1].values == {"title": "one.mkv.bak"}
    assert [sent(edit)["id"] for edit in server.edits] == [str(item.key)]


def test_one_lookup_one_edit(server: Server, films: Library, plex: Make) -> None:
    """A scene costs one lookup, one read if its lists may be cut or something differs, and one edit then."""
    item = server.add(films, PATH)
    destination, ledger = plex(), Ledger()
    ledger.deliver(destination)
    assert (len(server.lookups), len(server.reads), len(server.edits)) == (1, 1, 1)
    for _ in range(3):
        ledger.deliver(destination)
    assert (len(server.lookups), len(server.reads), len(server.edits)) == (4, 4, 1)
    assert len(server.requests("GET", "/library/sections")) == 1
    ledger.deliver(destination, replace(SCENE, title="Another day"))
    assert item.values["title"] == "Another day"
    assert {k: v for k, v in sent(server.edits[1]).items() if k not in {"type", "id"}} == {
        "title.value": "Another day",
        "title.locked": "1",
    }
    assert server.receiver.connections <= 2


def test_what_survives_an_update(server: Server, films: Library, plex: Make) -> None:
    """Unselected fields, foreign locks, and in add-only mode tags added in Plex survive an update."""
    item = server.add(films, PATH, summary="by hand", titleSort="by hand", userRating="3.0")
    item.tags = {"genre": ["by hand", "too", "three"], "director": ["by hand"]}
    item.locked = {"titleSort", "summary", "rating"}
    plex(skip_fields="details, director", add_only=True).deliver(UPDATE, SCENE)
    assert item.values["title"] == "A day"
    assert (item.values["summary"], item.values["titleSort"], item.values["userRating"]) == (
        *["by hand"] * 2,
        "3.0",
    )
    assert item.tags["genre"] == ["by hand", "too", "three", "outside", "rain & wind", "50%"]
    assert item.tags["director"] == ["by hand"]
    assert item.locked >= {"titleSort", "summary", "rating"}
    assert "director" not in item.locked


def test_removals_are_repeated_if_only_one_is_executed(server: Server, films: Library, plex: Make) -> None:
    """All surplus tags are removed even if the server executes only one removal per request."""
    server.one_removal, server.replaces_tags = True, False
    item = server.add(films, PATH)
    item.tags = {"genre": ["x", "y", "outside", "z"], "actor": ["Nobody"]}
    plex().deliver(UPDATE, SCENE)
    assert item.tags["genre"] == ["outside", "rain & wind", "50%"]
    assert "Nobody" not in item.tags["actor"]
    assert len(server.edits) == 3  # x with Nobody, y, z


def test_a_server_that_removes_nothing(server: Server, films: Library, plex: Make) -> None:
    """If a server accepts an edit but removes nothing, the delivery fails instead of repeating the edit."""
    item = server.add(films, PATH)
    item.tags["genre"] = ["x", "y"]
    intercept(server.receiver, Reply(200), "PUT ")
    failed = failure(plex())
    assert failed.failure is Failure.REFUSED
    assert "still has x, y" in failed.message
    assert len(server.edits) == 1


def test_empty_values_are_left_alone_unless_asked(server: Server, films: Library, plex: Make) -> None:
    """Values that are empty in Stash change nothing in Plex; with +empty they are emptied, except the title."""
    item = server.add(films, PATH, summary="s", studio="t", originallyAvailableAt="2020-01-01", userRating="9.0")
    item.tags = {"genre": ["x", "y"], "actor": ["z"], "collection": ["Hand"], "director": ["d"]}
    bare = replace(
        SCENE,
        title="",
        details="",
        date="",
        studio=None,
        performers=(),
        tags=(),
        groups=(),
        director="",
        rating100=None,
    )
    plex().deliver(UPDATE, bare)
    assert server.edits == []
    plex(skip_fields="+empty").deliver(UPDATE, bare)
    assert item.values == {
        "title": "one",
        "summary": "",
        "studio": "",
        "originallyAvailableAt": "",
        "userRating": "9.0",
    }
    assert item.tags == {"genre": [], "actor": [], "collection": ["Hand"], "director": []}


def folded(name: str) -> str:
    """A name without differences in case, spaces and Unicode composition."""
    return unicodedata.normalize("NFC", " ".join(name.split()).casefold())


NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)


@hypothesis_settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    title=NAMES,
    details=NAMES,
    before=st.lists(NAMES, max_size=5),
    after=st.lists(NAMES, max_size=5),
    replaces=st.booleans(),
    one_removal=st.booleans(),
)
def test_every_kind_of_character(
    *,
    server: Server,
    films: Library,
    plex: Make,
    title: str,
    details: str,
    before: list[str],
    after: list[str],
    replaces: bool,
    one_removal: bool,
) -> None:
    """Titles and names arrive unchanged with any characters, and a second delivery changes nothing."""
    server.replaces_tags, server.one_removal = replaces, one_removal
    films.items.clear()
    item = server.add(films, PATH)
    item.tags["genre"] = list(dict.fromkeys(" ".join(n.split()) for n in before if n.split()))
    one = replace(SCENE, title=title, details=details, tags=named(after))
    destination = plex(skip_fields="+empty")
    destination.deliver(UPDATE, one)
    assert item.values["title"] == title or item.values["title"].strip() == title.strip()
    assert sorted(map(folded, item.tags["genre"])) == sorted({folded(n) for n in after if n.split()})
    edits = len(server.edits)
    destination.deliver(UPDATE, one)
    assert len(server.edits) == edits
    destination.close()
