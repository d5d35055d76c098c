"""Replaces damaged database files and copies the rows that can be read to the new file.

A damaged file is set aside, never deleted. Only for the holder of the worker lock, with nothing of ours open.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

from stash_courier.queue.dead_letters.statements import CREATE as DLQ_CREATE
from stash_courier.queue.inbox import files, locks, schema, store
from stash_courier.queue.transactions import BUSY_SECONDS, transaction

FILES = (files.QUEUE_DB, files.DLQ_DB)
# Added to the name of a file that is set aside: until all readable rows were saved, and afterwards.
UNREAD, DAMAGED = ".unread-", ".damaged-"
GATE_SECONDS = 30.0  # hooks hold the gate for milliseconds, a task button for as long as it runs
# A seq must never run backwards, even if the clock was set back and no event waits.
RAISE_SEQ = f"""
UPDATE sqlite_sequence SET seq = max(seq, coalesce((SELECT max(seq) FROM sent), 0),
    coalesce((SELECT max(seq) FROM {schema.DELIVERIES}), 0)) WHERE name = '{schema.INBOX}'"""
_DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}

log = logging.getLogger(__name__)


def is_damage(error: sqlite3.Error) -> bool:
    """Whether an error means that the file itself is damaged, and not that it is locked or the disk is full."""
    code = getattr(error, "sqlite_errorcode", None)
    return type(error) is sqlite3.DatabaseError if code is None else code & 0xFF in _DAMAGE


def repair(folder: Path, *, after_damage: bool) -> str | None:
    """Checks both files, sets damaged ones aside and saves what can be read.

    If it is killed, the next call continues. Returns sentences for the owner; None if nothing was damaged.

    Args:
        after_damage: reading or writing has met damage. Otherwise only a file that wasn't closed cleanly is
            checked, which shows in what is left of its write-ahead log, and the check is quick.

    Raises:
        store.QueueUnavailable: a task button holds the files open.
        sqlite3.Error, OSError: they can't be replaced now, for example because the disk is full.
    """
    sentences = []
    for name in FILES:
        path = folder / name
        suspicious = path.exists() and (after_damage or _was_left_open(path))
        damaged = suspicious and not is_sound(path, quick=not after_damage)
        if damaged or _unread(path):
            gate = gate_alone(folder)
            try:
                if damaged:
                    _set_aside(path)
                sentences += [_save_all(path, unread) for unread in _unread(path)]
            finally:
                os.close(gate)
    return " ".join(sentences) or None


def _was_left_open(path: Path) -> bool:
    """Whether the last process that had a database open didn't close it: that removes the write-ahead log."""
    log_file = path.with_name(path.name + "-wal")
    return log_file.exists() and log_file.stat().st_size > 0


def is_sound(path: Path, *, quick: bool = False) -> bool:
    """Whether a file is a database of ours without damage; a quick check doesn't compare indexes with tables."""
    check = "quick_check" if quick else "integrity_check"
    try:
        with closing(readonly(path)) as conn:
            ours = conn.execute("PRAGMA user_version").fetchone()[0] != 0
            return bool(ours and conn.execute(f"PRAGMA {check}(1)").fetchone()[0] == "ok")
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

    Raises:
        store.QueueUnavailable: a task button keeps it open.
    """
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
        source.text_factory = _utf8_or_bytes
        tables = target.execute(
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' AND name != 'totals'"
        ).fetchall()
        saved = 0
        for (table,) in tables:
            with transaction(target):
                saved += _save_table(source, target, table)
        if new.name == files.QUEUE_DB:
            target.execute(RAISE_SEQ)
    return saved


def _save_table(source: sqlite3.Connection, target: sqlite3.Connection, table: str) -> int:
    """Copies rows from the table's beginning up to the first damage, and from its end back to the last."""
    names = [row[1] for row in target.execute(f"PRAGMA table_info({table})")]
    columns = ", ".join(names)
    insert = f"INSERT OR IGNORE INTO {table} ({columns}) VALUES ({', '.join('?' * len(names))})"
    saved = 0
    for order in ("ASC", "DESC"):
        for row in _readable(source, f"SELECT {columns} FROM {table} ORDER BY 1 {order}"):
            saved += target.execute(insert, row).rowcount
    return saved


def _readable(source: sqlite3.Connection, query: str) -> Iterator[tuple[object, ...]]:
    """Rows up to the first one that can't be read."""
    with suppress(sqlite3.DatabaseError):
        yield from source.execute(query)


def _utf8_or_bytes(raw: bytes) -> str | bytes:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw
