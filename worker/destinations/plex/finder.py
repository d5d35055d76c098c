"""Finds a scene's item in Plex: by its exact path, in the libraries that the owner named. Reads only.

A scene costs one lookup, in the library that contains its path. A batch of scenes is looked up in advance, and
items of which a listing doesn't show enough are read together in one request.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from stash_courier.queue.failures import DeliveryFailed, Failure
from stash_courier.worker.destinations.media.libraries import Cached, described, holder
from stash_courier.worker.destinations.media.places import Place, ambiguous, same_path
from stash_courier.worker.destinations.media.state import same_name
from stash_courier.worker.destinations.plex.api import PlexApi, PlexItem, Section, split
from stash_courier.worker.destinations.plex.names import why_never

SECTIONS_SECONDS = 300.0  # how long the list of libraries is valid while everything is found
PREPARED_SECONDS = 10.0  # how long a prepared item is used
TYPES = {"show": "TV shows", "artist": "music", "photo": "photos"}  # of libraries that aren't supported
READ_AT_ONCE = 50  # items in one request; about 20 KB each


class Libraries(Cached[tuple[Section, ...]]):
    """The libraries that are searched: those that the owner names, or all of movies and other videos.

    ``get`` raises ``DeliveryFailed`` with DESTINATION if there is none, or none with one of the names.
    """

    def __init__(self, api: PlexApi, host: str, names: str, clock: Callable[[], float]) -> None:
        super().__init__(self._choose, SECTIONS_SECONDS, clock)
        self._api = api
        self._host = host
        self._names = names
        self._all: tuple[Section, ...] = ()  # as of the last request

    def no_series(self, where: Sequence[Place] = ()) -> str:
        """A sentence, after a space, about the libraries of TV shows, or those that hold one of these places."""
        found = [s for s in self._series() if not where or any(s.holds(place.server) for place in where)]
        return f" Libraries of TV shows are not supported: {described(found)}." if found else ""

    def why_never(self, path: str) -> str:
        """Why no library ever makes an item of a file, by its name, for the end of a sentence; "" if one may."""
        holders = [section for section in self._known() if section.may_hold(path)]
        if any(section.folders is None for section in holders):
            return ""
        reasons = [why_never(path, root, one.scanner) for one in holders for root in one.roots(path)]
        return reasons[0] if reasons and all(reasons) else ""

    def not_searched(self, path: str) -> str:
        """In which library that isn't searched a file is, and why that is so, in words; "" if it is in none."""
        searched = self.get()
        found = holder([path], (section for section in self._all if section not in searched))
        if found is None:
            return ""
        if found.type == "movie":
            return f'in the library {found.name}, which is not named in "Libraries"'
        return (
            f"in the library {found.name} of the type {TYPES.get(found.type, found.type)}, which is not supported"
        )

    def _known(self) -> Sequence[Section]:
        try:
            return self.get()
        except DeliveryFailed:
            return ()

    def _series(self) -> list[Section]:
        return [section for section in self._all if section.type == "show"]

    def _choose(self) -> tuple[Section, ...]:
        self._all = sections = self._api.sections()
        usable = [s for s in sections if s.type == "movie"]
        if not usable:
            raise self._failed(f'of movies or other videos. Add one, or check "Token".{self.no_series()}')
        titles = [s.name for s in usable]
        names = split_names(self._names, [s.name for s in sections])
        for name in names:
            if not any(same_name(name, title) for title in titles):
                there = ", ".join(titles)
                series = any(same_name(name, s.name) for s in self._series())
                why = ", and libraries of TV shows are not supported" if series else ""
                raise self._failed(
                    f'"{name}" of movies or other videos{why}. Correct "Libraries": it has {there}.'
                )
        return tuple(s for s in usable if not names or any(same_name(name, s.name) for name in names))

    def _failed(self, what: str) -> DeliveryFailed:
        return DeliveryFailed(Failure.DESTINATION, f"Plex at {self._host} has no library {what}")


class Finder:
    """Looks up the items of scenes, those of a batch with ``concurrency`` threads. Thread-safe."""

    def __init__(self, api: PlexApi, libraries: Libraries, concurrency: int, clock: Callable[[], float]) -> None:
        self._api = api
        self._libraries = libraries
        self._concurrency = concurrency
        self._clock = clock
        self._lock = threading.Lock()
        # By row id of the delivery: until when a lookup in advance is valid, and its result.
        self._prepared: dict[int, tuple[float, PlexItem | None]] = {}

    def find(self, scene_id: int, where: Sequence[Place]) -> PlexItem | None:
        """The item of the first of these files that Plex knows, by its exact path.

        Raises:
            DeliveryFailed: several items have the path, or Plex did not answer.
        """
        for place in where:
            found = {
                item.key: item
                for section in self._libraries.get()
                if section.may_hold(place.server)
                for item in self._api.files_named(section, split(place.server)[1])
                if any(same_path(file, place.server) for file in item.files)
            }
            if len(found) > 1:
                raise ambiguous("Plex", scene_id, place, map(str, found.values()))
            if found:
                return next(iter(found.values()))
        return None

    def prepare(
        self, jobs: Mapping[int, tuple[int, Sequence[Place]]], needs_read: Callable[[int, PlexItem], bool]
    ) -> None:
        """Looks up a batch and keeps the results for a few seconds. Lookups that fail are left to ``find``.

        Args:
            jobs: scene id and places to look at, by row id of the delivery.
            needs_read: whether an item from a listing has to be read.
        """
        server_failed = threading.Event()  # the remaining lookups are skipped
        found: dict[int, PlexItem | None] = {}

        def look_up(row_id: int) -> None:
            if server_failed.is_set():
                return
            try:
                found[row_id] = self.find(*jobs[row_id])
            except DeliveryFailed as failed:
                if failed.failure is not Failure.ITEM_REFUSED:
                    server_failed.set()

        with ThreadPoolExecutor(self._concurrency, thread_name_prefix="plex lookup") as threads:
            list(threads.map(look_up, jobs))  # list() raises what a thread raised
        some = [
            item for row_id, item in found.items() if item is not None and item.has_id and needs_read(row_id, item)
        ]
        whole = {} if server_failed.is_set() else self._read(some)
        now = self._clock()
        with self._lock:
            self._prepared = {row: one for row, one in self._prepared.items() if now < one[0]}
            for row, item in found.items():
                self._prepared[row] = (now + PREPARED_SECONDS, item and whole.get(item.key, item))

    def find_prepared(self, row_id: int, scene_id: int, where: Sequence[Place]) -> PlexItem | None:
        """The result of ``prepare`` for this delivery, once and for a few seconds; otherwise that of ``find``."""
        with self._lock:
            until, item = self._prepared.pop(row_id, (0.0, None))
        return item if self._clock() < until else self.find(scene_id, where)

    def _read(self, items: Sequence[PlexItem]) -> dict[str, PlexItem]:
        whole: dict[str, PlexItem] = {}
        try:
            for start in range(0, len(items), READ_AT_ONCE):
                whole |= self._api.read(items[start : start + READ_AT_ONCE])
        except DeliveryFailed:
            pass  # each delivery reads its own item then
        return whole


def split_names(names: str, known: Sequence[str]) -> list[str]:
    """Names separated by semicolons or commas. A known name may contain commas itself."""
    found = []
    for part in names.split(";"):
        whole = any(same_name(part, title) for title in known)
        found += [part] if whole else part.split(",")
    return [" ".join(name.split()) for name in found if name.strip()]
