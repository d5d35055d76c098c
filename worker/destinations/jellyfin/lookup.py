"""Where a file is in Jellyfin: items by their exact path. Reads only.

Jellyfin can't be asked for a path. An item's id can be computed from its path, so many are found with one
request; where that finds nothing, the listing of all videos is read, and kept for a few seconds.
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
from stash_courier.worker.destinations.media.state import path_key

# Ids in one request: four for each of 50 scenes. 200 make a request line of 6.9 KB; servers and proxies end at 8.
IDS_AT_ONCE = 200
# What was looked up ahead decides about an edit no longer than this: the owner may edit there meanwhile.
FRESH_SECONDS = 5.0
LISTING_SECONDS = NEGATIVE_SECONDS  # how long a listing that lacks a path is believed


@dataclass(frozen=True, slots=True)
class Found:
    """What was found for a scene."""

    items: list[JellyfinItem]  # of one path: several make it ambiguous
    ahead: bool = False  # they were read ahead, so they may be some seconds old


@dataclass(frozen=True, slots=True)
class _Seen:
    """What the computed ids of one path led to."""

    items: list[JellyfinItem]
    at: float  # monotonic


@dataclass(frozen=True, slots=True)
class _Listed:
    """An item of the listing."""

    id: str
    path: str  # as the server spells it


@dataclass(frozen=True, slots=True)
class _Candidate:
    """An id that the item of a path may have."""

    key: str  # the path's
    id: str
    lowered: bool | None  # made of the lower-cased path; None: of one that is the same then


class Lookup:
    """Looks paths up at one server; for several threads.

    Args:
        api: asked.
        clock: monotonic seconds.
    """

    def __init__(self, api: JellyfinApi, clock: Callable[[], float] = time.monotonic) -> None:
        self._api = api
        self._clock = clock
        self._lock = threading.Lock()
        self._ahead: dict[str, _Seen] = {}
        self._lowers: bool | None = None  # whether it lower-cases paths before it makes ids; None: not known yet
        self._listing_lock = threading.Lock()
        self._listing: dict[str, list[_Listed]] = {}  # by path key
        self._listed_at: float | None = None

    def ahead(self, paths: Sequence[str]) -> None:
        """Looks up what ``find`` will be asked for within the next seconds."""
        at = self._clock()
        found = self._computed(paths)
        with self._lock:
            kept = {key: seen for key, seen in self._ahead.items() if at - seen.at < FRESH_SECONDS}
            self._ahead = {**kept, **{key: _Seen(items, at) for key, items in found.items()}}

    def find(self, paths: Sequence[str]) -> Found:
        """The items of the first of these paths that has any; more than one if several have it."""
        seen = self._taken(paths)
        found = self._computed(paths) if seen is None else seen
        ahead = seen is not None and any(found.values())
        if any(found.values()):
            self._add_twins(found)
        else:
            found = self._listed(paths)
        return Found(next((items for path in paths if (items := found.get(path_key(path)))), []), ahead)

    def again(self, item: JellyfinItem) -> JellyfinItem | None:
        """An item as it is now; None if it is no longer there, or no longer at its path."""
        found: dict[str, list[JellyfinItem]] = {path_key(item["Path"]): []}
        return next(iter(self._read([item["Id"]], found)), None)

    def files(self) -> list[str]:
        """All paths of the listing."""
        with self._listing_lock:
            if not self._listing_fresh:
                self._read_listing()
            return [one.path for listed in self._listing.values() for one in listed]

    def _taken(self, paths: Iterable[str]) -> dict[str, list[JellyfinItem]] | None:
        """What was looked up ahead, if it is still fresh and there for all paths; it serves once."""
        now = self._clock()
        with self._lock:
            seen = {key: self._ahead.pop(key, None) for key in map(path_key, paths)}
        fresh = {key: one.items for key, one in seen.items() if one is not None and now - one.at < FRESH_SECONDS}
        return fresh if len(fresh) == len(seen) else None

    def _computed(self, paths: Sequence[str]) -> dict[str, list[JellyfinItem]]:
        """Items by path key; an entry for every path, empty if its computed ids lead nowhere."""
        found: dict[str, list[JellyfinItem]] = {path_key(path): [] for path in paths}
        waiting = list(self._candidates(paths))
        while waiting:
            batch, waiting = waiting[:IDS_AT_ONCE], waiting[IDS_AT_ONCE:]
            self._learn(self._read({one.id for one in batch}, found))
            ruled_out = None if self._lowers is None else not self._lowers
            waiting = [
                one for one in waiting if not found[one.key] and (one.lowered is None or one.lowered != ruled_out)
            ]
        return found

    def _candidates(self, paths: Sequence[str]) -> Iterator[_Candidate]:
        """All ids that these paths may have; of both spellings, while it isn't known which the server uses."""
        lowers = self._lowers
        for lowered in (False, True) if lowers is None else (lowers,):
            for path in dict.fromkeys(paths):
                same = path == path.lower()
                if not (same and lowered and lowers is None):
                    for item_id in computed_ids(path, lowered=lowered):
                        yield _Candidate(path_key(path), item_id, None if same else lowered)

    def _learn(self, items: Iterable[JellyfinItem]) -> None:
        """Sees by items with capitals in their paths which spelling the server makes ids of."""
        for item in items:
            path, own = item["Path"], item["Id"].replace("-", "").lower()
            if path != path.lower():
                for lowered in (False, True):
                    if own in computed_ids(path, lowered=lowered):
                        self._lowers = lowered

    def _read(self, ids: Iterable[str], found: dict[str, list[JellyfinItem]]) -> list[JellyfinItem]:
        """Reads items and sorts those in whose path is one of those looked for; only these count."""
        right = [item for item in self._api.items(sorted(ids)) if path_key(item["Path"]) in found]
        for item in right:
            found[path_key(item["Path"])].append(item)
        return right

    def _add_twins(self, found: dict[str, list[JellyfinItem]]) -> None:
        """Adds items of those paths that have other ids, as far as a listing that is at hand shows them."""
        if not self._listing_fresh:
            return
        known = {item["Id"] for items in found.values() for item in items}
        twins = [
            one.id
            for key, items in found.items()
            if items
            for one in self._listing.get(key, ())
            if one.id not in known
        ]
        if twins:
            self._read(twins, found)

    def _listed(self, paths: Sequence[str]) -> dict[str, list[JellyfinItem]]:
        """Items by path key, through the listing: read anew if what we have of it doesn't help and isn't fresh."""
        found: dict[str, list[JellyfinItem]] = {path_key(path): [] for path in paths}
        with self._listing_lock:
            for _ in range(2):
                ids = [one.id for key in found for one in self._listing.get(key, ())]
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
        """Reads the listing of all videos; the caller holds its lock."""
        at = self._clock()
        listing: dict[str, list[_Listed]] = {}
        seen: set[str] = set()
        for start in itertools.count(0, PAGE):
            page = self._api.page(start)
            new = [item for item in page if item["Id"] not in seen]
            for item in new:
                seen.add(item["Id"])
                if isinstance(path := item.get("Path"), str):
                    listing.setdefault(path_key(path), []).append(_Listed(item["Id"], path))
            if len(page) < PAGE or not new:
                break
        self._listing, self._listed_at = listing, at
