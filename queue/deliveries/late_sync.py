"""Waits for the disk after a commit has released the write lock, so that hooks don't wait for it too.

With ``synchronous = FULL``, SQLite syncs the write-ahead log within COMMIT, while it holds the write lock. On a
busy machine a worker that waits there for the disk, and then for the processor, keeps hooks from writing for tens
of milliseconds. Here COMMIT syncs nothing, and the log is synced after it. A commit in the log is valid only
together with all commits before it, so the sync of a hook that comes between makes this one durable too.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress

log = logging.getLogger(__name__)

_sync = getattr(os, "fdatasync", os.fsync)  # as SQLite: macOS has no fdatasync


class LateSync:
    """Late syncs for one connection. Where that isn't possible, commits are synced by SQLite, as before.

    Args:
        conn: a database in WAL mode whose ``synchronous`` is FULL; it has been read.
        path: its file.
    """

    def __init__(self, conn: sqlite3.Connection, path: str) -> None:
        self._conn = conn
        self._fd: int | None = None
        if os.name != "nt":  # an open file keeps SQLite from removing it there
            with suppress(FileNotFoundError):  # another program has switched the file out of WAL mode
                self._fd = os.open(f"{path}-wal", os.O_RDWR)

    @contextmanager
    def unsynced(self) -> Iterator[None]:
        """Commits in the block don't wait for the disk: call ``sync``, unless a power cut may undo them."""
        if self._fd is None or self._conn.in_transaction:  # the commit is not in this block
            yield
            return
        self._conn.execute("PRAGMA synchronous = NORMAL")
        try:
            yield
        finally:
            self._conn.execute("PRAGMA synchronous = FULL")

    def sync(self) -> None:
        """Returns when everything that was committed is on the disk.

        Raises:
            sqlite3.OperationalError: the disk reports an error. What was committed stays, but may not be durable.
        """
        if self._fd is None:
            return
        try:
            _sync(self._fd)
        except OSError as error:
            self._give_up(error)
            raise sqlite3.OperationalError(f"the write-ahead log can't be synced: {error.strerror}") from error

    def _give_up(self, error: OSError) -> None:
        """Leaves syncs to SQLite from now on, and writes what the log holds into the database.

        A system reports such an error once: the next sync succeeds although a part of the log is not on the disk,
        and a power cut would undo everything behind it. (A commit that SQLite failed to sync is overwritten.)
        """
        self.close()
        log.error("the write-ahead log can't be synced (%s): it is written into the database", error.strerror)
        with suppress(sqlite3.OperationalError):  # then the regular checkpoint does it
            self._conn.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()

    def close(self) -> None:
        """Closes the log; to be called before the connection removes it."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
