"""Replaces damaged database files and copies every readable row to the new file.

A damaged file is set aside, never deleted. Only for the holder of the worker lock, with nothing of ours open.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from collections.abc import Collection, Generator
from contextlib import closing
from pathlib import Path
from typing import Any, Literal

from stash_courier.queue import codec
from stash_courier.queue.dead_letters import backfill as dlq_backfill
from stash_courier.queue.dead_letters.statements import CREATE as DLQ_CREATE
from stash_courier.queue.inbox import files, locks, schema, store
from stash_courier.queue.transactions import BUSY_SECONDS

FILES = (files.QUEUE_DB, files.DLQ_DB)
# Added to the name of a file that is set aside: until all readable rows were saved, and afterwards.
UNREAD, DAMAGED = ".unread-", ".damaged-"
GATE_SECONDS = 30.0  # hooks hold the gate for milliseconds, a task button for as long as it runs
SAVE_ROWS = 1000  # in one transaction
LONGEST_LEAP = 1 << 61  # rowids skipped at a time in search of the next readable row
# Names of columns before queue.db's version 3.
OLD_NAMES = {"counted_attempts": "attempts", "attempts": "tries", "not_found": "absent"}
RAISE_ID = "UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = ?"
_DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}

Row = tuple[Any, ...]
log = logging.getLogger(__name__)


def is_damage(error: sqlite3.Error) -> bool:
    """Whether an error means that the file itself is damaged, and not that it is locked or the disk is full."""
    code = getattr(error, "sqlite_errorcode", None)
    return type(error) is sqlite3.DatabaseError if code is None else code & 0xFF in _DAMAGE


def repair(folder: Path) -> str | None:
    """Checks both files, sets damaged ones aside and saves what can be read.

    If it is killed, the next call continues. Returns sentences for the owner; None if nothing was damaged.

    Raises:
        store.QueueUnavailable: a task button holds the files open.
        sqlite3.Error, OSError: they can't be replaced now, for example because the disk is full.
    """
    sentences = []
    for name in FILES:
        path = folder / name
        damaged = path.exists() and not is_sound(path)
        if damaged or _unread(path):
            gate = gate_alone(folder)
            try:
                if damaged:
                    _set_aside(path)
                sentences += [_save_all(path, unread) for unread in _unread(path)]
            finally:
                os.close(gate)
    return " ".join(sentences) or None


def is_sound(path: Path) -> bool:
    """Whether a file is a database of ours without damage."""
    try:
        with closing(readonly(path)) as conn:
            known = conn.execute("PRAGMA user_version").fetchone()[0] != 0
            return bool(known and conn.execute("PRAGMA integrity_check(1)").fetchone()[0] == "ok")
    except sqlite3.DatabaseError as error:
        if is_damage(error):
            return False
        raise


def readonly(path: Path) -> sqlite3.Connection:
    """Opens a file that may be damaged. Read-only, or closing it would checkpoint its log into it."""
    uri = f"{path.absolute().as_uri()}?mode=ro"
    return sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None)


def _set_aside(path: Path) -> None:
    """Renames the file and then its log. If a kill leaves the log behind, ``store.make`` moves it."""
    unread = path.with_name(f"{path.name}{UNREAD}{time.strftime('%Y%m%d-%H%M%S')}-{time.time_ns() % 10**9:09}")
    path.rename(unread)
    _follow(path, "-wal", unread)
    path.with_name(path.name + "-shm").unlink(missing_ok=True)
    files.sync_folder(str(path.parent))


def _unread(path: Path) -> list[Path]:
    """Files that were set aside and not read to the end, newest first: a log left behind belongs to the newest."""
    found = path.parent.glob(f"{path.name}{UNREAD}*")
    return sorted((file for file in found if not file.name.endswith(("-wal", "-shm"))), reverse=True)


def _follow(path: Path, suffix: str, unread: Path) -> None:
    """Moves a log to the file it belongs to, unless that has one already."""
    log_file, target = path.with_name(path.name + suffix), unread.with_name(unread.name + "-wal")
    if log_file.exists() and not target.exists():
        log_file.rename(target)


def _save_all(path: Path, unread: Path) -> str:
    """Saves what can be read in a file that was set aside. Returns a sentence for the owner."""
    _follow(path, store.STRAY_WAL, unread)
    if not path.exists():
        if path.name == files.QUEUE_DB:
            store.create(str(path))
        else:
            store.make(str(path), DLQ_CREATE)
        _follow(path, store.STRAY_WAL, unread)
    saved = _save(unread, path)
    unread.with_name(unread.name + "-shm").unlink(missing_ok=True)
    aside = unread.with_name(unread.name.replace(UNREAD, DAMAGED))
    for suffix in ("-wal", ""):  # the file last, since its name tells that it was read
        part, target = (file.with_name(file.name + suffix) for file in (unread, aside))
        if target.exists():
            part.unlink(missing_ok=True)  # an empty log, made by reading the file again
        elif part.exists():
            part.rename(target)
    sentence = (
        f"{path.name} was damaged on {time.strftime('%Y-%m-%d %H:%M')} and was set aside as {aside.name}. "
        f'Rows saved: {saved}. If something is missing, press "Send all scenes".'
    )
    log.error("%s", sentence)
    return sentence


def gate_alone(folder: Path) -> int:
    """Waits until queue.db is closed everywhere and takes the gate exclusively. Returns its descriptor.

    Until ``store.admit`` admits a file again, no other process opens one while the worker lock is held.

    Raises:
        store.QueueUnavailable: a task button keeps it open.
    """
    store.admit(str(folder), store.NO_FILE)  # or hooks that overlap would keep the gate shared
    give_up = time.monotonic() + GATE_SECONDS
    while (gate := locks.taken(str(folder / files.GATE))) is None:
        if time.monotonic() > give_up:
            raise store.QueueUnavailable(
                "the queue must be repaired or upgraded, but a task is using it: stop that task in Stash"
            )
        time.sleep(0.005)
    return gate


def _save(old: Path, new: Path) -> int:
    """Copies the readable rows of all tables. Rows that are there already stay as they are. Returns how many."""
    with closing(readonly(old)) as source, closing(store.connect(str(new), BUSY_SECONDS)) as target:
        source.text_factory = codec.exact
        tables = target.execute(
            "SELECT name, sql LIKE '%WITHOUT ROWID%' FROM sqlite_schema WHERE type = 'table' "
            "AND name NOT LIKE 'sqlite_%' AND name != 'totals'"
        ).fetchall()
        saved = sum(_save_table(source, target, table, without_rowid) for table, without_rowid in tables)
        if new.name == files.DLQ_DB:  # those of an earlier version have no group and can't be searched
            dlq_backfill.register(target)
            target.executescript(f"BEGIN IMMEDIATE; {dlq_backfill.BACKFILL} COMMIT")
        raise_ids(source, target)
    return saved


def _save_table(source: sqlite3.Connection, target: sqlite3.Connection, table: str, without_rowid: bool) -> int:
    names = columns(source, target, table)
    insert = f"INSERT OR IGNORE {into(table, names)}"
    rows = readable(source, table, ", ".join(names.values()), without_rowid=without_rowid)
    saved = 0
    target.execute("BEGIN IMMEDIATE")
    for count, row in enumerate(rows, 1):
        saved += target.execute(insert, row).rowcount
        if count % SAVE_ROWS == 0:
            target.execute("COMMIT")
            target.execute("BEGIN IMMEDIATE")
    target.execute("COMMIT")
    return saved


def into(table: str, names: Collection[str]) -> str:
    """The part of an INSERT that names a table and the columns of which values are given."""
    return f"INTO {table} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"


def columns(source: sqlite3.Connection, target: sqlite3.Connection, table: str) -> dict[str, str]:
    """The columns to fill, each with its name in the source, which may have an earlier schema version."""
    info = f"PRAGMA table_info({table})"
    names = {row[1]: row[1] for row in target.execute(info)}
    there = {row[1] for row in _until_damage(source, info)}
    if OLD_NAMES.keys() <= names.keys() and "tries" in there:
        names |= OLD_NAMES
    return {name: old for name, old in names.items() if old in there or not there}


def raise_ids(source: sqlite3.Connection, target: sqlite3.Connection) -> None:
    """Continues the ids where they were, even if the clock was set back: a ``seq`` must never run backwards."""
    for name, seq in _until_damage(source, "SELECT name, seq FROM sqlite_sequence"):
        if isinstance(seq, int):
            target.execute(RAISE_ID, (seq, name))
    if target.execute("SELECT 1 FROM sqlite_schema WHERE name = ?", (schema.INBOX,)).fetchone():
        for table in (schema.DELIVERIES, "sent"):
            highest = target.execute(f"SELECT coalesce(max(seq), 0) FROM {table}").fetchone()[0]
            target.execute(RAISE_ID, (highest, schema.INBOX))


def readable(
    source: sqlite3.Connection, table: str, selected: str, *, without_rowid: bool = False
) -> Generator[Row, None, None]:
    """The readable rows of a table as they can be inserted elsewhere; the same row may come twice.

    The source's ``text_factory`` is ``codec.exact``.
    """
    rows = _keyed_rows(source, table, selected) if without_rowid else _rows(source, table, selected)
    for row in rows:
        yield tuple(_bindable(value) for value in row)


def _bindable(value: object) -> object:
    """The value; the bytes of a text that isn't UTF-8."""
    if not isinstance(value, str):
        return value
    raw = value.encode("utf-8", "surrogateescape")
    return value if raw == value.encode("utf-8", "replace") else raw


