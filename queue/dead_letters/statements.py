"""The tables of dlq.db and every SQL statement on them."""

from __future__ import annotations

VERSION = 1  # PRAGMA user_version of dlq.db

# States: dead (a person should look), asked (a person wants it sent again), back (in the queue again),
# resolved (delivered, or superseded by something newer), discarded (by a person, who can still undo it). Open are
# dead and asked. A dead one may wait for another, and is asked when that one is delivered. If that one ends in any
# other way, it is just dead: the triggers see to that, in the transaction that ends it. Who waits is in a table of
# its own, because a change of 100,000 dead letters takes seconds, in which the worker could write nothing.
CREATE = f"""
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
    group_key TEXT NOT NULL DEFAULT '',     -- those with the same cause; see groups.py
    group_text TEXT NOT NULL DEFAULT '',    -- the cause, for people
    unreported INTEGER NOT NULL DEFAULT 0,  -- 1: the owner wasn't sent a message about it yet
    path TEXT NOT NULL DEFAULT '',          -- the scene's, as Stash sees it
    search TEXT NOT NULL DEFAULT '',        -- title and path, folded; see search.py
    discarded_at REAL);                     -- wall time; those discarded together have the same, their batch
-- The state is in the index so that resolved dead letters are skipped without reading them.
CREATE INDEX dead_letters_failed_at ON dead_letters (failed_at, state, reviewed_at);
CREATE INDEX dead_letters_scene_id ON dead_letters (scene_id, destination);
CREATE INDEX dead_letters_asked ON dead_letters (id) WHERE state = 'asked';
CREATE INDEX dead_letters_back ON dead_letters (id) WHERE state = 'back';
CREATE INDEX dead_letters_unreported ON dead_letters (failed_at)
    WHERE unreported = 1 AND state = 'dead' AND scene_id >= 0;
-- All that a list filters by, so that no row is read that isn't shown.
CREATE INDEX dead_letters_open ON dead_letters
    (failed_at, id, state, destination, error_type, group_key, scene_id, event, search)
    WHERE state IN ('dead', 'asked');
CREATE INDEX dead_letters_discarded ON dead_letters (discarded_at) WHERE state = 'discarded';
-- Dead ones that are asked for when another, whose id is in first, is delivered. 0: it was.
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
PRAGMA user_version = {VERSION}"""

_OPEN = "state IN ('dead', 'asked')"
# The other dead letters can't be sent again: their scene or destination is unknown.
# :deleted has the ids of deleted connections, each between line ends.
_SENDABLE = """
destination != '' AND (scene_id > 0 OR event = 'notice')
    AND instr(:deleted, char(10) || destination || char(10)) = 0"""
_FITS = """
(:error_type IS NULL OR error_type = :error_type) AND (:destination IS NULL OR destination = :destination)
    AND (:group_key IS NULL OR group_key = :group_key)
    AND (:text IS NULL OR instr(search, :text) > 0 OR scene_id = :scene)"""
_SELECTED = f"{_FITS} AND (:as_of IS NULL OR failed_at <= :as_of)"
_FROM_OPEN = f"FROM dead_letters INDEXED BY dead_letters_open WHERE {_OPEN}"

# The columns of a Summary and of a DeadLetter, in the order of their fields.
SUMMARY_COLUMNS = (
    *("id", "job_id", "scene_id", "title", "destination", "event", "error_type", "error_message"),
    *("retry_count", "failed_at", "state", "group_key", "path", "waits_for"),
)
LETTER_COLUMNS = (*SUMMARY_COLUMNS, "job_data", "history", "stack_trace", "generation", "seq", "plugin_version")
_TYPES = {
    **dict.fromkeys(("id", "scene_id", "retry_count", "generation", "seq"), "INTEGER"),
    "failed_at": "REAL",
    "job_data": "BLOB",
}


def _listed(names: tuple[str, ...]) -> str:
    """Columns to select, each of its declared type, also in a damaged row."""
    waits_for = "(SELECT first FROM waiting WHERE waiting.id = dead_letters.id)"
    return ", ".join(
        waits_for if name == "waits_for" else f"CAST({name} AS {_TYPES.get(name, 'TEXT')})" for name in names
    )


# Adding

_ADDED = (
    *("job_id", "scene_id", "destination", "event", "title", "job_data", "history", "error_type"),
    *("error_message", "stack_trace", "retry_count", "failed_at", "generation", "seq", "plugin_version"),
    *("group_key", "group_text", "path", "search"),
)
# A scene has one dead letter per destination. A corrupt row may name no scene; then its own id identifies it.
_SAME = """
FROM dead_letters
WHERE scene_id = :scene_id AND destination = :destination AND (:scene_id != 0 OR job_id = :job_id)"""

