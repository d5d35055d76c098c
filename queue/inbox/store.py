"""Opens queue.db, creates it, and puts an event into its inbox. On the hook's path.

Every millisecond spent here delays every edit in Stash.
"""

from __future__ import annotations

import os
import time

from stash_courier.queue.inbox import files, lean, locks, schema

TYPE_CHECKING = False  # importing typing is expensive for a hook
if TYPE_CHECKING:
    import sqlite3
else:
    sqlite3 = lean.sqlite()

# Bytes of a database's path on POSIX: SQLite's MAX_PATHNAME of 512 without its longest suffix and that of make().
LONGEST_PATH = 500
PUT_SECONDS = 0.25  # how long a hook, and Stash with it, waits for another's lock
LOCK_SECONDS = 0.0005  # between two looks at whether another process has released the write lock
STRAY_WAL = "-wal.stray"  # suffix of the write-ahead log of a database that was being set aside


class QueueUnavailable(Exception):
    """The queue can't take an event now; it goes to the spool folder instead."""


class BeingReplaced(QueueUnavailable):
    """It is being made, repaired or upgraded at this moment."""


def encode(event: dict[str, object]) -> bytes:
    """An event as persist-queue's JSON serializer writes it: ASCII, surrogates escaped."""
    return lean.dumps(event).encode("ascii")


def connect(path: str, busy_seconds: float, version: int | None = None) -> sqlite3.Connection:
    """Opens a database so that each statement is durable when it returns.

    It never checkpoints by itself: a hook must not spend time on pages that others wrote.

    Args:
        path: the file. It is created empty if it is missing, so hold the gate.
        busy_seconds: how long to wait for another's lock.
        version: the schema version that the file must have; None for any.

    Raises:
        QueueUnavailable: it has another schema version, or its path is too long.
        sqlite3.Error: the file can't be opened or isn't a database of ours.
    """
    try:
        conn = sqlite3.connect(path, timeout=busy_seconds, isolation_level=None)
    except sqlite3.OperationalError as error:
        if said := too_long(path):
            raise QueueUnavailable(said) from error
        raise
    try:
        conn.execute("PRAGMA synchronous = FULL")
        conn.execute("PRAGMA wal_autocheckpoint = 0")
        if version is not None:
            _check(conn, path, version)
    except BaseException:
        conn.close()
        raise
    return conn


def too_long(path: str) -> str:
    """Why SQLite can't make a file with so long a path, and what to do, without a full stop; "" if it can."""
    length = len(os.fsencode(path.removesuffix(".new")))
    if os.name == "nt" or length <= LONGEST_PATH:
        return ""
    return (
        f"its path has {length} bytes, and SQLite needs one of at most {LONGEST_PATH}: use a shorter data "
        f"folder (STASH_COURIER_DATA) and move the files of this one there, {files.SPOOL}/ too. Nothing is lost: "
        f"changes are kept in {files.SPOOL}/"
    )


def make(path: str, script: str) -> None:
    """Makes or replaces a database in WAL mode that can shrink. A kill leaves a complete file or none.

    Only with the gate or the worker lock held. ``script`` is the SQL that fills the file, in one transaction.
    """
    draft = path + ".new"
    for leftover in (draft, draft + "-wal", draft + "-shm"):
        if os.path.exists(leftover):
            os.remove(leftover)
    conn = connect(draft, 0.0)
    try:
        os.chmod(draft, 0o600)
        conn.execute("PRAGMA auto_vacuum = INCREMENTAL")
        conn.execute("PRAGMA journal_mode = WAL")
        conn.executescript(f"BEGIN; {script}; COMMIT")
    finally:
        conn.close()
    # These belong to a file that was set aside or removed; SQLite would apply them to the new one. See repair.py.
    if os.path.exists(path + "-wal"):
        os.replace(path + "-wal", path + STRAY_WAL)
    if os.path.exists(path + "-shm"):
        os.remove(path + "-shm")
    os.rename(draft, path)
    files.sync_folder(os.path.dirname(path))


def create(path: str) -> None:
    """Makes a new queue.db. Only with the gate held exclusively.

    ``seq`` starts at the unix time in microseconds, so that it never runs backwards when a damaged file is
    replaced: no queue takes a million events a second. JavaScript's numbers hold it exactly until the year 2255.
    """
    first_seq = f"INSERT INTO sqlite_sequence (name, seq) VALUES ('{schema.INBOX}', {time.time_ns() // 1_000})"
    make(path, f"{schema.CREATE} {first_seq}; PRAGMA user_version = {schema.VERSION}")


