-- queue.db as plugins of schema version 2 made it. It never changes: files like this are out there.

CREATE TABLE ack_queue_inbox (
    _id INTEGER PRIMARY KEY AUTOINCREMENT,  -- the event's seq
    data BLOB, timestamp FLOAT, status INTEGER);

CREATE TABLE ack_queue_deliveries (
    _id INTEGER PRIMARY KEY AUTOINCREMENT,
    data BLOB,                              -- JSON: path, oshash, checksum, history
    timestamp FLOAT,                        -- wall time of the first event covered
    status INTEGER,                         -- 0 waiting, 2 in flight
    destination TEXT NOT NULL,
    scene_id INTEGER NOT NULL,
    event TEXT NOT NULL,
    changed TEXT NOT NULL DEFAULT '',       -- field names, separated by spaces
    seq INTEGER NOT NULL,                   -- newest event
    taken INTEGER NOT NULL DEFAULT 0,       -- seq at the claim: DELETE only WHERE seq = taken
    due REAL NOT NULL,                      -- wall time
    priority INTEGER NOT NULL DEFAULT 0,    -- 0 an edit, 1 put in by enqueue_all
    attempts INTEGER NOT NULL DEFAULT 0,
    tries INTEGER NOT NULL DEFAULT 0,
    absent INTEGER NOT NULL DEFAULT 0,
    generation INTEGER NOT NULL DEFAULT 0,  -- moves between here and dlq.db
    suspect INTEGER NOT NULL DEFAULT 0,     -- 1: was in flight when the worker died; 2: in flight, watched
    deaths INTEGER NOT NULL DEFAULT 0,      -- deaths of the worker with this watched, or alone in flight
    later_event TEXT,                       -- what came in during the delivery
    later_changed TEXT,
    later_data TEXT,
    later_at REAL,
    later_due REAL,
    UNIQUE (destination, scene_id));        -- newest wins, and at most one in flight

-- What is due, and behind it all that a person is told of what waits, so that this reads no row.
CREATE INDEX deliveries_due ON ack_queue_deliveries (destination, priority, due, timestamp, tries, status)
    WHERE status < 2;
CREATE INDEX deliveries_in_flight ON ack_queue_deliveries (_id) WHERE status = 2;
CREATE INDEX deliveries_suspect ON ack_queue_deliveries (destination, deaths, due) WHERE suspect = 1 AND status < 2;

CREATE TABLE sent (                         -- the ledger
    destination TEXT NOT NULL,
    scene_id INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    updated_at TEXT NOT NULL,               -- Stash's own text
    fetched_at REAL NOT NULL,
    path TEXT NOT NULL,                     -- as Stash sees it
    outcome TEXT NOT NULL,                  -- sent, filtered
    PRIMARY KEY (destination, scene_id)) WITHOUT ROWID;

CREATE TABLE destinations (destination TEXT PRIMARY KEY, state TEXT NOT NULL);
CREATE TABLE control (key TEXT PRIMARY KEY, value TEXT NOT NULL);
PRAGMA user_version = 2;
