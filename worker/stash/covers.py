"""Covers for the destinations that show them: fetched from Stash when they may have changed, and remembered.

Sends nothing to a destination and knows none.
"""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from stash_courier.queue.failures import DeliveryFailed, Failure
from stash_courier.queue.jobs import Delivery
from stash_courier.worker.stash.client import Stash, StashUnavailable

# Fetches what a scene's cover_url shows; raises DeliveryFailed with Failure.STASH.
Cover = Callable[[str], bytes]

COVERS_DB = "covers.db"  # in the data folder
BUSY_SECONDS = 1.0  # how long a write waits for another destination's

_TABLE = """
CREATE TABLE IF NOT EXISTS covers (
    destination TEXT NOT NULL, scene_id INTEGER NOT NULL, digest BLOB NOT NULL, PRIMARY KEY (destination, scene_id)
) WITHOUT ROWID
"""
_READ = "SELECT digest FROM covers WHERE destination = ? AND scene_id = ?"
_WRITE = "INSERT OR REPLACE INTO covers (destination, scene_id, digest) VALUES (?, ?, ?)"

_TYPES = ((b"\xff\xd8\xff", "image/jpeg"), (b"\x89PNG\r\n\x1a\n", "image/png"), (b"GIF8", "image/gif"))


def no_cover(url: str) -> bytes:  # noqa: ARG001
    """For those who load destinations without delivering to them."""
    raise DeliveryFailed(Failure.STASH, "Covers can't be fetched from Stash here.")


class StashCovers:
    """Covers as Stash has them, and the file in which destinations remember which they sent.

    Args:
        stash: is asked for them; its data folder holds the file.
    """

    def __init__(self, stash: Stash) -> None:
        self._stash = stash
        self.file = stash.folder / COVERS_DB

    def __call__(self, url: str) -> bytes:
        """A cover."""
        parts = urlsplit(url)
        try:
            return self._stash.cover(urlunsplit(("", "", parts.path, parts.query, "")))
        except StashUnavailable as error:
            raise DeliveryFailed(Failure.STASH, f"The cover can't be fetched: {error}.") from error


def covers_of(stash: Stash) -> StashCovers:
    """Covers as Stash has them."""
    return StashCovers(stash)


def may_have_changed(delivery: Delivery) -> bool:
    """Whether the cover may be another one than before; where nobody knows what changed, it may be."""
    return delivery.event == "create" or not delivery.changed or "cover_image" in delivery.changed


def image_type(image: bytes) -> str | None:
    """The media type by the first bytes; None for what is no picture, such as Stash's stand-in for a cover."""
    if image[:4] == b"RIFF" and image[8:12] == b"WEBP":
        return "image/webp"
    return next((name for mark, name in _TYPES if image.startswith(mark)), None)


def memory_of(cover: Cover, destination: str, server: str) -> Memory:
    """The memory of a destination whose covers come from there: beside Stash's other data, or in this process.

    Args:
        cover: fetches covers.
        destination: its id.
        server: its address: another server has none of the covers that this one got.
    """
    return Memory(cover.file if isinstance(cover, StashCovers) else None, destination, server)


class Memory:
    """Which cover each item got; for several threads. It outlives settings and workers, if there is a file.

    A mere cache, which costs a cover that is sent once more when it is lost: what can't be read is forgotten,
    what can't be written isn't remembered, and neither is an error to anybody. Nothing is opened before the
    first question.

    Args:
        file: where; None: in this process.
        destination: its id.
        server: its address.
    """

    def __init__(self, file: Path | None, destination: str, server: str) -> None:
        self._file = file
        self._destination = destination
        self._server = server
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._closed = False

    def has(self, scene_id: int, item: str, image: bytes) -> bool:
        """Whether the item has this cover from us; False if that isn't known.

        Args:
            scene_id: Stash's.
            item: the server's id of it: one that was scanned anew has no cover.
            image: the cover.
        """
        return self._run(_READ, (self._destination, scene_id)) == (self._digest(item, image),)

    def note(self, scene_id: int, item: str, image: bytes) -> None:
        """The item has this cover now."""
        self._run(_WRITE, (self._destination, scene_id, self._digest(item, image)))

    def close(self) -> None:
        """Lets go of the file; nothing is known any more."""
        with self._lock:
            self._closed = True
            self._let_go()

    def _digest(self, item: str, image: bytes) -> bytes:
        return hashlib.sha256(f"{self._server}\n{item}\n".encode("utf-8", "replace") + image).digest()

    def _run(self, statement: str, values: tuple[object, ...]) -> object:
        """Runs one statement and gives its first row; None if it can't be run."""
        with self._lock:
            for _ in range(0 if self._closed else 2):
                try:
                    return self._open().execute(statement, values).fetchone()
                except sqlite3.OperationalError:  # no room, no right, no folder: the next may go
                    self._let_go()
                    break
                except sqlite3.DatabaseError:  # damaged, or no database at all
                    self._start_over()
        return None

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = sqlite3.connect(
                self._file or ":memory:", timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
            self._connection.execute("PRAGMA synchronous = OFF")  # what a power cut costs is a cover sent twice
            self._connection.execute(_TABLE)
        return self._connection

    def _let_go(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _start_over(self) -> None:
        self._let_go()
        if self._file is not None:
            for name in (self._file, self._file.with_name(f"{self._file.name}-journal")):
                with contextlib.suppress(OSError):
                    name.unlink()