# Adds a dead letter unless the scene has one.
ADD = f"""
INSERT INTO dead_letters ({", ".join(_ADDED)}, unreported)
SELECT :{", :".join(_ADDED)}, 1 WHERE NOT EXISTS (SELECT 1 {_SAME})"""
FIND_SAME = f"SELECT {_listed(('id', 'history', 'generation', 'title', 'path'))} {_SAME}"
JOIN = f"""
UPDATE dead_letters SET {", ".join(f"{name} = :{name}" for name in _ADDED)}, state = 'dead', reviewed_at = NULL,
    unreported = 1, discarded_at = NULL
WHERE id = :id"""

# Reading

# The rows are looked up by the ids that the index gives.
RECENT = f"""
SELECT {_listed(SUMMARY_COLUMNS)} FROM dead_letters
WHERE id IN (
    SELECT id {_FROM_OPEN} AND {_SELECTED} ORDER BY failed_at DESC, id DESC LIMIT :limit OFFSET :offset)
ORDER BY failed_at DESC, id DESC"""
MATCHING = f"SELECT count(*) {_FROM_OPEN} AND {_SELECTED}"
NEWER = f"SELECT count(*) {_FROM_OPEN} AND failed_at > :as_of AND {_FITS}"
NEWER_IDS = f"SELECT id {_FROM_OPEN} AND state = 'dead' AND failed_at > :as_of AND {_FITS}"
LATEST = f"SELECT CAST(max(failed_at) AS REAL) {_FROM_OPEN}"
BY_ID = f"SELECT {_listed(LETTER_COLUMNS)} FROM dead_letters WHERE id = ?"
CAUSE = f"SELECT {_listed(('error_type', 'error_message', 'history', 'title'))} FROM dead_letters WHERE id = ?"
BY_SCENE = f"""
SELECT {_listed(("id", "state", "generation", "seq"))} FROM dead_letters WHERE scene_id = ? AND destination = ?"""
COUNT = "SELECT coalesce(sum(n), 0) FROM totals"
COUNT_BY_DESTINATION = "SELECT destination, sum(n) FROM totals GROUP BY destination HAVING sum(n) > 0"
GROUPS = """
SELECT group_key, destination, error_type, group_text, n FROM totals WHERE n > 0
ORDER BY n DESC, destination, group_key"""
EMPTY_GROUPS = "DELETE FROM totals WHERE n <= 0"
COUNT_SINCE = f"SELECT count(*) FROM dead_letters WHERE failed_at >= ? AND {_OPEN}"
COUNT_UNSEEN = """
SELECT count(*) FROM dead_letters WHERE failed_at < ? AND state = 'dead' AND reviewed_at IS NULL"""
UNSENDABLE = f"SELECT id {_FROM_OPEN} AND state = 'dead' AND NOT ({_SENDABLE}) AND {_SELECTED}"

# Those that wait for another: how many for which, and what that is. 0: it was delivered.
WAITING = """
SELECT first, n, scene_id, title, destination
FROM (SELECT first, count(*) AS n FROM waiting GROUP BY first) LEFT JOIN dead_letters ON id = first
ORDER BY first"""

# What a person does