def put(folder: str, data: bytes, at: float) -> int:
    """Puts an event from ``encode`` into the inbox, durably, creating queue.db if it is missing. Returns its seq.

    ``at`` is wall time.

    Raises:
        QueueUnavailable: the queue is locked, damaged, being repaired, or of another version.
    """
    path = os.path.join(folder, files.QUEUE_DB)
    try:
        gate = _through_gate(folder, path, PUT_SECONDS, patient=False)
        try:
            conn = connect(path, PUT_SECONDS, schema.VERSION)
            try:
                return _insert(conn, data, at)
            finally:
                conn.close()
        finally:
            os.close(gate)
    except sqlite3.Error as error:
        raise QueueUnavailable(f"{files.QUEUE_DB}: {error}") from error


def _insert(conn: sqlite3.Connection, data: bytes, at: float) -> int:
    """Inserts an event as soon as the write lock is free, and returns its seq.

    SQLite's own waiting sleeps for up to 100 ms at a time, and a worker that sends much holds the lock often and
    briefly: a hook would miss most of the moments between.
    """
    conn.execute("PRAGMA busy_timeout = 0")
    give_up = time.monotonic() + PUT_SECONDS
    while True:
        try:
            return int(conn.execute(schema.INSERT, (data, at)).lastrowid or 0)
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > give_up:
                raise
        time.sleep(LOCK_SECONDS)


def open_queue(folder: str, busy_seconds: float, *, patient: bool = False) -> tuple[sqlite3.Connection, int]:
    """Opens queue.db, creating it if it is missing.

    Args:
        folder: the data folder; it exists.
        busy_seconds: how long to wait for another's lock.
        patient: waits for the gate too. A hook doesn't, since a repair can take long.

    Returns:
        The connection, and the descriptor that shares the gate, to be closed last: the file must not be replaced
        under an open connection.

    Raises:
        QueueUnavailable: it is being created or repaired, or has another schema version.
        sqlite3.Error: it is damaged or locked.
    """
    path = os.path.join(folder, files.QUEUE_DB)
    gate = _through_gate(folder, path, busy_seconds, patient)
    try:
        return connect(path, busy_seconds, schema.VERSION), gate
    except BaseException:
        os.close(gate)
        raise


def _check(conn: sqlite3.Connection, path: str, version: int) -> None:
    found = conn.execute("PRAGMA user_version").fetchone()[0]
    if found == 0:
        raise sqlite3.DatabaseError(f"{path} is no database of Stash Courier")
    if found != version:
        close_untouched(conn, path)
        raise QueueUnavailable(other_version(path, found, version))


def other_version(path: str, found: int, known: int) -> str:
    """Why a database of another schema version can't be used, and what to do. Without a full stop at the end."""
    if found < known:
        return (
            f"{path} has schema version {found}, of an earlier plugin: the worker upgrades it to version {known} "
            "when it starts. Nothing is lost: until then changes are kept in the spool folder"
        )
    return (
        f"{path} has schema version {found}, and this plugin knows only versions up to {known}: install the newer "
        "plugin again. The file was not changed, and new changes are kept in the spool folder"
    )


def close_untouched(conn: sqlite3.Connection, path: str) -> None:
    """Closes a database without a checkpoint, which SQLite otherwise makes when the last connection closes."""
    from pathlib import Path  # only here: it is expensive for a hook

    other = None
    try:
        if os.path.exists(path + "-wal") and os.path.getsize(path + "-wal"):
            other = sqlite3.connect(f"{Path(path).absolute().as_uri()}?mode=ro", uri=True)
            other.execute("PRAGMA user_version").fetchone()  # from now on this connection is open too
    except sqlite3.Error:
        pass  # the file is locked or damaged, so there is no checkpoint anyway
    finally:
        conn.close()
        if other is not None:
            other.close()


def _through_gate(folder: str, path: str, wait_seconds: float, patient: bool) -> int:
    """The descriptor that shares the gate of a queue.db that exists, which is made if it is missing."""
    gate_path = os.path.join(folder, files.GATE)
    give_up = time.monotonic() + wait_seconds
    while True:
        missing = not os.path.exists(path)
        patient = patient or missing  # creating the file takes milliseconds
        gate = locks.taken(gate_path, shared=not missing)
        if gate is not None:
            exists = os.path.exists(path)
            if exists and not missing:
                return gate
            try:
                if not exists and missing:
                    create(path)
            finally:
                os.close(gate)
            continue  # the gate was exclusive and must be shared, or the file was set aside in between
        if not patient or time.monotonic() > give_up:
            raise BeingReplaced(f"{files.QUEUE_DB} is being made or repaired")
        time.sleep(0.002)
