"""How Jellyfin's items are found, without a server: computed ids, caches, the listing, and whose an item is."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stash_courier.worker.destinations.jellyfin.api import IDS_AT_ONCE, PAGE, JellyfinApi
from stash_courier.worker.destinations.jellyfin.items import JellyfinItem
from stash_courier.worker.destinations.jellyfin.lookup import (
    LISTING_SECONDS,
    RARELY_SECONDS,
    Lookup,
)
from stash_courier.worker.destinations.jellyfin.paths import TYPES, computed_ids, lower
from stash_courier.worker.paths import PathMap, path_map

ITEM: JellyfinItem = {
    "Id": "1a27aba7d8639d762d762bf9f64218fa",
    "Name": "one",
    "Path": "/media/movies/one.mkv",
    "ParentId": "5" * 32,
}


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


class Clock:
    """Monotonic seconds that the test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Api(JellyfinApi):
    """An API with items by id that counts requests. It has a clock to let a page take time."""

    def __init__(self, *items: JellyfinItem, lowered: bool = False, computable: bool = True) -> None:
        self.asked: list[list[str]] = []
        self.pages = 0
        self.known: dict[str, JellyfinItem] = {}
        self.hidden: dict[str, str] = {}  # paths of versions that can't be asked for by id, by id
        self.played: list[str] = []  # ids whose media sources were asked for
        self.rules = PathMap()  # its network path substitution
        self.clock: Clock | None = None
        self.page_seconds = 0.0
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
        if self.clock is not None:
            self.clock.now += self.page_seconds
        return [
            {"Id": item["Id"], "Path": item["Path"]} for item in list(self.known.values())[start : start + PAGE]
        ]

    def source_paths(self, item_id: str) -> list[str]:
        self.played.append(item_id)
        return [self.hidden[item_id]] if item_id in self.hidden else []

    def substitutions(self) -> PathMap:
        return self.rules


def lookup_of(api: Api, clock: Clock, version: tuple[int, int] = (10, 11)) -> Lookup:
    """A lookup on a server with one library, whose files may be movies or videos."""
    return Lookup(api, lambda: version, lambda _: TYPES[:2], clock)


def found(lookup: Lookup, *paths: str) -> list[JellyfinItem]:
    """The items that are found for a scene with these files."""
    return lookup.find(paths).items


def numbered(count: int) -> list[JellyfinItem]:
    """Items with numbered paths."""
    return [{**ITEM, "Id": f"{n:032x}", "Path": f"/Media/{n}.mkv"} for n in range(count)]


def test_one_request_looks_fifty_paths_up() -> None:
    """Fifty scenes cost one request, and their deliveries none."""
    items = numbered(50)
    lookup = lookup_of(api := Api(*items), Clock())
    lookup.prefetch([item["Path"] for item in items])
    for item in items:
        assert [one["Path"] for one in found(lookup, item["Path"])] == [item["Path"]]
    assert len(api.asked) == 1
    assert len(api.asked[0]) == IDS_AT_ONCE
    assert api.pages == 0


def test_a_server_that_lower_cases_is_understood() -> None:
    """A server that computes ids from lower-case paths costs one request for fifty scenes after its first find."""
    items = numbered(51)
    lookup = lookup_of(api := Api(*items, lowered=True), Clock())
    assert found(lookup, items[0]["Path"])
    lookup.prefetch([item["Path"] for item in items[1:]])
    assert all(found(lookup, item["Path"]) for item in items[1:])
    assert len(api.asked) == 2


def test_a_prefetched_item_is_used_for_five_seconds() -> None:
    """Deliveries within five seconds of a lookup in advance cost no second lookup, later ones do."""
    lookup = lookup_of(api := Api(*numbered(2)), clock := Clock())
    lookup.prefetch(["/Media/0.mkv", "/Media/1.mkv"])
    clock.now += 4.9
    assert lookup.find(["/Media/0.mkv"]).prefetched is True
    clock.now += 0.1
    assert lookup.find(["/Media/1.mkv"]).prefetched is False
    assert len(api.asked) == 2


def test_an_item_is_read_again_by_its_id() -> None:
    """A prefetched item can be read again; an item that moved or vanished isn't returned."""
    lookup = lookup_of(api := Api(*numbered(1)), Clock())
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


