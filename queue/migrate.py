"""Upgrades databases of earlier schema versions in place.

A step leads from one version to the next. It is SQL that runs in one transaction with the change of the version,
so a kill or a power cut leaves the file in one version or in the other. Meanwhile the gate is held exclusively and
hooks write to the spool. A step never changes once it was released.

Only for the holder of the worker lock, with nothing of ours open.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path

from stash_courier.queue import repair
from stash_courier.queue.dead_letters import backfill as dlq_backfill
from stash_courier.queue.inbox import files, store
from stash_courier.queue.transactions import BUSY_SECONDS

COVERS_DB = "covers.db"  # until queue.db's version 3: which cover each item got from us

log = logging.getLogger(__name__)

# The index has all that "Show status" and "Deliver now" need. The suspect with the fewest deaths comes next.
QUEUE_2_INDEXES = """
DROP INDEX IF EXISTS deliveries_due;
CREATE INDEX deliveries_due ON ack_queue_deliveries (destination, priority, due, timestamp, tries, status)
    WHERE status < 2;
DROP INDEX IF EXISTS deliveries_suspect;
CREATE INDEX deliveries_suspect ON ack_queue_deliveries (destination, deaths, due)
    WHERE suspect = 1 AND status < 2;
"""

# "Review dead letters" read every resolved dead letter on its way to the latest open one.
DLQ_2_OPEN = """
DROP INDEX IF EXISTS dead_letters_failed_at;
CREATE INDEX dead_letters_failed_at ON dead_letters (failed_at, state, reviewed_at);
"""

# The columns get the names that the code uses. The ledger takes over the digests of covers.db, which _upgrade()
# has copied to a temporary table. Bulk goes behind the dead letters that are sent again.
QUEUE_3_NAMES = """
ALTER TABLE ack_queue_deliveries RENAME COLUMN attempts TO counted_attempts;
ALTER TABLE ack_queue_deliveries RENAME COLUMN tries TO attempts;
ALTER TABLE ack_queue_deliveries RENAME COLUMN absent TO not_found;
ALTER TABLE sent ADD COLUMN cover BLOB;
UPDATE sent SET cover = (
    SELECT digest FROM temp.covers
    WHERE covers.destination = sent.destination AND covers.scene_id = sent.scene_id);
UPDATE control SET key = 'expedite' WHERE key = 'hurry';
UPDATE ack_queue_deliveries SET priority = 2 WHERE priority = 1;
UPDATE ack_queue_deliveries SET suspect = 1 WHERE suspect = 2;
DROP INDEX IF EXISTS deliveries_suspect;
CREATE INDEX deliveries_suspect ON ack_queue_deliveries (destination, suspect, priority, due)
    WHERE suspect != 0 AND status < 2;
DROP INDEX IF EXISTS deliveries_due;
CREATE INDEX deliveries_due ON ack_queue_deliveries
    (destination, priority, due, timestamp, attempts, status, suspect) WHERE status < 2;
"""

# Scenes that a media server doesn't have are counted by "Show status".
QUEUE_4_ABSENT = """
CREATE INDEX sent_absent ON sent (outcome, destination, scene_id) WHERE outcome = 'absent';
"""

# The ledger's cover becomes part of a record, as media/record.py encodes it; more of what was sent isn't known.
# Attempts of a delivery that waits for its item become the seconds that it has waited.
QUEUE_5_RECORDS = """
ALTER TABLE sent RENAME COLUMN cover TO record;
UPDATE sent SET record = CASE outcome WHEN 'sent' THEN
    CAST('{' || iif(record IS NULL, '', '"cover":"' || lower(hex(record)) || '",') || '"unknown":true}' AS BLOB)
    END;
ALTER TABLE sent ADD COLUMN notes TEXT;
CREATE INDEX sent_notes ON sent (destination, notes) WHERE notes IS NOT NULL;
UPDATE ack_queue_deliveries SET not_found = CASE not_found WHEN 1 THEN 30 WHEN 2 THEN 90 WHEN 3 THEN 210
    WHEN 4 THEN 450 WHEN 5 THEN 930 WHEN 6 THEN 1830 WHEN 7 THEN 3630 ELSE 7230 END WHERE not_found != 0;
