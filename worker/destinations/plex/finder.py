"""Finds the item of a scene in Plex: by its exact path, in the libraries that the owner named.

Changes nothing. One lookup a scene, in the library in whose folder the path is; a batch of scenes that comes
together is looked up in advance, and what listings may have cut is read in one request for all of them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from stash_courier.queue.failures import DeliveryFailed, Failure
from stash_courier.worker.destinations.media.libraries import Library, Recent
from stash_courier.worker.destinations.media.state import Place, ambiguous, same_name, same_path
from stash_courier.worker.destinations.plex.api import PlexApi, PlexItem, Section, split
from stash_courier.worker.settings import label

NAME = "Plex"
SECTIONS_SECONDS = 300.0  # how long the list of libraries is believed while everything is found
PREPARED_SECONDS = 10.0  # how long a lookup in advance may wait for its delivery
READ_AT_ONCE = 50  # items in one request; some 20 KB each


class Libraries:
    """The libraries that scenes are looked for in; remembered for a while, unless something isn't found.

    Args:
        api: the server.
        host: its name in messages.
        names: ``plex_libraries``.
        clock: seconds that nobody sets.
    """

    def __init__(self, api: PlexApi, host: str, names: str, clock: Callable[[], float]) -> None:
        self._api = api
        self._host = host
        self._names = names
        self._known = Recent(self._choose, SECTIONS_SECONDS, clock)

    def forget(self) -> None:
        """The next who needs the libraries asks for them."""
        self._known.forget()

    def doubt(self) -> None:
        """A scene wasn't found, so the next attempt asks for the libraries; many missing scenes ask once."""
        self._known.doubt()

    def chosen(self) -> tuple[Section, ...]:
        """The libraries that ``plex_libraries`` names, or all of movies and other videos.

        Raises:
            DeliveryFailed: there is none, or none of a name.
        """
        return self._known.get()

    def shown(self) -> list[Library]:
        """The same, for people."""
        return [Library(s.title, s.locations, told=bool(s.locations)) for s in self.chosen()]

    def covering(self, path: str) -> list[Section]:
        """Those in whose folders this path is: one, as a rule. A library that doesn't tell its folders counts."""
        libraries = zip(self.chosen(), self.shown(), strict=True)
        return [section for section, library in libraries if not library.told or library.holds(path)]

    def _choose(self) -> tuple[Section, ...]:
        usable = [s for s in self._api.sections() if s.type == "movie"]
        if not usable:
            raise self._failed(
                f"has no library of movies or other videos: add one, or check {label('plex_token')}"
            )
        names = split_names(self._names, [s.title for s in usable])
        for name in names:
            if not any(same_name(name, s.title) for s in usable):
                there = ", ".join(s.title for s in usable)
                setting = label("plex_libraries")
                raise self._failed(
                    f'has no library "{name}" of movies or other videos, which {setting} names; it has '
                    f"{there}: correct {setting}"
                )
        return tuple(s for s in usable if not names or any(same_name(name, s.title) for name in names))

    def _failed(self, what: str) -> DeliveryFailed:
        return DeliveryFailed(Failure.DESTINATION, f"{NAME} at {self._host} {what}.")


class Finder:
    """Looks scenes up, for several threads at once.

    Args:
        api: the server.
        libraries: where to look.
        concurrency: lookups at once in a batch.
        clock: seconds that nobody sets.
    """

    def __init__(self, api: PlexApi, libraries: Libraries, concurrency: int, clock: Callable[[], float]) -> None:
        self._api = api
        self._libraries = libraries
        self._concurrency = concurrency
        self._clock = clock
        self._lock = threading.Lock()
        self._prepared: dict[int, tuple[float, PlexItem | None]] = {}  # row id → when, what was found

    def find(self, scene_id: int, where: Sequence[Place]) -> PlexItem | None:
        """The item with exactly that path: of the first of these files that Plex knows.

        Raises:
            DeliveryFailed: several have it, or Plex did not answer.
        """
        for place in where:
            found = {
                item.key: item
                for section in self._libraries.covering(place.server)
                for item in self._api.files_named(section, split(place.server)[1])
                if any(same_path(file, place.server) for file in item.files)
            }
            if len(found) > 1:
                raise ambiguous(NAME, scene_id, place, map(str, found.values()))
            if found:
                return next(iter(found.values()))
        return None

    def prepare(
        self, jobs: Mapping[int, tuple[int, Sequence[Place]]], may_be_cut: Callable[[int, PlexItem], bool]
    ) -> None:
        """Looks a batch up and keeps what it found for a few seconds; a lookup that fails is left to ``find``.

        Args:
            jobs: by row id of the delivery: scene id, and where to look.
            may_be_cut: whether an item that a listing showed has to be read before it can be compared.
        """
        broken = threading.Event()

        def look(row_id: int) -> tuple[int, PlexItem | None] | None:
            try:
                return None if broken.is_set() else (row_id, self.find(*jobs[row_id]))
            except DeliveryFailed as failed:
                if failed.failure is not Failure.ITEM_REFUSED:
                    broken.set()
                return None

        with ThreadPoolExecutor(self._concurrency, thread_name_prefix="plex lookup") as threads:
            found = dict(filter(None, threads.map(look, jobs)))
        cut = {row_id: item for row_id, item in found.items() if item is not None and may_be_cut(row_id, item)}
        whole = {} if broken.is_set() else self._read(list(cut.values()))
        at = self._clock()
        with self._lock:
            self._prepared = {row: known for row, known in self._prepared.items() if self._is_fresh(known[0])}
            self._prepared |= {row: (at, item and whole.get(item.key, item)) for row, item in found.items()}

    def prepared(self, row_id: int) -> tuple[PlexItem | None] | None:
        """What ``prepare`` found for a delivery, once; None if it wasn't looked up, or too long ago."""
        with self._lock:
            at, item = self._prepared.pop(row_id, (-PREPARED_SECONDS, None))
        return (item,) if self._is_fresh(at) else None

    def _read(self, items: Sequence[PlexItem]) -> dict[str, PlexItem]:
        whole: dict[str, PlexItem] = {}
        try:
            for start in range(0, len(items), READ_AT_ONCE):
                whole |= self._api.read(items[start : start + READ_AT_ONCE])
        except DeliveryFailed:
            pass  # each delivery reads its own then
        return whole

    def _is_fresh(self, at: float) -> bool:
        return self._clock() - at < PREPARED_SECONDS


def split_names(names: str, known: Sequence[str]) -> list[str]:
    """Names separated by semicolons or commas; a known name may hold commas itself."""
    found = []
    for part in names.split(";"):
        whole = any(same_name(part, title) for title in known)
        found += [part] if whole else part.split(",")
    return [" ".join(name.split()) for name in found if name.strip()]
