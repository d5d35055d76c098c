"""Jellyfin without a server: the fields, computed ids, the edit of an item, and the lookup's caches."""

from __future__ import annotations

import copy
import threading
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stash_courier.queue.failures import DeliveryFailed, Failure
from stash_courier.worker.destinations import Prepares
from stash_courier.worker.destinations.jellyfin.api import JellyfinApi
from stash_courier.worker.destinations.jellyfin.destination import make
from stash_courier.worker.destinations.jellyfin.items import (
    FIELDS,
    KEPT,
    EditRules,
    JellyfinEdit,
    JellyfinItem,
    computed_ids,
    edit_for,
)
from stash_courier.worker.destinations.jellyfin.lookup import FRESH_SECONDS, IDS_AT_ONCE, LISTING_SECONDS, Lookup
from stash_courier.worker.destinations.media.settings import Selection
from stash_courier.worker.destinations.media.state import State, wanted_state
from stash_courier.worker.stash.covers import no_cover
from tests.support.connections import connection, problems
from tests.support.media_samples import delivery, scene

KEY = "0123456789abcdef0123456789abcdef"
SETUP = {"url": "http://127.0.0.1:8096", "key": KEY}

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


# Fields


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"url": "http://user:pass@host"}, "url"),
        ({"skip_fields": "groups"}, "skip_fields"),
        ({"refresh_only": "maybe"}, "refresh_only"),
        ({"libraries": "Films"}, "libraries"),
    ],
)
def test_an_invalid_field_stops_jellyfin(values: dict[str, object], field: str) -> None:
    """An invalid field is named, and nothing is written to Jellyfin until it is corrected."""
    (problem,) = problems("jellyfin", {**SETUP, **values})
    assert problem.field == field
    assert KEY not in problem.message
    assert "user" not in problem.message


def test_each_field_is_part_of_the_fingerprint() -> None:
    """A change of any field changes the fingerprint, so a stopped destination is tried again."""
    seen = set()
    for values in ({}, {"key": "f" * 32}, {"add_only": True}, {"skip_fields": "tags"}, {"refresh_only": True}):
        found = connection("jellyfin", {**SETUP, **values}).fingerprint
        seen.add(found)
        assert KEY not in found
    assert len(seen) == 5


# Ids


def test_the_known_pair_of_path_and_id() -> None:
    """Ids are computed as Jellyfin does."""
    path = "/media/movies/Inception (2010)/Inception (2010).mkv"
    assert computed_ids(path, lowered=False)[0] == "1a27aba7d8639d762d762bf9f64218fa"
    assert computed_ids(path, lowered=True) == computed_ids(path.lower(), lowered=False)
    assert len(set(computed_ids(path, lowered=False))) == 4


@given(st.text(alphabet=st.characters(exclude_categories=())))
def test_every_path_has_ids(path: str) -> None:
    """No character in a path stops the lookup, not even half of a surrogate pair."""
    assert all(len(one) == 32 for one in computed_ids(path, lowered=False))


# Edits


def test_nothing_wanted_changes_nothing() -> None:
    """Fields that aren't selected are left alone."""
    made = edit(State())
    assert made == JellyfinEdit({key: value for key, value in ITEM.items() if key not in KEPT})


def test_the_wanted_fields_are_written() -> None:
    """Each field of the scene reaches its place in the item."""
    body = edit(wanted_state(scene(), ALL)).body
    assert body["Name"] == "A Title"
    assert body["Overview"] == "Some details."
    assert body["PremiereDate"] == "2024-05-06T00:00:00.0000000Z"
    assert body["ProductionYear"] == 2024
    assert body["Studios"] == [{"Name": "Studio"}]
    assert body["Tags"] == ["calm", "loud"]
    assert body["CommunityRating"] == 8.0
    assert body["ProviderIds"] == {"Imdb": "tt1", "Stash": "17"}


def test_people_keep_their_roles_and_other_kinds_stay() -> None:
    """Performers who stay keep their roles, writers stay, and performers who aren't in Stash are removed."""
    assert edit(wanted_state(scene(), ALL)).body["People"] == [
        {"Name": "Walter Writer", "Role": "", "Type": "Writer"},
        {"Name": "anna", "Role": "The Queen", "Type": "Actor"},
        {"Name": "Zoë", "Role": "", "Type": "Actor"},
        {"Name": "Dora Director", "Role": "", "Type": "Director"},
    ]


