"""Finds Jellyfin's items by their exact path. Changes nothing, but see ``Lookup._sources``.

Jellyfin can't be searched by path. But an item's id can be computed from its path, so one request finds many
items. If that finds nothing, the listing of all videos is asked; see listing.py.

A scene has the item that stands for one of its files alone. Jellyfin shows some files only as another version of
an item, as a part of it, or as an extra. Their items have no parent; the scenes of such files have no item.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from stash_courier.worker.destinations.jellyfin.api import IDS_AT_ONCE, JellyfinApi
from stash_courier.worker.destinations.jellyfin.items import JellyfinItem, is_own
from stash_courier.worker.destinations.jellyfin.listing import Listing
from stash_courier.worker.destinations.jellyfin.paths import Substitutions, computed_ids, lower
from stash_courier.worker.destinations.media.libraries import NEGATIVE_SECONDS
from stash_courier.worker.destinations.media.places import path_key
from stash_courier.worker.paths import is_windows

# How long a prefetched item is used. The owner may edit the item in Jellyfin meanwhile.
FRESH_SECONDS = 5.0
LISTING_SECONDS = NEGATIVE_SECONDS  # how long a listing is believed that lacks a path
# The same once items were found by computed ids, so that a listing would hardly find others.
RARELY_SECONDS = 3600.0
HIDES_VERSIONS = (12, 0)  # from this version on, other versions of an item can't be asked for by id
LINK = ".strm"  # a file that only names another one
MOST_SOURCES = 10_000  # items whose media sources are remembered

_Items = dict[str, list[JellyfinItem]]  # by path key


@dataclass(frozen=True, slots=True)
class Found:
    """What was found for a scene."""

    items: list[JellyfinItem]  # those that stand for one of its files alone; more than one is ambiguous
    path: str = ""  # that file
    prefetched: bool = False  # the items may be some seconds old
    shared: str = ""  # without items: a file that is shown only as a version, part or extra of another item


@dataclass(frozen=True, slots=True)
class _Candidate:
    """An id that the item of a path may have."""

    path: str
    id: str
    lowered: bool | None  # computed from the lower-cased path; None if the path has no capitals


class Lookup:
    """Looks up paths on one server. Thread-safe.

    Args:
        version: the server's version, as numbers.
        types: the types of items that versions or parts with this path have; see ids.py.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        api: JellyfinApi,
        version: Callable[[], tuple[int, int]],
        types: Callable[[str], Sequence[str]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._api = api
        self._version = version
        self._types = types
        self._clock = clock
        self._lock = threading.Lock()
        self._prefetched: dict[str, tuple[float, list[JellyfinItem]]] = {}  # by path key: when, and the items
        self._known_sources: dict[str, tuple[float, frozenset[str]]] = {}  # by id: until when, and the paths' keys
        self._computes = False  # an item had a computed id, so the others have one too
        self._lowers: bool | None = None  # whether the server lower-cases paths to compute ids; None: unknown
        self._listing = Listing(api, clock, lambda item: self._learn([item]))
        self._substitutions = Substitutions(api.substitutions, clock)

    def prefetch(self, paths: Sequence[str]) -> None:
        """Looks up the paths that ``find`` will be asked for within the next seconds."""
        at = self._clock()
        found = self._by_computed_ids(paths)
        with self._lock:
            kept = {key: one for key, one in self._prefetched.items() if at - one[0] < FRESH_SECONDS}
            self._prefetched = {**kept, **{key: (at, items) for key, items in found.items()}}

    def find(self, paths: Sequence[str]) -> Found:
        """The items of the first of these paths that has an item of its own."""
        prefetched = self._take_prefetched(paths)
        found = self._by_computed_ids(paths) if prefetched is None else prefetched
        self._add_duplicates(found)
        if own := _first_own(paths, found):
            return Found(*own, prefetched=prefetched is not None)
        unknown = [path for path in paths if not found[path_key(path)]]
        if unknown and self._substitutions.read() and any(self.real(path) != path for path in unknown):
            found |= self._by_computed_ids(unknown)
            unknown = [path for path in unknown if not found[path_key(path)]]
        found |= self._by_listing(unknown)
        if own := _first_own(paths, found):
            return Found(*own)
        shared = next((path for path in paths if found[path_key(path)]), "")
        return Found([], shared=shared or next(filter(self._is_version, unknown), ""))

    def reread(self, item: JellyfinItem) -> JellyfinItem | None:
        """The current state of an item; None if it is gone, has another path or became a version of another."""
        key = path_key(item["Path"])
        found: _Items = {key: []}
        self._read([item["Id"]], found)
        return next(filter(is_own, found[key]), None)

    def real(self, path: str) -> str:
        """What the server itself calls a file, if this path is one that only its answers show."""
        return self._substitutions.real(path)

    def read_substitutions(self) -> None:
        """Reads what ``real`` needs, if that wasn't done in the last hour."""
        self._substitutions.read()

    def keep_names(self, names: Iterable[str]) -> None:
        """``files_named`` will be asked for these names."""
        self._listing.keep(names)

    def files_named(self, names: Iterable[str]) -> list[str]:
        """The paths of all files with one of these names, spelled as on the server."""
        return self._listing.files_named(frozenset(names), LISTING_SECONDS)

    def _take_prefetched(self, paths: Iterable[str]) -> _Items | None:
        """The prefetched items, if they are fresh and cover all paths. They can be taken once."""
        now = self._clock()
        with self._lock:
            taken = {key: self._prefetched.pop(key, None) for key in map(path_key, paths)}
        fresh = {key: one[1] for key, one in taken.items() if one is not None and now - one[0] < FRESH_SECONDS}
        return fresh if len(fresh) == len(taken) else None

    # By computed ids

    def _by_computed_ids(self, paths: Sequence[str]) -> _Items:
        """Items by path key. Every path has an entry, which is empty if no item has one of its computed ids."""
        found: _Items = {path_key(path): [] for path in paths}
        waiting = list(self._candidates(paths))
        while waiting:
            batch, waiting = waiting[:IDS_AT_ONCE], waiting[IDS_AT_ONCE:]
            self._read((one.id for one in batch), found, {one.id: one.path for one in batch})
            possible = {None, False, True} if self._lowers is None else {None, self._lowers}
            waiting = [one for one in waiting if one.lowered in possible and not found[path_key(one.path)]]
        return found

    def _candidates(self, paths: Sequence[str]) -> Iterator[_Candidate]:
        """All ids that these paths may have: in both spellings until it is known which one the server uses."""
        lowers = self._lowers
        for lowered in (False, True) if lowers is None else (lowers,):
            for path in dict.fromkeys(paths):
                real = self.real(path)
                has_capitals = real != lower(real)
                if lowered and lowers is None and not has_capitals:
                    continue  # the ids are the same in both spellings
                for item_id in computed_ids(real, lowered=lowered):
                    yield _Candidate(path, item_id, lowered if has_capitals else None)

    def _learn(self, items: Iterable[JellyfinItem]) -> None:
        """Learns how the server computes ids. Items with capitals in their paths show from which spelling."""
        for item in items:
            path, own = self.real(str(item["Path"])), _plain(item["Id"])
            for lowered in (False, True):
                if own in computed_ids(path, lowered=lowered):
                    self._computes = True
                    if path != lower(path):
                        self._lowers = lowered

    def _read(self, ids: Iterable[str], found: _Items, computed: Mapping[str, str] | None = None) -> None:
        """Reads items and adds those with one of the wanted paths to ``found``. Others are ignored.

        Args:
            computed: the path that an id was computed from.
        """
        items = self._api.items(sorted(ids))
        wanted = [(item, key) for item in items if (key := self._key(item, computed or {})) in found]
        for item, key in wanted:
            found[key].append(item)
        self._learn(item for item, _ in wanted)

    def _key(self, item: JellyfinItem, computed: Mapping[str, str]) -> str:
        """The key of the wanted path that an item has. Its answer may show another one for the same file."""
        key = path_key(item["Path"])
        path = computed.get(_plain(item["Id"]))
        if path is None or path_key(path) == key or not self._substitutions.read():
            return key
        return path_key(path) if path_key(self._substitutions.shown(self.real(path))) == key else key

    # By the listing

    def _add_duplicates(self, found: _Items) -> None:
        """Adds other items with those paths, if a fresh listing has any."""
        if not self._listing.is_fresh(LISTING_SECONDS):
            return
        paths = [item["Path"] for items in found.values() for item in items]
        known = {_plain(item["Id"]) for items in found.values() for item in items}
        if duplicates := self._listing.ids(paths) - known:
            self._read(duplicates, found)

    def _by_listing(self, paths: Sequence[str]) -> _Items:
        """Items by path key. If the newest listing doesn't lead to an item and isn't fresh, it is read again."""
        found: _Items = {path_key(path): [] for path in paths}
        seconds = (
            RARELY_SECONDS
            if self._computes and not any(map(_may_be_spelled_otherwise, paths))
            else LISTING_SECONDS
        )
        while paths:
            if ids := self._listing.ids(paths):
                self._read(ids, found)
            if any(found.values()) or self._listing.is_fresh(seconds):
                break
            self._listing.read(seconds)
        return found

    # Other versions

    def _is_version(self, path: str) -> bool:
        """Whether the server knows the file as another version of an item, which it hides from version 12 on."""
        real = self.real(path)
        if self._version() < HIDES_VERSIONS or real.lower().endswith(LINK):
            return False
        spellings = (False, True) if self._lowers is None and real != lower(real) else (bool(self._lowers),)
        shown = {path_key(path), path_key(real), path_key(self._substitutions.shown(real))}
        return any(
            not shown.isdisjoint(self._sources(item_id))
            for lowered in spellings
            for item_id in computed_ids(real, lowered=lowered, types=self._types(real))
        )

    def _sources(self, item_id: str) -> frozenset[str]:
        """The keys of the paths of an item's versions; none if there is no such item.

        When asked for them, Jellyfin refreshes an item that is a link or in which it knows no video
        (MediaInfoHelper, MediaSourceManager). That takes back what isn't locked. So it isn't asked for links, and
        its answer is believed for as long as a listing is.
        """
        with self._lock:
            until, keys = self._known_sources.get(item_id, (0.0, frozenset()))
        if self._clock() < until:
            return keys
        keys = frozenset(map(path_key, self._api.source_paths(item_id)))
        if keys:  # else there was no item to refresh
            with self._lock:
                self._known_sources.pop(item_id, None)
                self._known_sources[item_id] = (self._clock() + RARELY_SECONDS, keys)
                if len(self._known_sources) > MOST_SOURCES:
                    del self._known_sources[next(iter(self._known_sources))]
        return keys


def _first_own(
    paths: Iterable[str], found: Mapping[str, list[JellyfinItem]]
) -> tuple[list[JellyfinItem], str] | None:
    """The items of the first of these paths that has an item of its own, and the path."""
    for path in paths:
        if own := [item for item in found[path_key(path)] if is_own(item)]:
            return own, path
    return None


def _may_be_spelled_otherwise(path: str) -> bool:
    """Whether the server may show the path in another spelling than the one that an id is computed from."""
    return is_windows(path) or not path.isprintable()


def _plain(item_id: str) -> str:
    """An id as we compute it."""
    return item_id.replace("-", "").lower()
