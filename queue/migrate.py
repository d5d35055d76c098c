"""Databases of earlier schema versions, brought up to this plugin's in place; nothing that it needs otherwise.

A step leads from one version to the next: a named SQL text that runs in one transaction together with the
version it leads to, so a kill or a power cut leaves a file of the one version or of the other. Meanwhile
the gate is held alone: hooks keep their events in the spool. A step never changes once it was released.
Only for the holder of the worker lock, with nothing of ours open. Nothing on the hook's path imports this.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

from stash_courier.queue import files, repair, store

BUSY_SECONDS = 10.0

log = logging.getLogger(__name__)

# «Show status» and «Deliver now» counted what waits row by row; the index has all that they say. Of the suspects
# the one that was blamed least is next.
QUEUE_2_INDEXES = """
DROP INDEX IF EXISTS deliveries_due;
CREATE INDEX deliveries_due ON ack_queue_deliveries (destination, priority, due, timestamp, tries, status)
    WHERE status < 2;
DROP INDEX IF EXISTS deliveries_suspect;
CREATE INDEX deliveries_suspect ON ack_queue_deliveries (destination, deaths, due)
    WHERE suspect = 1 AND status < 2;
"""

# «Review dead letters» read every resolved dead letter on its way to the latest open one.
DLQ_2_OPEN = """
DROP INDEX IF EXISTS dead_letters_failed_at;
CREATE INDEX dead_letters_failed_at ON dead_letters (failed_at, state, reviewed_at);
"""

# The columns get the names that the code uses. The ledger keeps which cover an item has.
QUEUE_3_NAMES = """
ALTER TABLE ack_queue_deliveries RENAME COLUMN attempts TO counted_attempts;
ALTER TABLE ack_queue_deliveries RENAME COLUMN tries TO attempts;
ALTER TABLE ack_queue_deliveries RENAME COLUMN absent TO not_found;
ALTER TABLE sent ADD COLUMN cover BLOB;
UPDATE control SET key = 'expedite' WHERE key = 'hurry';
"""

# In order; the first leads from version 1 to 2.
STEPS: Mapping[str, Sequence[str]] = {
    files.QUEUE_DB: (QUEUE_2_INDEXES, QUEUE_3_NAMES),
    files.DLQ_DB: (DLQ_2_OPEN,),
}


def migrate(folder: Path) -> None:
    """Brings both files to the versions that this plugin knows, if they are older.

    Args:
        folder: the data folder.

    Raises:
        store.QueueUnavailable: one is of a newer version, and then none is touched; or a task button holds
            the queue open.
        sqlite3.Error: one is damaged, locked, or has no room on the disk; it is of the version it had before.
    """
    versions = {name: _version(folder / name) for name in STEPS if (folder / name).exists()}
    for name, version in versions.items():
        if version > _newest(name):
            raise store.QueueUnavailable(store.other_version(str(folder / name), version, _newest(name)))
    older = [name for name, version in versions.items() if 0 < version < _newest(name)]
    if not older:
        return
    gate = repair.gate_alone(folder)
    try:
        for name in older:
            _bring_up(folder / name, versions[name])
    finally:
        os.close(gate)


def _newest(name: str) -> int:
    return len(STEPS[name]) + 1


def _version(path: Path) -> int:
    """The file's version; 0 if it is none of ours, which whoever opens it says."""
    conn = store.connect(str(path), BUSY_SECONDS)
    try:
        return int(conn.execute("PRAGMA user_version").fetchone()[0])
    finally:
        store.close_untouched(conn, str(path))


def _bring_up(path: Path, version: int) -> None:
    with closing(store.connect(str(path), BUSY_SECONDS)) as conn:
        for number, step in enumerate(STEPS[path.name][version - 1 :], version + 1):
            _carry_out(conn, step, number)
    log.info("%s brought from schema version %d to %d", path.name, version, _newest(path.name))


def _carry_out(conn: sqlite3.Connection, step: str, version: int) -> None:
    conn.executescript(f"BEGIN IMMEDIATE; {step} PRAGMA user_version = {version}; COMMIT")
