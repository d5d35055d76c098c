"""What both databases need: durable transactions, and giving the disk back. What stands in them is others'."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def transaction(conn: sqlite3.Connection) -> Iterator[None]:
    """Takes the write lock, then commits what the block wrote, or undoes all of it if the block raises.

    Raises:
        sqlite3.OperationalError: somebody else has the write lock, or the disk is full.
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
    """Gives free pages back to the file system, at most so many.

    As a script, for ``execute`` steps a statement without columns only once, which gives back one page.
    """
    conn.executescript(f"PRAGMA incremental_vacuum({pages})")
