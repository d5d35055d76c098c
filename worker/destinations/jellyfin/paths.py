"""What Jellyfin makes of a file's path: the ids that it computes, and the other path that its answers may show.

The ids are from its sources, 10.8 to 12 (LibraryManager.GetNewItemId). They are an internal detail of the server,
so the path of an item that such an id leads to must be checked. Owners set network path substitutions in the
server's system.xml. Up to 10.9 the folders of libraries could have a network path, too.
"""

from __future__ import annotations

import hashlib
import time
import uuid
from collections.abc import Callable, Sequence

from stash_courier.queue.failures import DeliveryFailed
from stash_courier.worker.paths import PathMap, path_map

# The types of items that a video file becomes, as "Type" calls them; most frequent first.
CLASSES = {"Movie": "Movies.Movie", "Video": "Video", "MusicVideo": "MusicVideo", "Episode": "TV.Episode"}
TYPES = tuple(CLASSES)


def computed_ids(path: str, *, lowered: bool, types: Sequence[str] = TYPES) -> tuple[str, ...]:
    """The ids that an item with this path may have, one for each type.

    The server hashes the full name of the item's type and its path. The path is in lower case if
    ``EnableCaseSensitiveItemIds`` is off (``lowered``).
    """
    key = lower(path) if lowered else path
    ids = []
    for name in types:
        hashed = f"MediaBrowser.Controller.Entities.{CLASSES[name]}{key}".encode("utf-16-le", "surrogatepass")
        digest = hashlib.md5(hashed, usedforsecurity=False).digest()
        ids.append(uuid.UUID(bytes_le=digest).hex)
    return tuple(ids)


def lower(path: str) -> str:
    """A path in lower case as .NET makes it (``ToLowerInvariant``): letter by letter, and the Turkish İ stays."""
    if path.isascii():
        return path.lower()
    return "".join(small if len(small := letter.lower()) == 1 else letter for letter in path)


READ_SECONDS = 3600.0  # how long they are believed


class Substitutions:
    """Those of one server. They are read when a path isn't found. The clock is in monotonic seconds."""

    def __init__(self, ask: Callable[[], PathMap], clock: Callable[[], float] = time.monotonic) -> None:
        self._ask = ask
        self._clock = clock
        self._rules = self._reversed = PathMap()
        self._until = 0.0

    def read(self) -> bool:
        """Reads them, unless that was done in the last hour. Returns whether there are any.

        A server that doesn't tell them has none, as far as we know.
        """
        if self._clock() >= self._until:
            self._until = self._clock() + READ_SECONDS
            try:
                self._rules = self._ask()
            except DeliveryFailed:
                self._rules = PathMap()
            self._reversed = path_map((target, source) for source, target in self._rules.rules)
        return bool(self._rules.rules)

    def shown(self, path: str) -> str:
        """What the server's answers show for a file with this path, as far as is known."""
        return self._rules.apply(path)

    def real(self, path: str) -> str:
        """The file's path on the server, for a path as its answers show it; a path that isn't shown stays."""
        return self._reversed.apply(path)
