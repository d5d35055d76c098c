"""Damaged database files: set aside, replaced, and what is readable in them saved.

Only for the holder of the worker lock, with nothing of ours open. A damaged file is never deleted.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import Any, Literal

from stash_courier.queue import codec, files, locks, schema, store
from stash_courier.queue.dlq_statements import CREATE as DLQ_CREATE

FILES = (files.QUEUE_DB, files.DLQ_DB)
# What stands between a file's name and the time at which it was set aside, before and after all that
# can be read in it was saved.
UNREAD, DAMAGED = ".unread-", ".damaged-"
GATE_SECONDS = 30.0  # hooks hold the gate for milliseconds, a task button for as long as it runs
SAVE_ROWS = 1000  # in one transaction
LONGEST_LEAP = 1 << 61  # rowids passed over at a time in search of the next readable row
_DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}

Row = tuple[Any, ...]

log = logging.getLogger(__name__)


def is_damage(error: sqlite3.Error) -> bool:
    """Whether an error says that the file itself is broken, not that it is locked or the disk is full."""
    code = getattr(error, "sqlite_errorcode", None)
    return type(error) is sqlite3.DatabaseError if code is None else code & 0xFF in _DAMAGE


def repair(folder: Path) -> str | None:
    """Checks both files, sets aside what is damaged and saves what can be read.

    Whatever a kill leaves of it, the next call carries on: see ``unfinished``.

    Args:
        folder: the data folder.

    Returns:
        A sentence for the owner; None if nothing was damaged.

    Raises:
        store.QueueUnavailable: a task button holds the files open.
        sqlite3.Error, OSError: they can't be replaced now, such as on a full disk.
    """
    said = []
    for name in FILES:
        path = folder / name
        damaged = path.exists() and not _sound(path)
        if damaged or _unread(path):
            gate = gate_alone(folder)
            try:
                if damaged:
                    _set_aside(path)
                said += [_save_all(path, unread) for unread in _unread(path)]
            finally:
                os.close(gate)
    return " ".join(said) or None


def unfinished(folder: Path) -> bool:
    """Whether a repair was killed before all that can be read was saved."""
    return any(_unread(folder / name) for name in FILES)


def _sound(path: Path) -> bool:
    try:
        with closing(_readonly(path)) as conn:
            known = conn.execute("PRAGMA user_version").fetchone()[0] != 0
            return bool(known and conn.execute("PRAGMA integrity_check(1)").fetchone()[0] == "ok")
    except sqlite3.DatabaseError as error:
        if is_damage(error):
            return False
        raise


def _readonly(path: Path) -> sqlite3.Connection:
    """Opens a file that may be damaged: whoever closes it otherwise plays its log into it."""
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=10.0, isolation_level=None)


def _set_aside(path: Path) -> None:
    """Renames the file and then its log; of a log that is left behind, ``store.make`` takes care."""
    unread = path.with_name(f"{path.name}{UNREAD}{time.strftime('%Y%m%d-%H%M%S')}-{time.time_ns() % 10**9:09}")
    path.rename(unread)
    _follow(path, "-wal", unread)
    path.with_name(path.name + "-shm").unlink(missing_ok=True)
    files.sync_folder(str(path.parent))


def _unread(path: Path) -> list[Path]:
    """Files that were set aside and not read to the end, newest first: a log left behind is the newest's."""
    found = path.parent.glob(f"{path.name}{UNREAD}*")
    return sorted((file for file in found if not file.name.endswith(("-wal", "-shm"))), reverse=True)


def _follow(path: Path, suffix: str, unread: Path) -> None:
    """A file's log goes where the file went, if it isn't there yet."""
    log_file, target = path.with_name(path.name + suffix), unread.with_name(unread.name + "-wal")
    if log_file.exists() and not target.exists():
        log_file.rename(target)


def _save_all(path: Path, unread: Path) -> str:
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
    for suffix in ("-wal", ""):  # the file last, for its name says that it was read
        part, target = (file.with_name(file.name + suffix) for file in (unread, aside))
        if target.exists():
            part.unlink(missing_ok=True)  # the empty log that reading it once more has made
        elif part.exists():
            part.rename(target)
    sentence = (
        f"{path.name} was damaged on {time.strftime('%Y-%m-%d %H:%M')} and was set aside as {aside.name}; "
        f"{saved} rows could be read and were kept. Press «Send all scenes» if something is missing."
    )
    log.error("%s", sentence)
    return sentence


