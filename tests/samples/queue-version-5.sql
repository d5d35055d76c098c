-- queue.db as plugins of schema version 5 made it. It never changes: files like this are out there.

CREATE TABLE ack_queue_inbox (
    _id INTEGER PRIMARY KEY AUTOINCREMENT,  -- the event's seq
    data BLOB, timestamp FLOAT, status INTEGER);

CREATE TABLE ack_queue_deliveries (
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
    suspect INTEGER NOT NULL DEFAULT 0,     -- 1: the worker died while it was sent; 2: twice, so it runs alone
    deaths INTEGER NOT NULL DEFAULT 0,      -- deaths of the worker while only this was sent
    later_event TEXT,                       -- what came in during the delivery
    later_changed TEXT,
    later_data TEXT,
    later_at REAL,
    later_due REAL,
    UNIQUE (destination, scene_id));        -- newest wins, and at most one in flight

-- What is due. The other columns are there so that BACKLOG and the search for a probe read no row.
CREATE INDEX deliveries_due ON ack_queue_deliveries (destination, priority, due, timestamp, attempts, status, suspect)
    WHERE status < 2;
CREATE INDEX deliveries_in_flight ON ack_queue_deliveries (_id) WHERE status = 2;
CREATE INDEX deliveries_suspect ON ack_queue_deliveries (destination, suspect, priority, due)
    WHERE suspect != 0 AND status < 2;

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

CREATE TABLE destinations (destination TEXT PRIMARY KEY, state TEXT NOT NULL);
CREATE TABLE control (key TEXT PRIMARY KEY, value TEXT NOT NULL);

PRAGMA user_version = 5;
