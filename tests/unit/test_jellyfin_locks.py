"""Jellyfin without a server: locks, hidden people, tags as genres, the date added, files beside the media."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from stash_courier.worker.destinations.jellyfin.items import (
    EditRules,
    JellyfinEdit,
    JellyfinItem,
    edit_for,
    some_hidden,
)
from stash_courier.worker.destinations.jellyfin.layout import image_place, nfo_notes
from stash_courier.worker.destinations.media.libraries import Library
from stash_courier.worker.destinations.media.record import Attempts, Ours, Record, digest
from stash_courier.worker.destinations.media.state import State, added_at
from tests.support.media_samples import delivery, scene

EMPTY: JellyfinItem = {
    "Id": "1a27aba7d8639d762d762bf9f64218fa",
    "Name": "one",
    "Path": "/media/movies/one.mkv",
    "Genres": [],
    "Tags": [],
    "Studios": [],
    "People": [],
    "ProviderIds": {},
    "LockedFields": [],
    "LockData": False,
}


def actor(name: str, role: str = "", kind: str = "Actor") -> dict[str, Any]:
    """An entry of an item's people."""
    return {"Name": name, "Role": role, "Type": kind}


def after(edit: JellyfinEdit, item: JellyfinItem = EMPTY) -> JellyfinItem:
    """The item after an edit."""
    return {**item, **edit.body}


def ours(edit: JellyfinEdit) -> Ours:
    """What the record of an edit says."""
    return Ours(edit.record)


# Locks


def test_a_locked_field_that_is_right_is_ours() -> None:
    """Without a record, as after an update from an earlier version, a locked value that is Stash's is ours."""
    item = {**EMPTY, "Name": "A Title", "LockedFields": ["Name"]}
    edit = edit_for(item, State(title="A Title"), EditRules())
    assert (edit.changes, edit.record.fields) == ((), {"title": digest("A Title")})
    assert edit_for(item, State(title="B"), EditRules(), ours(edit)).changes


def test_an_unlocked_field_that_is_right_is_not_ours() -> None:
    """If the owner locks a value that Stash has too, it stays his."""
    edit = edit_for(EMPTY, State(title="one"), EditRules())
    assert edit.record.fields == {}
    locked = {**EMPTY, "LockedFields": ["Name"]}
    assert edit_for(locked, State(title="B"), EditRules(), ours(edit)).left == ("title",)


def test_a_lock_on_the_cast_covers_directors() -> None:
    """When we lock the cast for its performers, a director who comes to Stash later is still written."""
    first = edit_for(EMPTY, State(performers=("Anna",)), EditRules())
    assert first.body["LockedFields"] == ["Cast"]
    second = edit_for(after(first), State(performers=("Anna",), director="Dora"), EditRules(), ours(first))
    assert [one["Name"] for one in second.body["People"]] == ["Anna", "Dora"]
    by_hand = {**after(first), "People": [actor("Anna"), actor("By Hand", kind="Director")]}
    third = edit_for(by_hand, State(performers=("Anna", "Zoë"), director="Dora"), EditRules(), ours(first))
    assert third.left == ("director",)
    assert [one["Name"] for one in third.body["People"]] == ["Anna", "By Hand", "Zoë"]


def test_case_and_composition_are_no_edit_of_the_owner() -> None:
    """Another case or composition of a name's letters doesn't make a value the owner's."""
    first = edit_for(EMPTY, State(title="e\u0301", studio="Studio", performers=("Zoë",)), EditRules())
    item = {**after(first), "Name": "\u00e9", "Studios": [{"Name": "STUDIO"}], "People": [actor("ZOE\u0308")]}
    edit = edit_for(item, State(title="B", studio="B", performers=("B",)), EditRules(), ours(first))
    assert edit.left == ()


def test_a_tag_that_we_locked_gets_stashs_case() -> None:
    """A locked tag that differs from Stash's only in case gets Stash's case only if it is from us."""
    first = edit_for(EMPTY, State(tags=("CALM",)), EditRules())
    item = after(first)
    assert edit_for(item, State(tags=("calm",)), EditRules(), ours(first)).body["Tags"] == ["calm"]
    edit = edit_for(item, State(tags=("calm",)), EditRules())
    assert (edit.changes, edit.left, edit.record) == ((), (), Record())


