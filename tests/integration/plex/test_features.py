"""Ratings, labels, the date added, collections, and libraries of TV shows in Plex."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.standin.plex import Library
from tests.standin.plex import Plex as Server
from tests.support.media_samples import named
from tests.support.plex import PATH, SCENE, UPDATE, Ledger, Make, sent

pytestmark = pytest.mark.timeout(60)


def test_the_rating_is_off_unless_asked_for(server: Server, films: Library, plex: Make) -> None:
    """The rating is sent only with +rating, on Plex's scale of ten, and only if it differs."""
    item = server.add(films, PATH)
    plex().deliver(UPDATE, SCENE)
    assert "userRating" not in item.values
    rated = plex(skip_fields="+rating")
    for _ in range(2):
        rated.deliver(UPDATE, SCENE)
        assert item.values["userRating"] == "8"
    (request,) = server.requests("PUT", "/:/rate")
    assert sent(request) == {
        "identifier": "com.plexapp.plugins.library",
        "key": str(item.key),
        "rating": "8",
    }
    rated.deliver(UPDATE, replace(SCENE, rating100=75))
    assert item.values["userRating"] == "7.5"
    assert len(server.edits) == 1


@pytest.mark.parametrize(
    ("tags_as", "lists"), [("genres", {"genre"}), ("labels", {"label"}), ("both", {"genre", "label"})]
)
def test_tags_become_genres_or_labels(
    server: Server, films: Library, plex: Make, tags_as: str, lists: set[str]
) -> None:
    """Tags become genres, labels or both, and a second delivery changes nothing."""
    item = server.add(films, PATH)
    destination = plex(tags_as=tags_as)
    for _ in range(2):
        destination.deliver(UPDATE, SCENE)
    assert item.tags.keys() & {"genre", "label"} == lists
    assert all(item.tags[name] == ["outside", "rain & wind", "50%"] for name in lists)
    assert len(server.edits) == 1


def test_only_our_labels_are_removed(server: Server, films: Library, plex: Make) -> None:
    """A label of the owner stays, also one that a tag has too; a label that we added goes with its tag."""
    item = server.add(films, PATH)
    item.tags["label"] = ["Kids", "outside"]
    destination, ledger = plex(tags_as="labels"), Ledger()
    ledger.deliver(destination)
    assert item.tags["label"] == ["Kids", "outside", "rain & wind", "50%"]
    ledger.deliver(destination, replace(SCENE, tags=named(["new"])))
    assert item.tags["label"] == ["Kids", "outside", "new"]
    assert "genre" not in item.tags


def test_the_date_added_is_off_unless_asked_for(server: Server, films: Library, plex: Make) -> None:
    """With "Send the date added" an item was added when Stash got the scene, to the second."""
    item = server.add(films, PATH, addedAt="1700000000")
    plex().deliver(UPDATE, SCENE)
    assert item.values["addedAt"] == "1700000000"
    for _ in range(2):
        plex(date_added=True).deliver(UPDATE, SCENE)
    assert item.values["addedAt"] == "1714550400"  # 2024-05-01T10:00:00+02:00
    assert "addedAt" in item.locked
    assert len(server.edits) == 2
    plex(date_added=True).deliver(UPDATE, replace(SCENE, created_at="soon"))
    assert len(server.edits) == 2


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        ({}, ["Group"]),
        ({"collections": "studio"}, ["Studio"]),
        ({"collections": "both"}, ["Group", "Studio"]),
        ({"collections": "none"}, []),
        ({"collections": "both", "skip_fields": "groups"}, ["Studio"]),
        ({"skip_fields": "groups"}, []),
    ],
)
def test_collections(
    server: Server, films: Library, plex: Make, chosen: dict[str, str], expected: list[str]
) -> None:
    """Groups, studio, both or neither become collections."""
    item = server.add(films, PATH)
    plex(**chosen).deliver(UPDATE, SCENE)
    assert item.tags.get("collection", []) == expected


def test_only_our_collections_are_left(server: Server, films: Library, plex: Make) -> None:
    """An item leaves a collection that we added it to when the scene leaves the group, and no other collection."""
    item = server.add(films, PATH)
    item.tags["collection"] = ["Favorites", "shared"]
    destination, ledger = plex(collections="both"), Ledger()
    ledger.deliver(destination, replace(SCENE, groups=named(["Shared", "Ours"])))
    assert item.tags["collection"] == ["Favorites", "shared", "Ours", "Studio"]
    bare = replace(SCENE, groups=(), studio=None)
    ledger.deliver(destination, bare)
    assert item.tags["collection"] == ["Favorites", "shared"]
    edits = len(server.edits)
    ledger.deliver(destination, bare)
    ledger.deliver(destination, replace(bare, groups=named(["favorites"])))
    ledger.deliver(destination, bare)
    assert item.tags["collection"] == ["Favorites", "shared"]
    assert len(server.edits) == edits
    assert {request.method for request in server.requests()} <= {"GET", "PUT"}  # nothing is ever deleted


def test_a_collection_that_a_listing_cut_is_left(server: Server, films: Library, plex: Make) -> None:
    """Collections beyond those that a listing shows are known, and an item leaves ours among them."""
    item = server.add(films, PATH)
    item.tags["collection"] = ["A", "B", "C"]
    destination, ledger = plex(), Ledger()
    ledger.deliver(destination)
    assert item.tags["collection"] == ["A", "B", "C", "Group"]
    ledger.deliver(destination, replace(SCENE, groups=()))
    assert item.tags["collection"] == ["A", "B", "C"]
