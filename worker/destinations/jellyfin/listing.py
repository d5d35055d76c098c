"""All videos of a Jellyfin: which ids lead to a path, and for the library report how each file is shown.

A listing takes a request for every thousand videos, so one serves all that are looked for meanwhile. Of each
video it keeps a number and the id. The item itself is read by its id, which shows whether its path is right.

Seen on 10.10.7, 10.11.11 and 12.0-rc5 (tests/samples): an item of its own has a ``ParentId``; versions and parts
have none up to 10.11, and aren't listed by 12. There the item of the first file names its versions, and says how
many parts it has but not which.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Collection, Iterable, Iterator
from uuid import UUID

from stash_courier.worker.destinations.jellyfin.api import IDS_AT_ONCE, JellyfinApi, pages
from stash_courier.worker.destinations.jellyfin.items import JellyfinItem, has_parent, is_own, several
from stash_courier.worker.destinations.media.places import file_name, path_key, same_path
from stash_courier.worker.destinations.media.report import Kind, Shown

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


FIELDS = "Path,ParentId,MediaSourceCount"
# How the names of an item's parts end: "Film part1.mp4", "Film-cd2.mp4", "Film (disc a).mp4".
_PART = re.compile(
    r"(?P<name>.*?)[ _.\-(\[]+(?P<word>cd|dvd|part|pt|dis[ck])[ _.\-]*(?:[0-9]+|[a-d])[)\]]?\.[^./\\]+",
    re.IGNORECASE | re.DOTALL,
)


def stack(path: str) -> str:
    """Equal for the paths of files that may be parts of one item; "" if the path has no number of a part."""
    found = _PART.fullmatch(path)
    return f"{found['name']}\n{found['word']}".casefold() if found else ""


def shown(api: JellyfinApi) -> Iterator[Shown]:
    """All files, and what each is. Raises DeliveryFailed."""
    grouped: list[str] = []  # ids of items with several versions
    for page in pages(lambda start: api.page(start, FIELDS)):
        shows_parents = any(map(has_parent, page))  # else nothing is known of parts and versions
        for item in page:
            if isinstance(path := item.get("Path"), str) and not item.get("ExtraType"):
                grouped += [item["Id"]] if several(item, "MediaSourceCount") else []
                # One of its own, or a part until it turns up among the versions.
                kind: Kind = "own" if is_own(item) or not shows_parents else "part"
                yield Shown(path, kind, stack(path) if several(item, "PartCount") else "")
    for first in range(0, len(grouped), IDS_AT_ONCE):
        for item in api.sources(grouped[first : first + IDS_AT_ONCE]):
            yield from _versions(item)


def _versions(item: JellyfinItem) -> Iterator[Shown]:
    sources = item.get("MediaSources")
    for source in sources if isinstance(sources, list) else ():
        path = source.get("Path") if isinstance(source, dict) else None
        if isinstance(path, str) and not same_path(path, str(item.get("Path"))):
            yield Shown(path, "version")
