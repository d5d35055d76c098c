"""Finds Jellyfin's items by their exact path. Reads only.

Jellyfin can't be searched by path. But an item's id can be computed from its path, so one request finds many
items. If that finds nothing, the listing of all videos is read, and cached for a few seconds.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from stash_courier.worker.destinations.jellyfin.api import PAGE, JellyfinApi
from stash_courier.worker.destinations.jellyfin.items import JellyfinItem, computed_ids
from stash_courier.worker.destinations.media.libraries import NEGATIVE_SECONDS
from stash_courier.worker.destinations.media.places import path_key

# Ids in one request: four for each of 50 scenes. They make a request line of 6.9 KB; servers and proxies accept 8.
IDS_AT_ONCE = 200
# How long a prefetched item is used. The owner may edit the item in Jellyfin meanwhile.
FRESH_SECONDS = 5.0
LISTING_SECONDS = NEGATIVE_SECONDS  # how long a listing is believed that lacks a path


@dataclass(frozen=True, slots=True)
class Found:
    """What was found for a scene."""

    items: list[JellyfinItem]  # all items of one path; more than one is ambiguous
    prefetched: bool = False  # the items may be some seconds old


@dataclass(frozen=True, slots=True)
class _Candidate:
    """An id that the item of a path may have."""

    key: str  # path_key of the path
    id: str
    lowered: bool | None  # computed from the lower-cased path; None if the path has no capitals


class Lookup:
    """Looks up paths on one server. Thread-safe. The clock is in monotonic seconds."""

    def __init__(self, api: JellyfinApi, clock: Callable[[], float] = time.monotonic) -> None:
        self._api = api
        self._clock = clock
        self._lock = threading.Lock()
        self._prefetched: dict[str, tuple[float, list[JellyfinItem]]] = {}  # by path key: when, and the items
        self._lowers: bool | None = None  # whether the server lower-cases paths to compute ids; None: unknown
        self._listing_lock = threading.Lock()
        self._listing: dict[str, dict[str, str]] = {}  # by path key: each item's id and path
        self._listed_at: float | None = None

    def prefetch(self, paths: Sequence[str]) -> None:
        """Looks up the paths that ``find`` will be asked for within the next seconds."""
        at = self._clock()
        found = self._by_computed_ids(paths)
        with self._lock:
            kept = {key: one for key, one in self._prefetched.items() if at - one[0] < FRESH_SECONDS}
            self._prefetched = {**kept, **{key: (at, items) for key, items in found.items()}}

    def find(self, paths: Sequence[str]) -> Found:
        """The items of the first of these paths that has an item."""
        prefetched = self._take_prefetched(paths)
        found = self._by_computed_ids(paths) if prefetched is None else prefetched
        if any(found.values()):
            self._add_duplicates(found)
        else:
            prefetched = None
            found = self._by_listing(paths)
        items = next((items for path in paths if (items := found.get(path_key(path)))), [])
        return Found(items, prefetched is not None)

    def reread(self, item: JellyfinItem) -> JellyfinItem | None:
        """The current state of an item; None if it is gone or has another path."""
        return next(iter(self._read([item["Id"]], {path_key(item["Path"]): []})), None)

    def files(self) -> list[str]:
        """All paths of the listing, spelled as on the server."""
        with self._listing_lock:
            if not self._listing_fresh:
                self._read_listing()
            return [path for listed in self._listing.values() for path in listed.values()]

    def _take_prefetched(self, paths: Iterable[str]) -> dict[str, list[JellyfinItem]] | None:
        """The prefetched items, if they are fresh and cover all paths. They can be taken once."""
        now = self._clock()
        with self._lock:
            taken = {key: self._prefetched.pop(key, None) for key in map(path_key, paths)}
        fresh = {key: one[1] for key, one in taken.items() if one is not None and now - one[0] < FRESH_SECONDS}
        return fresh if len(fresh) == len(taken) else None

    def _by_computed_ids(self, paths: Sequence[str]) -> dict[str, list[JellyfinItem]]:
        """Items by path key. Every path has an entry, which is empty if no item has one of its computed ids."""
        found: dict[str, list[JellyfinItem]] = {path_key(path): [] for path in paths}
        waiting = list(self._candidates(paths))
        while waiting:
            batch, waiting = waiting[:IDS_AT_ONCE], waiting[IDS_AT_ONCE:]
            self._learn(self._read({one.id for one in batch}, found))
            possible = {None, False, True} if self._lowers is None else {None, self._lowers}
            waiting = [one for one in waiting if one.lowered in possible and not found[one.key]]
        return found

    def _candidates(self, paths: Sequence[str]) -> Iterator[_Candidate]:
        """All ids that these paths may have: in both spellings until it is known which one the server uses."""
        lowers = self._lowers
        for lowered in (False, True) if lowers is None else (lowers,):
            for path in dict.fromkeys(paths):
                has_capitals = path != path.lower()
                if lowered and lowers is None and not has_capitals:
                    continue  # the ids are the same in both spellings
                for item_id in computed_ids(path, lowered=lowered):
                    yield _Candidate(path_key(path), item_id, lowered if has_capitals else None)

    def _learn(self, items: Iterable[JellyfinItem]) -> None:
        """Learns the spelling that the server computes ids from. Items with capitals in their paths show it."""
        for item in items:
            path, own = item["Path"], item["Id"].replace("-", "").lower()
            if path != path.lower():
                for lowered in (False, True):
                    if own in computed_ids(path, lowered=lowered):
                        self._lowers = lowered

    def _read(self, ids: Iterable[str], found: dict[str, list[JellyfinItem]]) -> list[JellyfinItem]:
        """Reads items and adds those with one of the wanted paths to ``found``. Others are ignored."""
        wanted = [item for item in self._api.items(sorted(ids)) if path_key(item["Path"]) in found]
        for item in wanted:
            found[path_key(item["Path"])].append(item)
        return wanted

    def _add_duplicates(self, found: dict[str, list[JellyfinItem]]) -> None:
        """Adds other items with those paths, if a cached listing has any."""
        if not self._listing_fresh:
            return
        listed = {one for key, items in found.items() if items for one in self._listing.get(key, ())}
        if duplicates := listed - {item["Id"] for items in found.values() for item in items}:
            self._read(duplicates, found)

    def _by_listing(self, paths: Sequence[str]) -> dict[str, list[JellyfinItem]]:
        """Items by path key. If the cached listing doesn't lead to an item and isn't fresh, it is read again."""
        found: dict[str, list[JellyfinItem]] = {path_key(path): [] for path in paths}
        with self._listing_lock:
            for _ in range(2):
                ids = [one for key in found for one in self._listing.get(key, ())]
                if ids and (items := self._read(ids, found)):
                    self._learn(items)
                    break
                if self._listing_fresh:
                    break
                self._read_listing()
        return found

    @property
    def _listing_fresh(self) -> bool:
        return self._listed_at is not None and self._clock() - self._listed_at < LISTING_SECONDS

    def _read_listing(self) -> None:
        """Reads the listing of all videos. The caller holds its lock."""
        at = self._clock()
        listing: dict[str, dict[str, str]] = {}
        seen: set[str] = set()
        for start in itertools.count(0, PAGE):
            page = self._api.page(start)
            new = [item for item in page if item["Id"] not in seen]
            for item in new:
                seen.add(item["Id"])
                if isinstance(path := item.get("Path"), str):
                    listing.setdefault(path_key(path), {})[item["Id"]] = path
            if len(page) < PAGE or not new:
                break
        self._listing, self._listed_at = listing, at
