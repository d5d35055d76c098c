"""The listing of all videos of a Jellyfin: which ids lead to a path. For items whose ids can't be computed.

It takes a request for every thousand videos, so one listing serves all that are looked for meanwhile. Of each
video it keeps a number and the id. The item itself is read by its id, which shows whether its path is right.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable
from uuid import UUID

from stash_courier.worker.destinations.jellyfin.api import JellyfinApi, pages
from stash_courier.worker.destinations.jellyfin.items import JellyfinItem
from stash_courier.worker.destinations.media.places import file_name, path_key

ID_BYTES = 16


class Listing:
    """The newest listing. Thread-safe. The clock is in monotonic seconds."""

    def __init__(self, api: JellyfinApi, clock: Callable[[], float], look: Callable[[JellyfinItem], None]) -> None:
        """``look`` is called with the first items of each page; they have an id and a path."""
        self._api = api
        self._clock = clock
        self._look = look
        self._lock = threading.Lock()  # held while it is read, so that only one thread reads it
        self._ids: dict[int, bytes] = {}  # by the hash of the path's key: one id after the other
        self._ended: float | None = None  # when the newest was read
        self._took = 0.0  # seconds
        self._names: frozenset[str] = frozenset()  # case-folded names of files whose paths are kept
        self._named: list[str] = []  # those paths

    def is_fresh(self, seconds: float) -> bool:
        """Whether it is believed if it lacks a path: for ``seconds`` after its end, or for as long as it took.

        If its age counted from its beginning, one that takes long would never be fresh, and would be read again
        for each path that it lacks.
        """
        return self._ended is not None and self._clock() - self._ended < max(seconds, self._took)

    def read(self, seconds: float) -> None:
        """Reads it, unless it is fresh."""
        with self._lock:
            if not self.is_fresh(seconds):
                self._read()

    def ids(self, paths: Iterable[str]) -> set[str]:
        """The ids that may lead to these paths, by the newest listing, however old."""
        ids = self._ids
        found = b"".join(ids.get(hash(path_key(path)), b"") for path in paths)
        return {found[at : at + ID_BYTES].hex() for at in range(0, len(found), ID_BYTES)}

    def files_named(self, names: Collection[str], seconds: float) -> list[str]:
        """The paths of all files with one of these names, in any case, spelled as on the server."""
        with self._lock:
            wanted = frozenset(name.casefold() for name in names)
            if not (wanted <= self._names and self.is_fresh(seconds)):
                self._names |= wanted
                self._read()
            return self._named

    def keep(self, names: Iterable[str]) -> None:
        """``files_named`` will be asked for these names, so the next listing keeps their paths."""
        with self._lock:
            self._names |= frozenset(name.casefold() for name in names)

    def _read(self) -> None:
        began = self._clock()
        ids: dict[int, bytes] = {}
        named: list[str] = []
        for page in pages(self._api.page):
            items = [item for item in page if isinstance(item.get("Path"), str)]
            for item in items:
                path, key = item["Path"], hash(path_key(item["Path"]))
                ids[key] = ids.get(key, b"") + UUID(item["Id"]).bytes
                if self._names and file_name(path).casefold() in self._names:
                    named.append(path)
            for item in items[:1]:
                self._look(item)
        self._ids, self._named = ids, named
        self._ended = self._clock()
        self._took = self._ended - began
