"""Damaged database files: set aside, replaced, and what is readable in them saved.

Only for the holder of the worker lock, with nothing of ours open. A damaged file is never deleted.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

from stash_courier.queue import locks, schema
from stash_courier.queue.dlq_schema import CREATE as DLQ_CREATE

GATE_SECONDS = 30.0  # hooks hold the gate for milliseconds, a task button for as long as it runs
SAVE_ROWS = 1000  # in one transaction
LONGEST_LEAP = 1 << 20  # rowids passed over at a time in search of the next readable row
_DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}

log = logging.getLogger(__name__)


def is_damage(error: sqlite3.Error) -> bool:
    """Whether an error says that the file itself is broken, not that it is locked or the disk is full."""
    code = getattr(error, "sqlite_errorcode", None)
    return type(error) is sqlite3.DatabaseError if code is None else code & 0xFF in _DAMAGE


def repair(folder: Path) -> str | None:
    """Checks both files, sets aside what is damaged and saves what can be read.

    Args:
        folder: the data folder.

    Returns:
        A sentence for the owner; None if nothing was damaged.
    """
    said = []
    for name in (schema.QUEUE_DB, schema.DLQ_DB):
        path = folder / name
        if path.exists() and not _sound(path):
            said.append(_replace(folder, path))
    return " ".join(said) or None


def _sound(path: Path) -> bool:
    try:
        conn = schema.connect(str(path), 10.0)
        try:
            known = conn.execute("PRAGMA user_version").fetchone()[0] != 0
            return bool(known and conn.execute("PRAGMA quick_check(1)").fetchone()[0] == "ok")
        finally:
            conn.close()
    except sqlite3.DatabaseError as error:
        if is_damage(error):
            return False
        raise


def _replace(folder: Path, path: Path) -> str:
    gate = _gate(folder)
    try:
        aside = path.with_name(f"{path.name}.damaged-{time.strftime('%Y%m%d-%H%M%S')}")
        for suffix in ("-wal", "-shm", ""):
            part = path.with_name(path.name + suffix)
            if part.exists():
                part.rename(aside.with_name(aside.name + suffix))
        if path.name == schema.QUEUE_DB:
            schema.create(str(path))
        else:
            schema.make(str(path), DLQ_CREATE)
        saved = _save(aside, path)
    finally:
        os.close(gate)
    sentence = (
        f"{path.name} was damaged on {time.strftime('%Y-%m-%d %H:%M')} and was set aside as {aside.name}; "
        f"{saved} rows could be read and were kept. Press «Enqueue all scenes» if something is missing."
    )
    log.error("%s", sentence)
    return sentence


def _gate(folder: Path) -> int:
    give_up = time.monotonic() + GATE_SECONDS
    while (gate := locks.taken(str(folder / schema.GATE))) is None:
        if time.monotonic() > give_up:
            raise schema.QueueUnavailable("the damaged queue is in use by a task button: stop that task in Stash")
        time.sleep(0.005)
    return gate


def _save(old: Path, new: Path) -> int:
    """Copies the rows that can be read, table by table."""
    source = sqlite3.connect(old, isolation_level=None)
    target = schema.connect(str(new), 10.0)
    saved = 0
    try:
        tables = target.execute(
            "SELECT name, sql LIKE '%WITHOUT ROWID%' FROM sqlite_schema WHERE type = 'table' "
            "AND name NOT LIKE 'sqlite_%' AND name != 'totals'"
        ).fetchall()
        for table, keyed in tables:
            columns = [row[1] for row in target.execute(f"PRAGMA table_info({table})")]
            insert = (
                f"INSERT OR IGNORE INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"
            )
            chosen = ", ".join(columns)
            rows = _keyed_rows(source, table, chosen) if keyed else _rows(source, table, chosen)
            target.execute("BEGIN IMMEDIATE")
            for count, row in enumerate(rows, 1):
                saved += target.execute(insert, row).rowcount
                if count % SAVE_ROWS == 0:
                    target.execute("COMMIT")
                    target.execute("BEGIN IMMEDIATE")
            target.execute("COMMIT")
    finally:
        source.close()
        target.close()
    return saved


def _rows(source: sqlite3.Connection, table: str, columns: str) -> Iterator[tuple[object, ...]]:
    """All readable rows; where a page can't be read, further on in leaps that double."""
    after, leap = -1, 1
    while leap <= LONGEST_LEAP:
        try:
            for rowid, *row in source.execute(
                f"SELECT rowid, {columns} FROM {table} WHERE rowid > ? ORDER BY rowid", (after,)
            ):
                after, leap = rowid, 1
                yield tuple(row)
        except sqlite3.DatabaseError:
            after, leap = after + leap, leap * 2
        else:
            return


def _keyed_rows(source: sqlite3.Connection, table: str, columns: str) -> Iterator[tuple[object, ...]]:
    """Readable rows of a table without rowids, from both ends: the same row may come twice."""
    for order in ("ASC", "DESC"):
        try:
            yield from source.execute(f"SELECT {columns} FROM {table} ORDER BY 1 {order}")
        except sqlite3.DatabaseError:
            continue
        else:
            return
