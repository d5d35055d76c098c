-- dlq.db as plugins of schema version 2 made it. It never changes: files like this are out there.

CREATE TABLE dead_letters (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    job_id TEXT NOT NULL,
    scene_id INTEGER NOT NULL,              -- 0 if unknown
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
    plugin_version TEXT NOT NULL);
-- With what tells the open ones, so that resolved ones are passed over without reading them.
CREATE INDEX dead_letters_failed_at ON dead_letters (failed_at, state, reviewed_at);
CREATE INDEX dead_letters_scene_id ON dead_letters (scene_id, destination);
CREATE INDEX dead_letters_asked ON dead_letters (id) WHERE state = 'asked';
CREATE INDEX dead_letters_back ON dead_letters (id) WHERE state = 'back';

-- Open dead letters counted as they come and go: counting a million takes as long as reading them.
CREATE TABLE totals (error_type TEXT, destination TEXT, n INTEGER NOT NULL, PRIMARY KEY (error_type, destination))
    WITHOUT ROWID;
CREATE TRIGGER count_new AFTER INSERT ON dead_letters WHEN new.state IN ('dead', 'asked') BEGIN
    INSERT INTO totals VALUES (new.error_type, new.destination, 1)
    ON CONFLICT (error_type, destination) DO UPDATE SET n = n + 1;
END;
CREATE TRIGGER count_gone AFTER DELETE ON dead_letters WHEN old.state IN ('dead', 'asked') BEGIN
    UPDATE totals SET n = n - 1 WHERE error_type = old.error_type AND destination = old.destination;
END;
CREATE TRIGGER count_changed AFTER UPDATE OF state, error_type ON dead_letters BEGIN
    UPDATE totals SET n = n - 1 WHERE error_type = old.error_type AND destination = old.destination
        AND old.state IN ('dead', 'asked');
    INSERT INTO totals SELECT new.error_type, new.destination, 1 WHERE new.state IN ('dead', 'asked')
    ON CONFLICT (error_type, destination) DO UPDATE SET n = n + 1;
END;
PRAGMA user_version = 2;