def test_a_person_of_two_kinds_is_removed_from_one() -> None:
    """A writer who no longer performs in Stash stays as the writer."""
    people = [{"Name": "Both", "Role": "", "Type": kind} for kind in ("Writer", "Actor")]
    made = edit(State(performers=("Anna",)), {**ITEM, "People": people})
    assert [(p["Name"], p["Type"]) for p in made.body["People"]] == [("Both", "Writer"), ("Anna", "Actor")]


def test_a_tag_whose_case_changed_is_renamed() -> None:
    """A tag whose case changed in Stash gets the new spelling in Jellyfin."""
    assert edit(State(tags=("Calm",)), {**ITEM, "Tags": ["calm"]}).body["Tags"] == ["Calm"]


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


def test_in_add_only_mode_a_director_added_by_hand_stays() -> None:
    """A director who isn't in Stash stays in add-only mode, and is removed without it."""
    item = {**ITEM, "People": [{"Name": "By Hand", "Role": "", "Type": "Director"}]}
    kept = edit(State(director="Dora Director"), item, add_only=True).body["People"]
    assert [p["Name"] for p in kept] == ["By Hand", "Dora Director"]
    mirrored = edit(State(director="Dora Director"), item).body["People"]
    assert [p["Name"] for p in mirrored] == ["Dora Director"]


def test_a_year_alone_leaves_the_day() -> None:
    """A date that Stash knows to the month changes the year and leaves the day alone."""
    body = edit(State(date="2024-05")).body
    assert (body["ProductionYear"], body["PremiereDate"]) == (2024, ITEM["PremiereDate"])


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


# The lookup


class Clock:
    """Monotonic seconds that the test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Api(JellyfinApi):
    """An API with items by id that counts requests; the listing has one page."""

    def __init__(self, *items: JellyfinItem, lowered: bool = False, computable: bool = True) -> None:
        self.asked: list[list[str]] = []
        self.pages = 0
        self.known: dict[str, JellyfinItem] = {}
        self.lowered = lowered
        self.computable = computable
        for item in items:
            self.learn(item)

    def learn(self, item: JellyfinItem) -> None:
        """Adds an item."""
        if self.computable:
            item = {**item, "Id": computed_ids(item["Path"], lowered=self.lowered)[1]}
        self.known[item["Id"]] = item

    def items(self, ids: Any) -> list[JellyfinItem]:
        self.asked.append(list(ids))
        return [self.known[one] for one in self.asked[-1] if one in self.known]

    def page(self, start: int, fields: str = "Path") -> list[JellyfinItem]:
        self.pages += 1
        return [{"Id": item["Id"], "Path": item["Path"]} for item in list(self.known.values())[start:]]


def found(lookup: Lookup, *paths: str) -> list[JellyfinItem]:
    """The items that are found for a scene with these files."""
    return lookup.find(paths).items


def numbered(count: int) -> list[JellyfinItem]:
    """Items with numbered paths."""
    return [{**ITEM, "Id": f"{n:032x}", "Path": f"/Media/{n}.mkv"} for n in range(count)]


def test_one_request_looks_fifty_paths_up() -> None:
    """Fifty scenes cost one request, and their deliveries none."""
    items = numbered(50)
    lookup = Lookup(api := Api(*items), Clock())
    lookup.prefetch([item["Path"] for item in items])
    for item in items:
        assert [one["Path"] for one in found(lookup, item["Path"])] == [item["Path"]]
    assert len(api.asked) == 1
    assert len(api.asked[0]) == IDS_AT_ONCE
    assert api.pages == 0


def test_a_server_that_lower_cases_is_understood() -> None:
    """A server that computes ids from lower-case paths costs one request for fifty scenes after its first find."""
    items = numbered(51)
    lookup = Lookup(api := Api(*items, lowered=True), Clock())
    assert found(lookup, items[0]["Path"])
    lookup.prefetch([item["Path"] for item in items[1:]])
    assert all(found(lookup, item["Path"]) for item in items[1:])
    assert len(api.asked) == 2


def test_a_prefetched_item_expires() -> None:
    """A prefetched item isn't used after some seconds, as it may have been edited in Jellyfin."""
    lookup = Lookup(api := Api(*numbered(2)), clock := Clock())
    lookup.prefetch(["/Media/0.mkv", "/Media/1.mkv"])
    clock.now += FRESH_SECONDS
    assert found(lookup, "/Media/0.mkv")
    assert len(api.asked) == 2