def test_a_server_that_starts_to_lower_case() -> None:
    """A server that starts to lower-case its ids costs one listing; then its ids are computed again."""
    items = numbered(3)
    lookup = lookup_of(api := Api(items[0]), Clock())
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
    lookup = lookup_of(api := Api(item), clock := Clock())
    api.known["e" * 32] = {**item, "Id": "e" * 32}
    lookup.files_named(["x"])
    assert len(found(lookup, item["Path"])) == 2
    lookup.prefetch([item["Path"]])
    assert len(found(lookup, item["Path"])) == 2
    clock.now += LISTING_SECONDS  # then it is a guess, which the README states
    assert len(found(lookup, item["Path"])) == 1


@pytest.mark.parametrize("computable", [True, False])
def test_a_file_on_windows_is_found_in_any_case(computable: bool) -> None:
    """On a Windows server, case and separators make no other path."""
    item = {**ITEM, "Path": "D:\\Media\\One.mkv"}
    lookup = lookup_of(Api(item, computable=computable), Clock())
    for path in ("D:\\Media\\One.mkv", "d:/media/one.mkv"):
        assert [one["Path"] for one in found(lookup, path)] == ["D:\\Media\\One.mkv"]
    assert lookup.files_named(["one.mkv"]) == ["D:\\Media\\One.mkv"]


def test_an_id_counts_only_with_the_right_path() -> None:
    """An item with a computed id but another path isn't used."""
    api = Api()
    api.known[computed_ids("/Media/0.mkv", lowered=False)[0]] = {**ITEM, "Path": "/Media/other.mkv"}
    assert found(lookup_of(api, Clock()), "/Media/0.mkv") == []


def test_the_listing_is_used_if_ids_cannot_be_computed() -> None:
    """On a server with other ids the listing is read once for many scenes."""
    items = numbered(30)
    lookup = lookup_of(api := Api(*items, computable=False), Clock())
    assert all(found(lookup, item["Path"]) for item in items)
    assert api.pages == 1


# The listing


def test_where_ids_are_computed_a_listing_is_rare() -> None:
    """If items are found by computed ids, a missing one costs a listing an hour, and is found once it is there."""
    items = numbered(2)
    lookup = lookup_of(api := Api(items[0]), clock := Clock())
    assert found(lookup, items[0]["Path"])
    for _ in range(50):
        assert found(lookup, items[1]["Path"]) == []
        clock.now += 60.0
    assert api.pages == 1
    api.learn(items[1])
    assert found(lookup, items[1]["Path"])
    clock.now += RARELY_SECONDS
    assert found(lookup, "/elsewhere/0.mkv") == []
    assert api.pages == 2


def test_a_listing_is_believed_for_as_long_as_it_took() -> None:
    """At most half of the time a listing is being read."""
    clock = Clock()
    api = Api(*numbered(1500), computable=False)
    api.clock, api.page_seconds = clock, 50.0
    lookup = lookup_of(api, clock)
    found(lookup, "/elsewhere/0.mkv")
    clock.now += 99.0
    found(lookup, "/elsewhere/1.mkv")
    assert api.pages == 2
    clock.now += 1.0
    found(lookup, "/elsewhere/1.mkv")
    assert api.pages == 4


def test_names_of_files_are_kept_by_one_listing() -> None:
    """A test looks for scenes and then for files with their names. Both cost one listing."""
    lookup = lookup_of(api := Api(*numbered(3), computable=False), Clock())
    lookup.keep_names(["1.MKV", "x.mkv"])
    assert found(lookup, "/data/1.mkv") == []
    assert lookup.files_named(["1.mkv"]) == ["/Media/1.mkv"]
    assert api.pages == 1
    assert lookup.files_named(["2.mkv", "1.mkv"]) == ["/Media/1.mkv", "/Media/2.mkv"]
    assert api.pages == 2


# Whose an item is


def owned(path: str, kind: int, **values: Any) -> JellyfinItem:
    """An item with the id that this kind has."""
    return {**ITEM, "Id": computed_ids(path, lowered=False)[kind], "Path": path, **values}


def test_the_item_with_a_parent_is_the_right_one() -> None:
    """Of two items with the path, one of which is an extra, the other is the scene's."""
    api = Api()
    for item in (owned("/m/clips/a.mkv", 1, ParentId=None, ExtraType="Clip"), owned("/m/clips/a.mkv", 0)):
        api.known[item["Id"]] = item
    (item,) = found(lookup_of(api, Clock()), "/m/clips/a.mkv")
    assert item["ParentId"]


@pytest.mark.parametrize("values", [{"ParentId": None}, {"ExtraType": "Clip"}])
def test_an_item_of_another_is_shared(values: dict[str, Any]) -> None:
    """A file that is only a version, a part or an extra of another item has no item of its own."""
    api = Api()
    item = owned("/m/a/a - b.mkv", 1, **values)
    api.known[item["Id"]] = item
    result = lookup_of(api, Clock()).find(["/m/a/a - b.mkv"])
    assert (result.items, result.shared) == ([], "/m/a/a - b.mkv")
    assert api.pages == 0


