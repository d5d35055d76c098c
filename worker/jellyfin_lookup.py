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

from stash_courier.worker.jellyfin_api import PAGE, JellyfinApi
from stash_courier.worker.jellyfin_items import Item, computed_ids
from stash_courier.worker.media import path_key

# Ids in one request: four for each of 50 scenes. 200 make a request line of 6.9 KB; servers and proxies end at 8.
IDS_AT_ONCE = 200
# What was looked up ahead decides about an edit no longer than this: the owner may edit there meanwhile.
FRESH_SECONDS = 5.0
# A listing that lacks a path is believed no longer than this: the next try comes after 24 s at the earliest.
LISTING_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class _Seen:
    """What the computed ids of one path led to."""

    items: list[Item]
    at: float  # monotonic


@dataclass(frozen=True, slots=True)
class _Candidate:
    """An id that the item of a path may have."""

    key: str  # the path's
    id: str
    lowered: bool  # made of the lower-cased path


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
        self._lowers = False  # this server lower-cases paths before it makes ids of them
        self._listing_lock = threading.Lock()
        self._listing: dict[str, list[str]] = {}  # path key → ids
        self._listed_at: float | None = None

    def ahead(self, paths: Sequence[str]) -> None:
        """Looks up what ``find`` will be asked for within the next seconds."""
        at = self._clock()
        found = self._computed(paths)
        with self._lock:
            kept = {key: seen for key, seen in self._ahead.items() if at - seen.at < FRESH_SECONDS}
            self._ahead = {**kept, **{key: _Seen(items, at) for key, items in found.items()}}

    def find(self, paths: Sequence[str]) -> list[Item]:
        """The items of the first of these paths that has any; more than one if several have it."""
        found = self._taken(paths)
        if found is None:
            found = self._computed(paths)
        if not any(found.values()):
            found = self._listed(paths)
        return next((items for path in paths if (items := found.get(path_key(path)))), [])

    def files_named(self, name: str) -> list[str]:
        """Paths of the listing that end in this file name."""
        with self._listing_lock:
            if not self._listing_fresh:
                self._read_listing()
            return [path for path in self._listing if path.replace("\\", "/").endswith(f"/{name}")]

    def _taken(self, paths: Iterable[str]) -> dict[str, list[Item]] | None:
        """What was looked up ahead, if it is still fresh and there for all paths; it serves once."""
        now = self._clock()
        with self._lock:
            seen = {key: self._ahead.pop(key, None) for key in map(path_key, paths)}
        fresh = {key: one.items for key, one in seen.items() if one is not None and now - one.at < FRESH_SECONDS}
        return fresh if len(fresh) == len(seen) else None

    def _computed(self, paths: Sequence[str]) -> dict[str, list[Item]]:
        """Items by path key; an entry for every path, empty if its computed ids lead nowhere."""
        found: dict[str, list[Item]] = {path_key(path): [] for path in paths}
        waiting = list(self._candidates(paths))
        while waiting:
            batch, waiting = waiting[:IDS_AT_ONCE], waiting[IDS_AT_ONCE:]
            lowered = {one.id for one in batch if one.lowered}
            for item in self._read({one.id for one in batch}, found):
                if item["Path"] != item["Path"].lower():
                    self._lowers = item["Id"].replace("-", "").lower() in lowered
            waiting = [one for one in waiting if not found[one.key]]
        return found

    def _candidates(self, paths: Sequence[str]) -> Iterator[_Candidate]:
        """All ids that these paths may have, the likely ones of every path first."""
        for lowered in (self._lowers, not self._lowers):
            for path in dict.fromkeys(paths):
                if not lowered or path != path.lower():
                    for item_id in computed_ids(path, lowered=lowered):
                        yield _Candidate(path_key(path), item_id, lowered)

    def _read(self, ids: Iterable[str], found: dict[str, list[Item]]) -> list[Item]:
        """Reads items and sorts those in whose path is one of those looked for; only these count."""
        right = [item for item in self._api.items(sorted(ids)) if path_key(item["Path"]) in found]
        for item in right:
            found[path_key(item["Path"])].append(item)
        return right

    def _listed(self, paths: Sequence[str]) -> dict[str, list[Item]]:
        """Items by path key, through the listing: read anew if what we have of it doesn't help and isn't fresh."""
        found: dict[str, list[Item]] = {path_key(path): [] for path in paths}
        with self._listing_lock:
            for _ in range(2):
                ids = [one for key in found for one in self._listing.get(key, ())]
                if ids and self._read(ids, found):
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
        listing: dict[str, list[str]] = {}
        seen: set[str] = set()
        for start in itertools.count(0, PAGE):
            page = self._api.page(start)
            new = [item for item in page if item["Id"] not in seen]
            for item in new:
                seen.add(item["Id"])
                if isinstance(item.get("Path"), str):
                    listing.setdefault(path_key(item["Path"]), []).append(item["Id"])
            if len(page) < PAGE or not new:
                break
        self._listing, self._listed_at = listing, at