UNREVIEWED = "SELECT 1 FROM dead_letters WHERE id = ? AND reviewed_at IS NULL"
REVIEWED = "UPDATE dead_letters SET reviewed_at = ? WHERE id = ?"
_ASKABLE = f"state = 'dead' AND {_SENDABLE} AND {_SELECTED}"
ASKABLE = f"SELECT id {_FROM_OPEN} AND {_ASKABLE}"
ASK = f"UPDATE dead_letters SET state = 'asked' WHERE id = :id AND {_ASKABLE}"
# A careful retry: one is asked first, the others wait for it. Only those count that can be asked.
ASKABLE_FIRST = f"{ASKABLE} ORDER BY failed_at DESC, id DESC LIMIT 1"
ASKABLE_ONE = f"SELECT id FROM dead_letters WHERE id = :id AND {_ASKABLE}"
WAIT_FOR = f"INSERT OR REPLACE INTO waiting SELECT id, :first {_FROM_OPEN} AND {_ASKABLE} AND id != :first"
WAIT_FOR_ONE = f"INSERT OR REPLACE INTO waiting SELECT id, :first FROM ({ASKABLE_ONE}) WHERE id != :first"
SELECTED = f"SELECT id {_FROM_OPEN} AND {_SELECTED}"
DISCARD = f"""
UPDATE dead_letters SET state = 'discarded', discarded_at = :batch WHERE id = :id AND {_OPEN} AND {_SELECTED}"""
_DISCARDED = "INDEXED BY dead_letters_discarded WHERE state = 'discarded'"
LAST_BATCH = f"SELECT CAST(max(discarded_at) AS REAL) FROM dead_letters {_DISCARDED}"
BATCH = f"SELECT id FROM dead_letters {_DISCARDED} AND discarded_at = :batch"
BATCH_COUNT = f"SELECT count(*) FROM ({BATCH})"
RESTORE = """
UPDATE dead_letters SET state = 'dead', discarded_at = NULL
WHERE id = :id AND state = 'discarded' AND discarded_at = :batch"""
# A time in the future was stored while the clock was wrong.
_OVER = f"FROM dead_letters {_DISCARDED} AND (discarded_at <= :before OR discarded_at > :after)"
OVER = f"SELECT EXISTS (SELECT 1 {_OVER})"
PURGE_DISCARDED = f"DELETE FROM dead_letters WHERE id IN (SELECT id {_OVER} LIMIT :limit)"
# Spares those on their way back. Those that no person was shown are kept until a time of their own.
PURGE = """
DELETE FROM dead_letters WHERE id IN (
    SELECT id FROM dead_letters WHERE failed_at < :before
        AND (state = 'resolved' OR state = 'dead' AND (reviewed_at IS NOT NULL OR failed_at < :unseen_before))
    ORDER BY failed_at LIMIT :limit)"""

# Messages about new dead letters. A message about trouble that became a dead letter is no news.

_NEW = "INDEXED BY dead_letters_unreported"
_UNREPORTED = "WHERE unreported = 1 AND state = 'dead' AND scene_id >= 0"
UNREPORTED_SINCE = f"SELECT CAST(min(failed_at) AS REAL) FROM dead_letters {_NEW} {_UNREPORTED}"
UNREPORTED = f"""
SELECT group_key, destination, error_type, min(group_text), count(*), max(id)
FROM dead_letters {_NEW} {_UNREPORTED} GROUP BY group_key, destination, error_type"""
REPORTED = f"UPDATE dead_letters {_NEW} SET unreported = 0 {_UNREPORTED}"

# What the holder of the worker lock does

ASKED = f"SELECT {_listed(LETTER_COLUMNS)} FROM dead_letters WHERE state = 'asked' ORDER BY id LIMIT ?"
# Those in a state, in pages. The state is no parameter, so that the index of just this state is used.
IN_TRANSIT = {
    state: f"SELECT {_listed(('id', 'destination', 'scene_id', 'generation', 'seq'))} FROM dead_letters "
    f"WHERE state = '{state}' AND id > ? ORDER BY id LIMIT ?"
    for state in ("asked", "back")
}
RECALL = """
UPDATE dead_letters SET state = 'asked'
WHERE state = 'dead' AND destination = ? AND scene_id = ? AND failed_at >= ?"""
SET_STATE = "UPDATE dead_letters SET state = ? WHERE id = ?"
REDRIVEN = "UPDATE dead_letters SET state = 'back' WHERE id = ? AND state = 'asked'"
RESOLVABLE = "SELECT id FROM dead_letters WHERE scene_id = ? AND destination = ? AND state != 'resolved'"
# Those that wait for one that is delivered, and what the worker then does with some of them at a time.
RELEASE = "UPDATE waiting SET first = 0 WHERE first = ?"
RELEASED = "SELECT EXISTS (SELECT 1 FROM waiting WHERE first = 0)"
ASK_RELEASED = """
UPDATE dead_letters SET state = 'asked'
WHERE state = 'dead' AND id IN (SELECT id FROM waiting WHERE first = 0 LIMIT ?)"""
# Those that wait for nothing that is on its way, and those of a connection that is deleted, or that wait for one.
END_WAITING = """
DELETE FROM waiting
WHERE NOT EXISTS (SELECT 1 FROM dead_letters WHERE id = waiting.id AND state = 'dead')
    OR first != 0
    AND NOT EXISTS (SELECT 1 FROM dead_letters WHERE id = waiting.first AND state IN ('asked', 'back'))"""
END_WAITING_OF = """
DELETE FROM waiting WHERE EXISTS (
    SELECT 1 FROM dead_letters WHERE id IN (waiting.id, waiting.first) AND destination = :destination)"""
