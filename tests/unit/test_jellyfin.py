"""Jellyfin without a server: the fields, and the edit of an item."""

from __future__ import annotations

import copy
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from stash_courier.worker.destinations.jellyfin.items import (
    FIELDS,
    KEPT,
    EditRules,
    JellyfinEdit,
    JellyfinItem,
    edit_for,
)
from stash_courier.worker.destinations.media.settings import Selection
from stash_courier.worker.destinations.media.state import State, wanted_state
from tests.support.media_samples import scene

ITEM: JellyfinItem = {
    "Id": "1a27aba7d8639d762d762bf9f64218fa",
    "Name": "one",
    "Path": "/media/movies/one.mkv",
    "Overview": "By hand.",
    "OriginalTitle": "Eins",
    "ForcedSortName": "0001",
    "CustomRating": "X",
    "CommunityRating": 6.5,
    "PremiereDate": "2001-02-03T00:00:00.0000000Z",
    "ProductionYear": 2001,
    "DateCreated": "2024-01-01T00:00:00.0000000Z",
    "Genres": ["Drama"],
    "Tags": ["by hand"],
    "Studios": [{"Name": "Old Studio", "Id": "5" * 32}],
    "People": [
        {"Name": "Walter Writer", "Role": "", "Type": "Writer"},
        {"Name": "anna", "Role": "The Queen", "Type": "Actor"},
        {"Name": "Old Actor", "Role": "", "Type": "Actor"},
    ],
    "ProviderIds": {"Imdb": "tt1"},
    "LockedFields": ["Genres"],
    "LockData": False,
}
ALL = Selection(frozenset(FIELDS) | {"rating"})


def edit(wanted: State, item: JellyfinItem = ITEM, *, add_only: bool = False) -> JellyfinEdit:
    """The edit; also checks that the item itself isn't changed."""
    before = copy.deepcopy(item)
    made = edit_for(item, wanted, EditRules(add_only=add_only))
    assert item == before
    return made


# Edits


def test_nothing_wanted_changes_nothing() -> None:
    """Fields that aren't selected are left alone."""
    made = edit(State())
    assert made == JellyfinEdit({key: value for key, value in ITEM.items() if key not in KEPT})


def test_a_person_of_two_kinds_is_removed_from_one() -> None:
    """A writer who no longer performs in Stash stays as the writer."""
    people = [{"Name": "Both", "Role": "", "Type": kind} for kind in ("Writer", "Actor")]
    made = edit(State(performers=("Anna",)), {**ITEM, "People": people})
    assert [(p["Name"], p["Type"]) for p in made.body["People"]] == [("Both", "Writer"), ("Anna", "Actor")]


def test_all_else_in_the_item_is_sent_back() -> None:
    """Fields that we don't know are sent back unchanged, since a missing field would become null."""
    ours = {"Name", "Overview", "PremiereDate", "ProductionYear", "Studios", "Tags", "CommunityRating"}
    ours |= {"ProviderIds", "People", "LockedFields"}
    body = edit(wanted_state(scene(), ALL)).body
    assert {key: value for key, value in body.items() if key not in ours} == {
        key: value for key, value in ITEM.items() if key not in {*ours, *KEPT}
    }


def test_what_stays_when_it_is_left_out_is_only_sent_if_it_changes() -> None:
    """People, studios, taglines, countries and the date added are sent only with a change of their own."""
    item = {**ITEM, "Taglines": ["In space."], "ProductionLocations": ["Wien"]}
    body = edit(State(title="T", tags=("calm",), rating=1.0, ids="1"), item).body
    assert not set(KEPT) & set(body)
    assert set(KEPT) & set(edit(State(studio="S"), item).body) == {"Studios"}
    assert set(KEPT) & set(edit(State(director="D"), item).body) == {"People"}
    assert set(KEPT) & set(edit(State(added=datetime(2024, 5, 1, 8, 0, tzinfo=UTC)), item).body) == {"DateCreated"}


def test_what_is_written_is_locked_and_nothing_else() -> None:
    """Only written fields that Jellyfin can lock are locked; the owner's locks stay."""
    body = edit(State(title="T", rating=3.0, date="2020", ids="1")).body
    assert body["LockedFields"] == ["Genres", "Name"]
    assert body["LockData"] is False
    body = edit(wanted_state(scene(), ALL)).body
    assert body["LockedFields"] == ["Genres", "Name", "Overview", "Studios", "Cast", "Tags"]


def test_a_field_that_is_right_already_is_not_locked() -> None:
    """A lock that the owner removed isn't set again while the value is right."""
    assert edit(State(title="one", details="New.")).body["LockedFields"] == ["Genres", "Overview"]


def test_in_add_only_mode_nothing_is_lost() -> None:
    """A tag, studio and performer that were added in Jellyfin survive in add-only mode."""
    made = edit(wanted_state(scene(), ALL), add_only=True)
    assert made.body["Tags"] == ["by hand", "calm", "loud"]
    assert [s["Name"] for s in made.body["Studios"]] == ["Old Studio", "Studio"]
    assert [p["Name"] for p in made.body["People"]] == [
        "Walter Writer",
        "anna",
        "Old Actor",
        "Zoë",
        "Dora Director",
    ]


def test_a_year_alone_leaves_the_day() -> None:
    """A date that Stash knows to the month changes the year and leaves the day alone."""
    body = edit(State(date="2024-05")).body
    assert (body["ProductionYear"], body["PremiereDate"]) == (2024, ITEM["PremiereDate"])
    assert edit(State(date="2001-02-04")).body["PremiereDate"] == "2001-02-04T00:00:00.0000000Z"


def test_emptying_empties() -> None:
    """Fields to be emptied are emptied, and other values stay."""
    made = edit(State(details="", date="", studio="", performers=(), tags=(), director="", rating=0.0))
    body = made.body
    assert (body["Overview"], body["PremiereDate"], body["ProductionYear"]) == ("", None, None)
    assert (body["Studios"], body["Tags"], body["CommunityRating"]) == ([], [], None)
    assert [p["Type"] for p in body["People"]] == ["Writer"]
    assert edit(State(details="", date="", tags=(), rating=0.0), {**ITEM, **body}).changes == ()


def test_a_rating_of_32_bits_is_the_same() -> None:
    """A rating that Jellyfin rounded to 32 bits is no difference."""
    assert edit(State(rating=8.3), {**ITEM, "CommunityRating": 8.300000190734863}).changes == ()


def test_the_key_of_our_id_is_found_in_any_case() -> None:
    """An id under another spelling of our key is changed, not duplicated."""
    assert edit(State(ids="2"), {**ITEM, "ProviderIds": {"stash": "1"}}).body["ProviderIds"] == {"stash": "2"}


TEXT = st.text(alphabet=st.characters(exclude_categories=()), max_size=20)


@given(TEXT.filter(str.strip), TEXT, st.lists(TEXT, max_size=4), st.lists(TEXT, max_size=4), st.booleans())
def test_an_edit_needs_no_second_edit(
    title: str, details: str, tags: list[str], performers: list[str], add_only: bool
) -> None:
    """After an edit with any characters the item is not edited again."""
    one = scene(title=title, details=details, tags=tags, performers=performers, director=details)
    wanted = wanted_state(one, ALL)
    once = edit(wanted, add_only=add_only)
    again = edit(wanted, {**ITEM, **once.body}, add_only=add_only)
    assert (again.changes, again.left) == ((), ())