def test_a_prefetched_item_is_used_for_five_seconds() -> None:
    """Deliveries within five seconds of a lookup in advance cost no second lookup, later ones do."""
    lookup = Lookup(api := Api(*numbered(2)), clock := Clock())
    lookup.prefetch(["/Media/0.mkv", "/Media/1.mkv"])
    clock.now += 4.9
    assert lookup.find(["/Media/0.mkv"]).prefetched is True
    clock.now += 0.1
    assert lookup.find(["/Media/1.mkv"]).prefetched is False
    assert len(api.asked) == 2


def test_an_item_is_read_again_by_its_id() -> None:
    """A prefetched item can be read again; an item that moved or vanished isn't returned."""
    lookup = Lookup(api := Api(*numbered(1)), Clock())
    lookup.prefetch(["/Media/0.mkv"])
    (item,) = found(lookup, "/Media/0.mkv")
    api.known[item["Id"]] = {**item, "Overview": "By hand."}
    again = lookup.reread(item)
    assert again is not None
    assert again["Overview"] == "By hand."
    assert api.asked[1] == [item["Id"]]
    api.known[item["Id"]] = {**item, "Path": "/Media/moved.mkv"}
    assert lookup.reread(item) is None
    api.known.clear()
    assert lookup.reread(item) is None


@pytest.mark.parametrize("lowered", [False, True])
def test_a_missing_scene_costs_its_batch_no_second_request(lowered: bool) -> None:
    """Once it is known how the server computes ids, a missing scene causes no request for other ids."""
    items = numbered(50)
    lookup = Lookup(api := Api(*items[:49], lowered=lowered), Clock())
    assert found(lookup, items[0]["Path"])
    asked = len(api.asked)
    lookup.prefetch([item["Path"] for item in items])
    assert len(api.asked) == asked + 1
    api.learn({**items[49], "Path": "/media/all/lower.mkv"})
    assert found(lookup, "/media/all/lower.mkv")
    assert len(api.asked) == asked + 2


def test_the_first_find_settles_how_ids_are_made() -> None:
    """Even in the first batch the other spelling isn't tried once an item was found."""
    items = numbered(50)
    lookup = Lookup(api := Api(*items[:49]), Clock())
    lookup.prefetch([item["Path"] for item in items])
    assert len(api.asked) == 1


@pytest.mark.parametrize("lowered", [False, True])
def test_paths_without_capitals_need_no_second_request(lowered: bool) -> None:
    """Sixty lower-case paths cost two requests, whichever way the server computes ids."""
    items: list[JellyfinItem] = [{**ITEM, "Path": f"/media/lower-{n}.mkv"} for n in range(60)]
    lookup = Lookup(api := Api(*items, lowered=lowered), Clock())
    lookup.prefetch([item["Path"] for item in items])
    assert all(found(lookup, item["Path"]) for item in items)
    assert (len(api.asked), api.pages) == (2, 0)


def test_lower_case_paths_are_not_ruled_out() -> None:
    """When another thread learns how ids are computed, lower-case paths aren't ruled out."""
    items: list[JellyfinItem] = [{**ITEM, "Path": f"/media/lower-{n}.mkv"} for n in range(60)]
    mixed = numbered(1)[0]

    class Taught(Api):
        def items(self, ids: Any) -> list[JellyfinItem]:
            if not self.asked:
                self.asked.append([])
                found(lookup, mixed["Path"])
            return super().items(ids)

    lookup = Lookup(api := Taught(*items, mixed, lowered=True), Clock())
    lookup.prefetch([item["Path"] for item in items])
    assert all(found(lookup, item["Path"]) for item in items)
    assert api.pages == 0


def test_a_server_that_starts_to_lower_case() -> None:
    """A server that starts to lower-case its ids costs one listing; then its ids are computed again."""
    items = numbered(3)
    lookup = Lookup(api := Api(items[0]), Clock())
    assert found(lookup, items[0]["Path"])
    api.lowered = True
    api.known.clear()
    for item in items:
        api.learn(item)
    assert found(lookup, items[1]["Path"])
    assert api.pages == 1
    asked = len(api.asked)
    assert found(lookup, items[2]["Path"])
    assert len(api.asked) == asked + 1


def test_a_duplicate_with_another_id_is_found() -> None:
    """While a listing is cached, another item with the same path makes the match ambiguous."""
    item = numbered(1)[0]
    lookup = Lookup(api := Api(item), clock := Clock())
    api.known["e" * 32] = {**item, "Id": "e" * 32}
    lookup.files()
    assert len(found(lookup, item["Path"])) == 2
    lookup.prefetch([item["Path"]])
    assert len(found(lookup, item["Path"])) == 2
    clock.now += LISTING_SECONDS  # then it is a guess, which the README states
    assert len(found(lookup, item["Path"])) == 1