def gate_alone(folder: Path) -> int:
    """Waits until nobody has queue.db open, and keeps it so until the descriptor returned is closed.

    Raises:
        store.QueueUnavailable: a task button doesn't let go of it.
    """
    give_up = time.monotonic() + GATE_SECONDS
    while (gate := locks.taken(str(folder / files.GATE))) is None:
        if time.monotonic() > give_up:
            raise store.QueueUnavailable(
                "the queue must be mended or updated and a task button uses it: stop that task in Stash"
            )
        time.sleep(0.005)
    return gate


def _save(old: Path, new: Path) -> int:
    """Copies the rows that can be read, table by table; those that are there already stay as they are."""
    source = _readonly(old)
    source.text_factory = codec.exact
    target = store.connect(str(new), 10.0)
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
                saved += target.execute(insert, [_bindable(value) for value in row]).rowcount
                if count % SAVE_ROWS == 0:
                    target.execute("COMMIT")
                    target.execute("BEGIN IMMEDIATE")
            target.execute("COMMIT")
        _count_on(source, target)
    finally:
        source.close()
        target.close()
    return saved


def _count_on(source: sqlite3.Connection, target: sqlite3.Connection) -> None:
    """Ids go on where they were, even if the clock was set back: a ``seq`` must never run backwards."""
    raising = "UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = ?"
    for name, seq in _until_damage(source, "SELECT name, seq FROM sqlite_sequence"):
        if isinstance(seq, int):
            target.execute(raising, (seq, name))
    if target.execute("SELECT 1 FROM sqlite_schema WHERE name = ?", (schema.INBOX,)).fetchone():
        for table in (schema.DELIVERIES, "sent"):
            highest = target.execute(f"SELECT coalesce(max(seq), 0) FROM {table}").fetchone()[0]
            target.execute(raising, (highest, schema.INBOX))


def _bindable(value: object) -> object:
    """The value, or a damaged text's bytes."""
    if not isinstance(value, str):
        return value
    raw = value.encode("utf-8", "surrogateescape")
    return value if raw == value.encode("utf-8", "replace") else raw


def _rows(source: sqlite3.Connection, table: str, columns: str) -> Generator[Row, None, None]:
    """All rows that can be read; the same one may come twice."""
    if (yield from _walk(source, table, columns, -1, 1)):
        return
    # Where the first and the last page are damaged, only somewhere in between is a way in.
    for (seq,) in list(_until_damage(source, "SELECT seq FROM sqlite_sequence WHERE name = ?", table)):
        yield from _walk(source, table, columns, seq + 1, -1)


def _walk(
    source: sqlite3.Connection, table: str, columns: str, at: int, sign: Literal[1, -1]
) -> Generator[Row, None, bool]:
    """Rows beyond a rowid, upwards or downwards. Over what can't be read it leaps further and further,
    and from where it lands it also reads back to the damage.

    Returns:
        Whether it met no damage.
    """
    select = f"SELECT rowid, {columns} FROM {table} WHERE rowid"
    onward, back = ("> ? ORDER BY rowid", "<= ? AND rowid > ? ORDER BY rowid DESC")
    if sign < 0:
        onward, back = ("< ? ORDER BY rowid DESC", ">= ? AND rowid < ? ORDER BY rowid")
    leap, sound = 0, True
    while leap <= LONGEST_LEAP:
        probe = at + sign * leap
        if leap:
            for _, *row in _until_damage(source, f"{select} {back}", probe, at):
                yield tuple(row)
        rows = _until_damage(source, f"{select} {onward}", probe)
        leap = max(leap * 2, 1)
        while True:
            try:
                at, *row = next(rows)
            except StopIteration as end:
                if end.value:
                    return sound
                sound = False
                break
            leap = 1
            yield tuple(row)
    return False


def _keyed_rows(source: sqlite3.Connection, table: str, columns: str) -> Generator[Row, None, None]:
    """Readable rows of a table without rowids, from both ends: the same row may come twice."""
    for order in ("ASC", "DESC"):
        if (yield from _until_damage(source, f"SELECT {columns} FROM {table} ORDER BY 1 {order}")):
            return


def _until_damage(source: sqlite3.Connection, query: str, *values: object) -> Generator[Row, None, bool]:
    try:
        yield from source.execute(query, values)
    except sqlite3.DatabaseError:
        return False
    return True
