"""The Plex destination without a server: its fields, and what one edit says."""

from __future__ import annotations

import dataclasses
from urllib.parse import unquote

import pytest

from stash_courier.worker.destinations.plex.api import LISTS, PlexItem, Role, Section, split
from stash_courier.worker.destinations.plex.edit import PlexEdit, Rules, Wanted, edit_for, needs_whole, wanted_for
from stash_courier.worker.destinations.plex.finder import split_names
from tests.support.connections import connection
from tests.support.media_samples import scene

TOKEN = "plex-Token_7Yx"
VALUES = {"url": "http://127.0.0.1:32400", "key": TOKEN}
FILMS = Section("Films", ("/media",), "3", "movie")
NO_LISTS: dict[str, tuple[str, ...]] = dict.fromkeys(LISTS, ())
ITEM = PlexItem("101", FILMS, ("/media/a.mkv",), {"title": "Old"}, NO_LISTS, whole=True)


def item(**lists: tuple[str, ...]) -> PlexItem:
    """An item with these lists."""
    cast = tuple(Role(name) for name in lists.get("actor", ()))
    return dataclasses.replace(ITEM, lists={**NO_LISTS, **lists}, cast=cast)


def wants(*, rating: float | None = None, **values: str | tuple[str, ...]) -> Wanted:
    """Wanted values: a text is a scalar."""
    scalars = {name: value for name, value in values.items() if isinstance(value, str)}
    lists = {name: value for name, value in values.items() if not isinstance(value, str)}
    return Wanted(scalars, lists, rating)


def edit(
    have: PlexItem, *, add_only: bool = False, rating: float | None = None, **values: str | tuple[str, ...]
) -> PlexEdit:
    """The edit that turns an item into the wanted one."""
    return edit_for(have, wants(rating=rating, **values), Rules(add_only))


# Fields


@pytest.mark.parametrize(
    ("names", "known", "split_up"),
    [
        ("", [], []),
        ("Films", ["Films"], ["Films"]),
        ("Films; Home videos", [], ["Films", "Home videos"]),
        ("Films, Home videos ,", [], ["Films", "Home videos"]),
        ("Films, HD; Other", ["films, hd"], ["Films, HD", "Other"]),
        ("Films, HD", ["Films", "HD"], ["Films", "HD"]),
    ],
)
def test_names_of_libraries(names: str, known: list[str], split_up: list[str]) -> None:
    """Libraries are separated by semicolons or commas, and a name may contain a comma."""
    assert split_names(names, known) == split_up


@pytest.mark.parametrize(
    ("path", "parts"),
    [
        ("/media/a b/c.mkv", ("/media/a b", "c.mkv")),
        ("/c.mkv", ("/", "c.mkv")),
        ("/media/back\\slash.mkv", ("/media", "back\\slash.mkv")),
        (r"D:\media\c.mkv", (r"D:\media", "c.mkv")),
        ("D:/media/c.mkv", ("D:/media", "c.mkv")),
        (r"\\nas\media\x\c.mkv", (r"\\nas\media\x", "c.mkv")),
    ],
)
def test_folder_and_name(path: str, parts: tuple[str, str]) -> None:
    """A path is split as the server's system does."""
    assert split(path) == parts


# Edits


def test_nothing_to_change_is_no_edit() -> None:
    """An item that is up to date gets no edit, whatever the case and order of its names."""
    have = dataclasses.replace(
        item(genre=("Drama", "ZOË"), actor=("B", "A")),
        scalars={
            "title": "Old",
            "summary": "one\ntwo",
            "originallyAvailableAt": "2024-05-01",
            "userRating": "7.0",
        },
    )
    assert not edit(have)
    assert not edit(
        have,
        title="Old",
        details="one\r\ntwo ",
        date="2024-05-01",
        rating=7.0,
        tags=("Zoe\u0308", "drama"),
        performers=("A", "B"),
    )


def test_only_what_differs_is_sent_and_locked() -> None:
    """An edit has only the fields that differ, each with its lock."""
    made = edit(item(genre=("A",)), title="New", details="", tags=("A",), studio="S")
    assert made.parameters == {
        "title.value": "New",
        "title.locked": "1",
        "studio.value": "S",
        "studio.locked": "1",
    }
    assert made.changes == [
        ("title", "Old", "New"),
        ("studio", "", "S"),
    ]


def test_lists_are_sent_whole_with_real_removals() -> None:
    """A list is sent with the names that stay, the names to remove, and its lock."""
    made = edit(item(genre=("Keep", "a, b", "c/d é")), tags=("Keep", "New"))
    assert made.parameters == {
        "genre[0].tag.tag": "Keep",
        "genre[1].tag.tag": "New",
        "genre[].tag.tag-": "a%2C%20b,c/d%20%C3%A9",
        "genre.locked": "1",
    }
    assert [unquote(name) for name in made.parameters["genre[].tag.tag-"].split(",")] == ["a, b", "c/d é"]


@pytest.mark.parametrize(("date", "expected"), [("2024", None), ("2024-05", None), ("2024-05-06", "2024-05-06")])
def test_no_day_is_made_up(date: str, expected: str | None) -> None:
    """Plex stores full dates only, so a date without a day is left out."""
    of = scene("/data/a.mkv", date=date)
    assert wanted_for(of, connection("plex", VALUES).options).scalars.get("date") == expected


def test_the_rating_is_of_ten() -> None:
    """A rating is sent on Plex's scale, apart from the edit, and not sent again if it is the same."""
    made = edit(ITEM, rating=7.5)
    assert (made.rating, made.parameters, bool(made)) == (7.5, {}, True)
    rated = dataclasses.replace(ITEM, scalars={"title": "Old", "userRating": "8.0"})
    assert not edit(rated, rating=8.0)
    assert edit(rated, rating=0).rating == 0
    assert not edit(ITEM, rating=0)


def test_no_edit_ever_unlocks() -> None:
    """An edit only sets locks."""
    have = item(genre=("x",), actor=("x",), director=("x",), collection=("x",))
    everything = edit(
        have,
        title="t",
        details="",
        date="2024-01-01",
        studio="s",
        rating=1.0,
        date_added="1",
        performers=("p",),
        tags=(),
        labels=("l",),
        collections=("g",),
        director=("d",),
    )
    locks = {k: v for k, v in everything.parameters.items() if k.endswith(".locked")}
    assert len(locks) == 9  # details are empty on both sides
    assert set(locks.values()) == {"1"}


def test_what_a_listing_is_trusted_with() -> None:
    """An item from a listing is read if a list may be cut, or if it would be edited, which needs its locks."""
    listed = dataclasses.replace(item(genre=("A", "B"), actor=("P",)), whole=False)

    def read(have: PlexItem, **values: str | tuple[str, ...]) -> bool:
        return needs_whole(have, wants(rating=None, **values), Rules())

    assert read(listed, tags=("A", "B"))
    assert not read(listed, title="Old", performers=("P",))
    assert read(listed, title="New", performers=("P",))
    assert read(listed, labels=())
    assert not read(dataclasses.replace(listed, whole=True), title="New", tags=("A", "B"))
