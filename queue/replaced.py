"""When queue.db or dlq.db is removed or replaced under a live worker, what waits goes on in the new file.

The former file is still open in the worker. ``keep`` copies it into the data folder; when the new files are open,
``take_over`` adds the copy's rows to them. After a kill in between, the next worker does it.

Only for the holder of the worker lock.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path

from stash_courier.queue import codec, repair
from stash_courier.queue.dead_letters import statements as dlq_statements
from stash_courier.queue.dead_letters.dlq import DeadLetterQueue
from stash_courier.queue.deliveries.scene_queue import SceneQueue
from stash_courier.queue.inbox import files, schema, store
from stash_courier.queue.transactions import transaction

FORMER, DRAFT = ".former-", ".draft"  # added to the name of a copy, and to that of one that isn't complete
# What identifies a row of a table, and when the former file's row replaces that of the new file.
NEWER: Mapping[str, tuple[str, str]] = {
    schema.DELIVERIES: ("destination, scene_id", f"excluded.seq >= {schema.DELIVERIES}.seq"),
    "sent": ("destination, scene_id", "excluded.seq >= sent.seq"),
    "receipts": ("destination, scene_id", "excluded.seq >= receipts.seq"),
    "delivered": ("destination, bucket", "excluded.scenes > delivered.scenes"),
    "destinations": ("destination", "true"),
    "control": ("key", "true"),
}
WITHOUT_ROWID = ("sent", "delivered")

log = logging.getLogger(__name__)


def keep(conn: sqlite3.Connection, path: Path) -> None:
    """Copies an open database that is no longer the file at its path, durably, to a file beside it.

    Its logs are removed if they are still at the path, since SQLite would apply them to the new file.

    Raises:
        sqlite3.Error, OSError: there is no copy, for example because the disk is full.
    """
    copy = path.with_name(f"{path.name}{FORMER}{time.time_ns()}")
    draft = copy.with_name(copy.name + DRAFT)
    with closing(store.connect(str(draft), 0.0)) as target:
        draft.chmod(0o600)
        conn.backup(target)
    draft.rename(copy)
    files.sync_folder(str(path.parent))
    for suffix in ("-wal", "-shm"):
        part = path.with_name(path.name + suffix)
        if _is_open_here(part):
            part.unlink(missing_ok=True)


def _is_open_here(path: Path) -> bool:
    """Whether this process has the file at a path open."""
    found = files.identity(path)
    for name in os.listdir("/dev/fd"):  # noqa: PTH208  # the names are numbers
        try:
            if files.identity(int(name)) == found:
                return True
        except OSError:
            pass  # it was open for listdir
    return False


def take_over(queue: SceneQueue, dlq: DeadLetterQueue) -> None:
    """Adds the rows of all copies that ``keep`` made to the open files, and deletes the copies.

    Raises:
        sqlite3.Error, OSError: a file can't be read or written; the copies are still there.
    """
    for draft in queue.folder.glob(f"*{FORMER}*{DRAFT}*"):
        draft.unlink()
    for copy in sorted(queue.folder.glob(f"{files.QUEUE_DB}{FORMER}*")):
        _take(copy, queue.connection, _take_queue)
    for copy in sorted(queue.folder.glob(f"{files.DLQ_DB}{FORMER}*")):
        _take(copy, dlq.opened(), _take_dead_letters)


def _take(
    copy: Path, target: sqlite3.Connection, take: Callable[[sqlite3.Connection, sqlite3.Connection], int]
) -> None:
    if copy.name.endswith(("-wal", "-shm")):
        return  # these go with their copy
    sound = repair.is_sound(copy)
    with closing(repair.readonly(copy)) as source:
        source.text_factory = codec.exact
        with transaction(target):
            rows = take(source, target)
    log.warning("%s: rows taken over: %d", copy.name.partition(FORMER)[0], rows)
    for part in (copy.with_name(copy.name + "-wal"), copy.with_name(copy.name + "-shm")):
        part.unlink(missing_ok=True)
    if sound:
        copy.unlink()
    else:  # for a person, like any damaged file
        copy.rename(copy.with_name(copy.name.replace(FORMER, repair.DAMAGED)))


def _take_queue(source: sqlite3.Connection, target: sqlite3.Connection) -> int:
    """Adds what queue.db held. New events get a seq above those of both files, and above the time."""
    repair.raise_ids(source, target)
    target.execute(repair.RAISE_ID, (time.time_ns() // 1_000, schema.INBOX))
    taken = 0
    for seq, data, at in repair.readable(source, schema.INBOX, "_id, data, timestamp"):
        known = target.execute(f"SELECT data FROM {schema.INBOX} WHERE _id = ?", (seq,)).fetchone()
        if known != (data,):
            taken += target.execute(schema.INSERT, (data, at)).rowcount
    for table, (key, newer) in NEWER.items():
        names = repair.columns(source, target, table)
        names.pop("_id", None)
        changes = ", ".join(f"{name} = excluded.{name}" for name in names)
        statement = f"INSERT {repair.into(table, names)} ON CONFLICT ({key}) DO UPDATE SET {changes} WHERE {newer}"
        for row in repair.readable(source, table, ", ".join(names.values()), without_rowid=table in WITHOUT_ROWID):
            taken += target.execute(statement, row).rowcount
    return taken


def _take_dead_letters(source: sqlite3.Connection, target: sqlite3.Connection) -> int:
    """Adds dead letters. Of two of the same scene and destination the one that moved more often stays."""
    names = repair.columns(source, target, "dead_letters")
    insert = f"INSERT {repair.into('dead_letters', names)}"
    taken = 0
    for row in repair.readable(source, "dead_letters", ", ".join(names.values())):
        letter = dict(zip(names, row, strict=True))
        same = target.execute(dlq_statements.FIND_SAME, letter).fetchone()
        if same is not None:
            known, _, generation, *_ = same
            if generation > letter["generation"]:
                continue
            target.execute("DELETE FROM dead_letters WHERE id = ?", (known,))
        if target.execute("SELECT 1 FROM dead_letters WHERE id = ?", (letter["id"],)).fetchone():
            letter["id"] = None  # another one has it by now, so this one gets a new id
        taken += target.execute(insert, list(letter.values())).rowcount
    return taken