def test_an_episode_without_a_season_is_an_item_of_its_own() -> None:
    """The parent of an episode is its season (Episode.DisplayParentId), and it may have none."""
    api = Api()
    item = owned("/m/a/a.mkv", 3, ParentId=None, Type="Episode")
    api.known[item["Id"]] = item
    assert found(lookup_of(api, Clock()), "/m/a/a.mkv") == [item]


def test_a_file_with_an_item_of_its_own_comes_first() -> None:
    """A scene with two files, of which the first is a version of the second, has the item of the second."""
    api = Api()
    for item in (owned("/m/a/a - b.mkv", 1, ParentId=None), owned("/m/a/a.mkv", 0)):
        api.known[item["Id"]] = item
    result = lookup_of(api, Clock()).find(["/m/a/a - b.mkv", "/m/a/a.mkv"])
    assert (result.path, result.shared) == ("/m/a/a.mkv", "")


@pytest.mark.parametrize("kind", [0, 1])
def test_a_hidden_version_is_recognized(kind: int) -> None:
    """From 12 on a version or part can't be asked for by id; its media sources can. Up to 10.11 nobody asks."""
    path = "/m/a/a - b.mkv"
    for version, shared in (((12, 0), path), ((10, 11), ""), ((0, 0), "")):
        api = Api(owned("/m/a/a.mkv", 0))
        api.hidden[computed_ids(path, lowered=False)[kind]] = path
        assert lookup_of(api, Clock(), version).find([path]).shared == shared
        assert len(api.played) == (kind + 1 if shared else 0)


def test_a_link_is_not_asked_for_its_media_sources() -> None:
    """Jellyfin reads the item of a .strm file anew if its media sources are asked for, so that isn't done."""
    path = "/m/a/a - b.STRM"
    api = Api(owned("/m/a/a.mkv", 0))
    api.hidden[computed_ids(path, lowered=False)[0]] = path
    assert lookup_of(api, Clock(), (12, 0)).find([path]).shared == ""
    assert api.played == []


def test_media_sources_are_asked_for_once() -> None:
    """Jellyfin may read an item anew when its media sources are asked for, so the answer is kept for an hour."""
    path = "/m/a/a - b.mkv"
    api, clock = Api(owned("/m/a/a.mkv", 0)), Clock()
    api.hidden[computed_ids(path, lowered=False)[0]] = path
    lookup = lookup_of(api, clock, (12, 0))
    for _ in range(2):
        assert lookup.find([path]).shared == path
        clock.now += RARELY_SECONDS - 1
    assert len(api.played) == 1
    clock.now += 2
    assert lookup.find([path]).shared == path
    assert len(api.played) == 2


# Paths that answers show otherwise


def test_a_network_path_in_answers() -> None:
    """With a network path substitution an item is found by its real path, and by the one that answers show."""
    api = Api()
    api.rules = path_map([("/media", "//nas/media")])
    real = owned("/media/One.mkv", 0)
    api.known[real["Id"]] = {**real, "Path": "//nas/media/One.mkv"}
    for path in ("/media/One.mkv", "//nas/media/One.mkv"):
        lookup = lookup_of(api, Clock())
        assert found(lookup, path)
        assert lookup.real(path) == "/media/One.mkv"
        lookup.prefetch([path])
        asked = len(api.asked)
        assert found(lookup, path)
        assert len(api.asked) == asked
    assert api.pages == 0


def test_another_path_without_a_substitution() -> None:
    """An item with a computed id and another path isn't used if no substitution explains it."""
    api = Api()
    api.rules = path_map([("/media/other", "//nas/media")])
    real = owned("/media/One.mkv", 0)
    api.known[real["Id"]] = {**real, "Path": "//nas/media/One.mkv"}
    assert found(lookup_of(api, Clock()), "/media/One.mkv") == []


@pytest.mark.parametrize(
    ("path", "lowered"),
    [
        ("/M/ONE.mkv", "/m/one.mkv"),
        ("/M/İSΣAΣ.mkv", "/m/İs\u03c3a\u03c3.mkv"),
        ("/m/ẞ\udcff.mkv", "/m/ß\udcff.mkv"),
    ],
)
def test_lower_case_as_the_server_makes_it(path: str, lowered: str) -> None:
    """Letter by letter, without Python's rules for the Turkish İ and the final sigma."""
    assert lower(path) == lowered
    assert computed_ids(path, lowered=True) == computed_ids(lowered, lowered=False)
