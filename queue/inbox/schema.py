"""The tables of queue.db and the inbox INSERT. On the hook's path: imports nothing.

The worker's statements are in statements.py.
"""

from __future__ import annotations

VERSION = 1  # PRAGMA user_version of queue.db

INBOX = "ack_queue_inbox"  # persist-queue names its tables <class>_<queue name>
DELIVERIES = "ack_queue_deliveries"

# persist-queue's own statement for a SQLiteAckQueue, so that a hook's row is one of its rows.
INSERT = f"INSERT INTO {INBOX} (data, timestamp, status) VALUES (?, ?, 0)"

CREATE = f"""
CREATE TABLE {INBOX} (
    _id INTEGER PRIMARY KEY AUTOINCREMENT,  -- the event's seq
    data BLOB, timestamp FLOAT, status INTEGER);

CREATE TABLE {DELIVERIES} (
    _id INTEGER PRIMARY KEY AUTOINCREMENT,
    data BLOB,                              -- JSON: path, oshash, checksum, history, notice
    timestamp FLOAT,                        -- wall time of the first event covered
    status INTEGER,                         -- 0 waiting, 2 in flight
    destination TEXT NOT NULL,
    scene_id INTEGER NOT NULL,              -- negative: a message about trouble; see troubles.py
    event TEXT NOT NULL,
    changed TEXT NOT NULL DEFAULT '',       -- field names, separated by spaces
    seq INTEGER NOT NULL,                   -- newest event
    taken INTEGER NOT NULL DEFAULT 0,       -- seq at the claim: DELETE only WHERE seq = taken
    due REAL NOT NULL,                      -- wall time
    priority INTEGER NOT NULL DEFAULT 0,    -- 0 an edit, 1 a dead letter sent again or a sweep's find, 2 bulk
    counted_attempts INTEGER NOT NULL DEFAULT 0,
    attempts INTEGER NOT NULL DEFAULT 0,
    not_found INTEGER NOT NULL DEFAULT 0,   -- seconds of waiting for the media server to have the item
    generation INTEGER NOT NULL DEFAULT 0,  -- moves between here and dlq.db
    deaths INTEGER NOT NULL DEFAULT 0,      -- how often the worker died while this was in flight
    later_event TEXT,                       -- what came in during the delivery
    later_changed TEXT,
    later_data TEXT,
    later_at REAL,
    later_due REAL,
    UNIQUE (destination, scene_id));        -- newest wins, and at most one in flight

-- What is due. The other columns are there so that BACKLOG and the search for a probe read no row.
CREATE INDEX deliveries_due ON {DELIVERIES} (destination, deaths, priority, due, timestamp, attempts, status)
    WHERE status < 2;
CREATE INDEX deliveries_in_flight ON {DELIVERIES} (_id) WHERE status = 2;

CREATE TABLE sent (                         -- the ledger
    destination TEXT NOT NULL,
    scene_id INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    updated_at TEXT NOT NULL,               -- Stash's own text
    fetched_at REAL NOT NULL,
    path TEXT NOT NULL,                     -- as Stash sees it
    outcome TEXT NOT NULL,                  -- sent, filtered, absent: see ledger.py
    record BLOB,                            -- what the destination wants to know at the next delivery
    notes TEXT,                             -- what the owner must know of it, one a line; NULL if there is nothing
    PRIMARY KEY (destination, scene_id)) WITHOUT ROWID;
CREATE INDEX sent_absent ON sent (outcome, destination, scene_id) WHERE outcome = 'absent';
CREATE INDEX sent_notes ON sent (destination, notes) WHERE notes IS NOT NULL;

CREATE TABLE receipts (                     -- the last outcome of each scene and destination: receipts.py
    _id INTEGER PRIMARY KEY AUTOINCREMENT,  -- grows with every outcome
    destination TEXT NOT NULL,
    scene_id INTEGER NOT NULL,
    at REAL NOT NULL,                       -- wall time of the outcome
    event TEXT NOT NULL,
    event_at REAL NOT NULL,                 -- wall time of the first event covered
    seq INTEGER NOT NULL,                   -- newest event covered
    title TEXT NOT NULL,
    path TEXT NOT NULL,
    search TEXT NOT NULL,                   -- title and path, without the difference of upper and lower case
    outcome TEXT NOT NULL,                  -- a receipts.Code
    reason TEXT NOT NULL,                   -- a sentence, or nothing
    changed TEXT NOT NULL,                  -- field names that the hook told, separated by spaces
    seconds REAL,                           -- from the edit to the outcome; NULL: it was no edit
    detail TEXT,                            -- JSON: changes, left, link; NULL if there are none
    updated_at TEXT NOT NULL,               -- dead only: the scene's as Stash wrote it; nothing if it isn't known
    UNIQUE (destination, scene_id));

CREATE TABLE delivered (                    -- how many scenes a destination took in each five minutes
    destination TEXT NOT NULL,
    bucket INTEGER NOT NULL,                -- wall time divided by 300
    scenes INTEGER NOT NULL,
    PRIMARY KEY (destination, bucket)) WITHOUT ROWID;

CREATE TABLE destinations (destination TEXT PRIMARY KEY, state TEXT NOT NULL);
CREATE TABLE control (key TEXT PRIMARY KEY, value TEXT NOT NULL);
"""