def _rows(source: sqlite3.Connection, table: str, columns: str) -> Generator[Row, None, None]:
    """All readable rows; the same row may come twice."""
    if (yield from _walk(source, table, columns, -1, 1)):
        return
    # If the first and the last page are damaged, the search needs a start between them.
    for (seq,) in list(_until_damage(source, "SELECT seq FROM sqlite_sequence WHERE name = ?", table)):
        yield from _walk(source, table, columns, seq + 1, -1)


def _walk(
    source: sqlite3.Connection, table: str, columns: str, start: int, direction: Literal[1, -1]
) -> Generator[Row, None, bool]:
    """Readable rows beyond a rowid, upwards or downwards.

    At damage it leaps, twice as far each time, until it finds a readable row. From where it lands it also reads
    backwards, to get the rows between there and the damage. Returns whether it met no damage.
    """
    select = f"SELECT rowid, {columns} FROM {table} WHERE rowid"
    onward, backward = f"{select} > ? ORDER BY rowid", f"{select} <= ? AND rowid > ? ORDER BY rowid DESC"
    if direction < 0:
        onward, backward = f"{select} < ? ORDER BY rowid DESC", f"{select} >= ? AND rowid < ? ORDER BY rowid"
    reached, leap, sound = start, 0, True
    while leap <= LONGEST_LEAP:
        landing = reached + direction * leap
        if leap:
            yield from _stretch(source, backward, landing, reached)
        last, complete = yield from _stretch(source, onward, landing)
        if complete:
            return sound
        sound = False
        if last is None:
            leap = max(2 * leap, 1)
        else:
            reached, leap = last, 1
    return False


def _stretch(
    source: sqlite3.Connection, query: str, *values: int
) -> Generator[Row, None, tuple[int | None, bool]]:
    """Rows up to the first damage, without rowids. Returns the last rowid, and whether there was no damage."""
    last = None
    try:
        for last, *row in source.execute(query, values):  # noqa: B007
            yield tuple(row)
    except sqlite3.DatabaseError:
        return last, False
    return last, True


def _keyed_rows(source: sqlite3.Connection, table: str, columns: str) -> Generator[Row, None, None]:
    """Readable rows of a table without rowids, from both ends; the same row may come twice."""
    for order in ("ASC", "DESC"):
        if (yield from _until_damage(source, f"SELECT {columns} FROM {table} ORDER BY 1 {order}")):
            return


def _until_damage(source: sqlite3.Connection, query: str, *values: object) -> Generator[Row, None, bool]:
    """Rows up to the first damage. Returns whether there was none."""
    try:
        yield from source.execute(query, values)
    except sqlite3.DatabaseError:
        return False
    return True