@pytest.mark.parametrize("computable", [True, False])
def test_a_file_on_windows_is_found_in_any_case(computable: bool) -> None:
    """On a Windows server, case and separators make no other path."""
    item = {**ITEM, "Path": "D:\\Media\\One.mkv"}
    lookup = Lookup(Api(item, computable=computable), Clock())
    for path in ("D:\\Media\\One.mkv", "d:/media/one.mkv"):
        assert [one["Path"] for one in found(lookup, path)] == ["D:\\Media\\One.mkv"]
    assert lookup.files() == ["D:\\Media\\One.mkv"]


def test_a_prefetched_item_is_used_once() -> None:
    """A second delivery of the same scene reads the item as the first one left it."""
    lookup = Lookup(api := Api(*numbered(1)), Clock())
    lookup.prefetch(["/Media/0.mkv"])
    found(lookup, "/Media/0.mkv")
    found(lookup, "/Media/0.mkv")
    assert len(api.asked) == 2


def test_an_id_counts_only_with_the_right_path() -> None:
    """An item with a computed id but another path isn't used."""
    api = Api()
    api.known[computed_ids("/Media/0.mkv", lowered=False)[0]] = {**ITEM, "Path": "/Media/other.mkv"}
    assert found(Lookup(api, Clock()), "/Media/0.mkv") == []


def test_the_listing_is_used_if_ids_cannot_be_computed() -> None:
    """On a server with other ids the listing is read once for many scenes."""
    items = numbered(30)
    lookup = Lookup(api := Api(*items, computable=False), Clock())
    assert all(found(lookup, item["Path"]) for item in items)
    assert api.pages == 1


def test_a_negative_answer_is_not_kept_until_the_next_try() -> None:
    """A scene that is scanned between two attempts is found by the second."""
    lookup = Lookup(api := Api(computable=False), clock := Clock())
    assert found(lookup, "/Media/0.mkv") == []
    assert found(lookup, "/Media/0.mkv") == []
    assert api.pages == 1  # shared by all that are missing just now
    api.learn(numbered(1)[0])
    clock.now += 24.0  # the first retry at its earliest
    assert LISTING_SECONDS < 24.0
    assert found(lookup, "/Media/0.mkv")


def test_an_old_listing_is_read_again() -> None:
    """A listing that leads to an item with another path is read again."""
    item = numbered(1)[0]
    lookup = Lookup(api := Api(item, computable=False), clock := Clock())
    assert found(lookup, item["Path"])
    api.known = {"b" * 32: {**item, "Id": "b" * 32}}
    clock.now += LISTING_SECONDS
    assert [one["Id"] for one in found(lookup, item["Path"])] == ["b" * 32]


def test_the_first_file_that_is_known_counts() -> None:
    """Of several files, the first that Jellyfin knows is used."""
    lookup = Lookup(Api(*numbered(3)), Clock())
    assert found(lookup, "/Media/none.mkv", "/Media/2.mkv", "/Media/1.mkv")[0]["Path"] == "/Media/2.mkv"


def test_two_items_with_one_path_are_both_given() -> None:
    """Two items with the same path are both returned."""
    api = Api()
    for one in computed_ids("/Media/0.mkv", lowered=False)[:2]:
        api.known[one] = {**ITEM, "Id": one, "Path": "/Media/0.mkv"}
    assert len(found(Lookup(api, Clock()), "/Media/0.mkv")) == 2


def test_threads_that_miss_together_read_the_listing_once() -> None:
    """Many scenes that are missing at the same time cost one reading of the listing."""
    lookup = Lookup(api := Api(computable=False), Clock())
    threads = [threading.Thread(target=lookup.find, args=([f"/Media/{n}.mkv"],)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert api.pages == 1


def test_a_lookup_in_advance_that_fails() -> None:
    """A lookup in advance that fails raises nothing; the deliveries report the failure."""
    made = make(connection("jellyfin", {**SETUP, "url": "http://127.0.0.1:1"}), no_cover)
    assert isinstance(made, Prepares)
    try:
        job = (delivery("jellyfin"), scene())
        made.prepare([job, job])
        with pytest.raises(DeliveryFailed) as caught:
            made.deliver(*job)
        assert caught.value.failure is Failure.UNREACHABLE
    finally:
        made.close()