"""

# Outcomes of scenes and counts of deliveries begin with this version.
QUEUE_6_RECEIPTS = """
CREATE TABLE receipts (
    _id INTEGER PRIMARY KEY AUTOINCREMENT,
    destination TEXT NOT NULL,
    scene_id INTEGER NOT NULL,
    at REAL NOT NULL,
    event TEXT NOT NULL,
    event_at REAL NOT NULL,
    seq INTEGER NOT NULL,
    title TEXT NOT NULL,
    path TEXT NOT NULL,
    search TEXT NOT NULL,
    outcome TEXT NOT NULL,
    reason TEXT NOT NULL,
    changed TEXT NOT NULL,
    seconds REAL,
    detail TEXT,
    updated_at TEXT NOT NULL,
    UNIQUE (destination, scene_id));

CREATE TABLE delivered (
    destination TEXT NOT NULL,
    bucket INTEGER NOT NULL,
    scenes INTEGER NOT NULL,
    PRIMARY KEY (destination, bucket)) WITHOUT ROWID;
"""

# Dead letters get a group, which is in the totals too. _upgrade() adds the functions that compute it.
DLQ_3_GROUPS = """
ALTER TABLE dead_letters ADD COLUMN group_key TEXT NOT NULL DEFAULT '';
ALTER TABLE dead_letters ADD COLUMN group_text TEXT NOT NULL DEFAULT '';
DROP TRIGGER IF EXISTS count_new;
DROP TRIGGER IF EXISTS count_gone;
DROP TRIGGER IF EXISTS count_changed;
DROP TABLE IF EXISTS totals;
UPDATE dead_letters SET group_text = group_text(CAST(error_type AS BLOB), CAST(error_message AS BLOB),
    CAST(history AS BLOB), CAST(title AS BLOB));
UPDATE dead_letters SET group_key = group_key(CAST(destination AS BLOB), CAST(error_type AS BLOB),
    CAST(group_text AS BLOB));
CREATE TABLE totals (
    group_key TEXT, destination TEXT, error_type TEXT, group_text TEXT NOT NULL, n INTEGER NOT NULL,
    PRIMARY KEY (group_key, destination, error_type)) WITHOUT ROWID;
INSERT INTO totals SELECT group_key, destination, error_type, min(group_text), count(*) FROM dead_letters
    WHERE state IN ('dead', 'asked') GROUP BY group_key, destination, error_type;
CREATE TRIGGER count_new AFTER INSERT ON dead_letters WHEN new.state IN ('dead', 'asked') BEGIN
    INSERT INTO totals VALUES (new.group_key, new.destination, new.error_type, new.group_text, 1)
    ON CONFLICT (group_key, destination, error_type) DO UPDATE SET n = n + 1;
END;
CREATE TRIGGER count_gone AFTER DELETE ON dead_letters WHEN old.state IN ('dead', 'asked') BEGIN
    UPDATE totals SET n = n - 1
    WHERE group_key = old.group_key AND destination = old.destination AND error_type = old.error_type;
END;
CREATE TRIGGER count_changed AFTER UPDATE OF state, group_key, destination, error_type ON dead_letters BEGIN
    UPDATE totals SET n = n - 1
    WHERE group_key = old.group_key AND destination = old.destination AND error_type = old.error_type
        AND old.state IN ('dead', 'asked');
    INSERT INTO totals SELECT new.group_key, new.destination, new.error_type, new.group_text, 1
    WHERE new.state IN ('dead', 'asked')
    ON CONFLICT (group_key, destination, error_type) DO UPDATE SET n = n + 1;
END;
"""

# Dead letters that the owner wasn't sent a message about yet. Those that are there count as known.
DLQ_4_UNREPORTED = """
ALTER TABLE dead_letters ADD COLUMN unreported INTEGER NOT NULL DEFAULT 0;
CREATE INDEX dead_letters_unreported ON dead_letters (failed_at)
    WHERE unreported = 1 AND state = 'dead' AND scene_id >= 0;
"""

# Dead letters can be searched, discarded so that it can be undone, and wait for one that is sent first. _upgrade()
# adds the functions.
DLQ_5_SEARCH = """
ALTER TABLE dead_letters ADD COLUMN path TEXT NOT NULL DEFAULT '';
ALTER TABLE dead_letters ADD COLUMN search TEXT NOT NULL DEFAULT '';
ALTER TABLE dead_letters ADD COLUMN discarded_at REAL;
UPDATE dead_letters SET path = stored_path(CAST(job_data AS BLOB), CAST(scene_id AS INTEGER));
UPDATE dead_letters SET search = search_text(CAST(title AS BLOB), CAST(path AS BLOB));
CREATE INDEX dead_letters_open ON dead_letters
    (failed_at, id, state, destination, error_type, group_key, scene_id, event, search)
    WHERE state IN ('dead', 'asked');
