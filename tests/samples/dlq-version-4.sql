-- dlq.db as plugins of schema version 4 made it. It never changes: files like this are out there.

CREATE TABLE dead_letters (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    job_id TEXT NOT NULL,
    scene_id INTEGER NOT NULL,              -- 0 if unknown; negative: a message about trouble
    destination TEXT NOT NULL,              -- '' for an event that was never routed
    event TEXT NOT NULL,
    title TEXT NOT NULL,
    job_data BLOB NOT NULL,                 -- pickled
    history TEXT NOT NULL,                  -- JSON: every attempt
    error_type TEXT NOT NULL,
    error_message TEXT NOT NULL,
    stack_trace TEXT NOT NULL,
    retry_count INTEGER NOT NULL,
    failed_at REAL NOT NULL,                -- wall time
    state TEXT NOT NULL DEFAULT 'dead',
    generation INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    reviewed_at REAL,                       -- when a person was shown it
    plugin_version TEXT NOT NULL,
    group_key TEXT NOT NULL DEFAULT '',     -- those with the same cause; see dlq_groups.py
    group_text TEXT NOT NULL DEFAULT '',    -- the cause, for people
    unreported INTEGER NOT NULL DEFAULT 0); -- 1: the owner wasn't sent a message about it yet
-- The state is in the index so that resolved dead letters are skipped without reading them.
CREATE INDEX dead_letters_failed_at ON dead_letters (failed_at, state, reviewed_at);
CREATE INDEX dead_letters_scene_id ON dead_letters (scene_id, destination);
CREATE INDEX dead_letters_asked ON dead_letters (id) WHERE state = 'asked';
CREATE INDEX dead_letters_back ON dead_letters (id) WHERE state = 'back';
CREATE INDEX dead_letters_unreported ON dead_letters (failed_at)
    WHERE unreported = 1 AND state = 'dead' AND scene_id >= 0;

-- How many are open, kept by triggers: counting a million rows takes as long as reading them.
CREATE TABLE totals (
    group_key TEXT, destination TEXT, error_type TEXT, group_text TEXT NOT NULL, n INTEGER NOT NULL,
    PRIMARY KEY (group_key, destination, error_type)) WITHOUT ROWID;
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
PRAGMA user_version = 4;