def test_an_attempt_that_was_not_recorded_is_ours() -> None:
    """What an attempt wrote that then failed counts as ours in the next one, with all attempts before it."""
    attempts, record = Attempts(), Record(fields={"title": digest("c")})

    def wrote(scene_id: int) -> list[str]:
        ours = attempts.ours(delivery("jellyfin", scene_id=scene_id), record)
        return [value for value in "abcd" if ours.wrote("title", value)]

    attempts.begin(1, {"title": digest("a")})
    attempts.begin(1, {"title": digest("b")})
    assert (wrote(1), wrote(2)) == (["a", "b", "c"], ["c"])
    attempts.end(1)
    assert wrote(1) == ["c"]
    for scene_id in range(Attempts.MOST + 5):
        attempts.begin(scene_id, {"title": digest("a")})
    assert (wrote(4), wrote(5)) == (["c"], ["a", "c"])


# People


@pytest.mark.parametrize(
    ("persons", "hidden"),
    [
        (["Anna", "Bo"], False),
        (["anna", "Bo"], False),
        (["Anna"], False),
        (["Anna", "Bo", "Renamed"], True),
        (["Anna", "Anna", "Bo"], True),  # another name with the same folder
        ([""], True),
    ],
)
def test_somebody_is_hidden(persons: list[str], hidden: bool) -> None:
    """A person who isn't among the people, or is listed twice, shows that somebody is hidden."""
    people = [actor("Anna", "Hero"), actor("Anna", "Twin"), actor("Anna", kind="Director"), actor("Bo")]
    assert some_hidden(people, [{"Name": name} for name in persons]) is hidden


# Tags and dates


def test_tags_become_genres() -> None:
    """Tags are written as tags, as genres, or as both; genres of the owner stay."""
    item = {**EMPTY, "Tags": ["t"], "Genres": ["g"]}
    for how, tags, genres in (
        ("tags", ["a"], ["g"]),
        ("genres", ["t"], ["g", "a"]),
        ("both", ["a"], ["g", "a"]),
    ):
        edit = edit_for(item, State(tags=("a",)), EditRules(tags_as=how))  # type: ignore[arg-type]
        assert (edit.body["Tags"], edit.body["Genres"]) == (tags, genres)
        assert (
            edit.body["LockedFields"] == {"tags": ["Tags"], "genres": ["Genres"], "both": ["Tags", "Genres"]}[how]
        )
    added = edit_for(item, State(tags=("a",)), EditRules(add_only=True, tags_as="both"))
    assert (added.body["Tags"], added.body["Genres"]) == (["t", "a"], ["g", "a"])


def test_the_date_added() -> None:
    """The time at which Stash got a scene is written in UTC, once; no lock exists for it."""
    one = scene(created_at="2024-05-01T10:00:00+02:00")
    when = added_at(one)
    assert when == datetime(2024, 5, 1, 8, 0, tzinfo=UTC)
    edit = edit_for(EMPTY, State(added=when), EditRules())
    assert edit.body["DateCreated"] == "2024-05-01T08:00:00.0000000Z"
    assert (edit.body["LockedFields"], edit.record.fields) == ([], {})
    item = {**EMPTY, "DateCreated": "2024-05-01T08:00:00.7654321Z"}
    assert edit_for(item, State(added=when), EditRules()).changes == ()
    assert added_at(scene(created_at="yesterday")) is None


# Beside the media

MOVIES = Library("Movies", ("/media/movies",), saves_nfo=True, images_beside=True)
HOME = Library("Home", ("/media/home",))


def test_nfo_files_that_are_rewritten() -> None:
    """Only scenes in a library that saves .nfo files get the note, with its name."""
    assert nfo_notes("/media/movies/a/b.mkv", [MOVIES, HOME]) == {"nfo:Movies"}
    assert nfo_notes("/media/home/b.mkv", [MOVIES, HOME]) == frozenset()


def test_where_an_image_goes() -> None:
    """The test says into which file a cover goes, or why it isn't sent."""
    beside = image_place("/media/movies/a/b.c.mkv", [MOVIES, HOME], '"Switch"', on=True)
    assert "/media/movies/a/folder.jpg, or b.c-poster.jpg" in beside
    assert "replaces" in beside
    off = image_place("D:\\media\\b.mkv", [MOVIES, HOME], '"Switch"', on=False)
    assert off.startswith("Its cover isn't sent: it would go to D:\\media\\folder.jpg")
    assert off.endswith('"Switch" allows it.')
    assert "own folder" in image_place("/media/home/b.mkv", [MOVIES, HOME], '"Switch"', on=False)
    assert "own folder" in image_place("/net/b.mkv", [HOME], '"Switch"', on=False)
    assert image_place("/net/b.mkv", [], '"Switch"', on=False).startswith("Its cover isn't sent")
