"""The ids that Jellyfin computes from paths. Pure.

From its sources, 10.8 to 12 (LibraryManager.GetNewItemId). It is an internal detail of the server, so the path of
an item that such an id leads to must be checked.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Sequence

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