CREATE INDEX dead_letters_discarded ON dead_letters (discarded_at) WHERE state = 'discarded';
CREATE TABLE waiting (
    id INTEGER PRIMARY KEY,
    first INTEGER NOT NULL);
CREATE INDEX waiting_first ON waiting (first);
CREATE TRIGGER first_ended AFTER UPDATE OF state ON dead_letters WHEN new.state NOT IN ('asked', 'back') BEGIN
    DELETE FROM waiting WHERE first = new.id;
END;
CREATE TRIGGER waiting_ended AFTER UPDATE OF state ON dead_letters WHEN new.state != 'dead' BEGIN
    DELETE FROM waiting WHERE id = new.id;
END;
CREATE TRIGGER one_gone AFTER DELETE ON dead_letters BEGIN
    DELETE FROM waiting WHERE id = old.id OR first = old.id;
END;
"""

# In order; the first leads from version 1 to 2.
STEPS: Mapping[str, Sequence[str]] = {
    files.QUEUE_DB: (QUEUE_2_INDEXES, QUEUE_3_NAMES, QUEUE_4_ABSENT, QUEUE_5_RECORDS, QUEUE_6_RECEIPTS),
    files.DLQ_DB: (DLQ_2_OPEN, DLQ_3_GROUPS, DLQ_4_UNREPORTED, DLQ_5_SEARCH),
}


def migrate(folder: Path) -> None:
    """Upgrades both files of a data folder to the versions that this plugin knows.

    Raises:
        store.QueueUnavailable: a file has a newer version, so none is changed, or a task button uses the queue.
        sqlite3.Error: a file is damaged or locked, or the disk is full; the file keeps its version.
    """
    versions = {name: _version(folder / name) for name in STEPS if (folder / name).exists()}
    for name, version in versions.items():
        if version > _newest(name):
            raise store.QueueUnavailable(store.other_version(str(folder / name), version, _newest(name)))
    older = [name for name, version in versions.items() if 0 < version < _newest(name)]
    if older:
        gate = repair.gate_alone(folder)
        try:
            for name in older:
                _upgrade(folder / name, versions[name])
        finally:
            os.close(gate)
    leftovers = [COVERS_DB, f"{COVERS_DB}-journal"]
    if (folder / files.STASH).exists():
        leftovers.append(files.FORMER_STASH)  # it holds a session of Stash
    for leftover in leftovers:
        with suppress(OSError):
            (folder / leftover).unlink()


def _newest(name: str) -> int:
    return len(STEPS[name]) + 1


def _version(path: Path) -> int:
    """The file's version; 0 if it isn't ours, which is reported when it is opened for use."""
    conn = store.connect(str(path), BUSY_SECONDS)
    try:
        return int(conn.execute("PRAGMA user_version").fetchone()[0])
    finally:
        store.close_untouched(conn, str(path))


def _upgrade(path: Path, version: int) -> None:
    with closing(store.connect(str(path), BUSY_SECONDS)) as conn:
        if path.name == files.DLQ_DB:
            dlq_backfill.register(conn, _paths(path.with_name(files.QUEUE_DB)))
        conn.execute("CREATE TEMP TABLE covers (destination, scene_id, digest, UNIQUE (destination, scene_id))")
        conn.executemany("INSERT OR IGNORE INTO temp.covers VALUES (?, ?, ?)", _covers(path.with_name(COVERS_DB)))
        for number, step in enumerate(STEPS[path.name][version - 1 :], version + 1):
            conn.executescript(f"BEGIN IMMEDIATE; {step} PRAGMA user_version = {number}; COMMIT")
    log.info("%s upgraded from schema version %d to %d", path.name, version, _newest(path.name))


def _paths(path: Path) -> list[tuple[int, str]]:
    """Ids and paths of scenes in the ledger; none if it can't be read. Then old dead letters have no path."""
    if not path.exists():
        return []
    try:
        with closing(repair.readonly(path)) as conn:
            return conn.execute("SELECT scene_id, path FROM sent WHERE path != ''").fetchall()
    except sqlite3.Error as error:
        log.warning("%s can't be read (%s): paths of old dead letters stay unknown", path.name, error)
        return []


def _covers(path: Path) -> list[tuple[str, int, bytes]]:
    """The rows of covers.db; none if it is missing or damaged. Then each cover is sent once more."""
    if not path.exists():
        return []
    try:
        with closing(sqlite3.connect(path)) as conn:
            return conn.execute("SELECT destination, scene_id, digest FROM covers").fetchall()
    except sqlite3.Error as error:
        log.warning("%s can't be read (%s): covers are sent once more", path.name, error)
        return []
