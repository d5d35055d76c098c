"""Durable transactions, and giving free pages back to the file system, for both databases."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

BUSY_SECONDS = 10.0  # how long the worker and the buttons wait for another's lock
VIEW_SECONDS = 2.0  # the same for the page's views, which people look at


@contextmanager
def transaction(conn: sqlite3.Connection) -> Iterator[None]:
    """Takes the write lock, and commits what the block wrote or, if the block raises, undoes it.

    Raises:
        sqlite3.OperationalError: another connection holds the write lock, or the disk is full.
    """
    conn.execute("BEGIN IMMEDIATE")
    try:
        yield
        conn.execute("COMMIT")
    except BaseException:
        if conn.in_transaction:
            conn.execute("ROLLBACK")
        raise


def shrink(conn: sqlite3.Connection, pages: int) -> None:
    """Gives at most this many free pages back to the file system."""
    # As a script, because execute() steps a statement without columns once, which gives back only one page.
    conn.executescript(f"PRAGMA incremental_vacuum({pages})")
