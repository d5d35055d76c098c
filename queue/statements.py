"""Every SQL statement on the deliveries table that the worker uses, each with a name and a sentence.

What the hook shares (tables, indexes, the inbox INSERT) is in schema.py.
"""

from __future__ import annotations

from stash_courier.queue.schema import DELIVERIES, INBOX

# What codec.delivery() reads, in this order.
COLUMNS = """
_id, destination, scene_id, event, changed, seq, timestamp, counted_attempts, attempts, not_found, data,
generation, deaths"""

# Oldest events first: the order in which they are routed.
INBOX_ROWS = f"SELECT _id, data FROM {INBOX} WHERE _id <= ? ORDER BY _id LIMIT ?"
INBOX_DELETE = f"DELETE FROM {INBOX} WHERE _id = ?"
INBOX_NEWEST = f"SELECT max(_id) FROM {INBOX}"
INBOX_ANY = f"SELECT 1 FROM {INBOX} LIMIT 1"
INBOX_COUNT = f"SELECT count(*) FROM {INBOX}"

# The row that a new event of a scene meets.
FIND = f"""
SELECT _id, status, event, changed, data, due, attempts, generation,
    later_event, later_changed, later_data, later_due
FROM {DELIVERIES} WHERE destination = ? AND scene_id = ?"""

ADD = f"""
INSERT INTO {DELIVERIES} (status, destination, scene_id, data, timestamp, event, changed, seq, due, priority,
    generation)
VALUES (0, :destination, :scene_id, :data, :at, :event, :changed, :seq, :due, :priority, :generation)"""

# A newer event joins a delivery that waits: the counts start afresh.
JOIN_WAITING = f"""
UPDATE {DELIVERIES} SET event = :event, changed = :changed, data = :data, seq = max(seq, :seq), due = :due,
    priority = min(priority, :priority), generation = :generation,
    counted_attempts = 0, attempts = 0, not_found = 0, deaths = 0
WHERE _id = :row_id"""

# A newer event arrives during a delivery: it is kept beside it until the outcome is known. Whatever
# its own seq, the row's must grow, else the outcome would take the newer event along.
JOIN_IN_FLIGHT = f"""
UPDATE {DELIVERIES} SET later_event = :event, later_changed = :changed, later_data = :data,
    later_at = coalesce(later_at, :at), later_due = :due, seq = max(seq + 1, :seq),
    priority = min(priority, :priority), generation = :generation
WHERE _id = :row_id"""

# Edits before bulk, each oldest due first; both halves read the partial index deliveries_due. Suspects, few and
# among the first, are claimed one by one.
_WAITING = f"{DELIVERIES} WHERE destination = :destination AND status < 2 AND suspect = 0 AND priority"
CLAIM = f"""
UPDATE {DELIVERIES} SET status = 2, taken = seq WHERE _id IN (
    SELECT _id FROM (SELECT _id FROM {_WAITING} = 0 AND due <= :now ORDER BY due LIMIT :limit)
    UNION ALL
    SELECT _id FROM (SELECT _id FROM {_WAITING} = 1 AND due <= :now ORDER BY due LIMIT :limit)
    LIMIT :limit)
RETURNING {COLUMNS}, priority, due"""

# What tries an ill destination: the one that has waited longest, an edit or not, so that each gets its turn.
CLAIM_PROBE = f"""
UPDATE {DELIVERIES} SET status = 2, taken = seq WHERE _id = (
    SELECT _id FROM (SELECT _id, min(due) FROM (
        SELECT * FROM (SELECT _id, due FROM {_WAITING} = 0 ORDER BY due LIMIT 1)
        UNION ALL
        SELECT * FROM (SELECT _id, due FROM {_WAITING} = 1 ORDER BY due LIMIT 1))))
RETURNING {COLUMNS}, priority, due"""

# One of those that were in flight when a worker died: who was blamed least, so that a row of deaths that none of
# them caused isn't put down to one. It is watched: should this worker die too, it is counted.
CLAIM_SUSPECT = f"""
UPDATE {DELIVERIES} SET status = 2, taken = seq, suspect = 2 WHERE _id = (
    SELECT _id FROM {DELIVERIES}
    WHERE suspect = 1 AND status < 2 AND destination = :destination AND due <= :now
    ORDER BY deaths, due LIMIT 1)
RETURNING {COLUMNS}, priority, due"""

NEXT_DUE = f"""
SELECT min(due) FROM (
    SELECT * FROM (SELECT due FROM {_WAITING} = 0 ORDER BY due LIMIT 1)
    UNION ALL
    SELECT * FROM (SELECT due FROM {_WAITING} = 1 ORDER BY due LIMIT 1))"""
NEXT_SUSPECT = f"""
SELECT deaths, due FROM {DELIVERIES}
WHERE suspect = 1 AND status < 2 AND destination = :destination AND due <= :now ORDER BY deaths, due LIMIT 1"""
SUSPECT_DUE = f"""
SELECT min(due) FROM {DELIVERIES} INDEXED BY deliveries_suspect
WHERE suspect = 1 AND status < 2 AND destination = ?"""

# Delivered, and nothing newer came in.
DONE = f"DELETE FROM {DELIVERIES} WHERE _id = ? AND status = 2 AND seq = taken"

# Delivered, and something newer came in: that is the next delivery.
START_LATER = f"""
UPDATE {DELIVERIES} SET status = 0, event = later_event, changed = later_changed, data = later_data,
    timestamp = later_at, due = later_due, suspect = 0,
    counted_attempts = 0, attempts = 0, not_found = 0, deaths = 0,
    later_event = NULL, later_changed = NULL, later_data = NULL, later_at = NULL, later_due = NULL
WHERE _id = ? AND status = 2 AND seq > taken"""

LATER = f"SELECT later_event, later_changed, later_due, later_data FROM {DELIVERIES} WHERE _id = ? AND status = 2"

# Not delivered: waits again, with whatever came in meanwhile merged by the caller. A try that ended
# shows that the delivery doesn't kill the worker.
BACK = f"""
UPDATE {DELIVERIES} SET status = 0, suspect = min(suspect, 1) * :unended, deaths = deaths * :unended,
    event = :event, changed = :changed, data = :data, due = coalesce(:due, due),
    counted_attempts = :counted_attempts, attempts = :attempts, not_found = :not_found,
    later_event = NULL, later_changed = NULL, later_data = NULL, later_at = NULL, later_due = NULL
WHERE _id = :row_id"""

SUPERSEDED = f"SELECT seq > taken FROM {DELIVERIES} WHERE _id = ?"
GIVE_BACK = f"""
UPDATE {DELIVERIES} SET counted_attempts = max(counted_attempts - 1, 0)
WHERE destination = ? AND scene_id = ? AND status < 2"""
MAKE_DUE = f"""
UPDATE {DELIVERIES} SET due = :now WHERE status < 2 AND due > :now
    AND (:destination IS NULL OR destination = :destination)
    AND (NOT :only_failed OR attempts > 0 AND not_found = 0)"""
SHIFT = f"UPDATE {DELIVERIES} SET due = due + ?1, later_due = later_due + ?1"

# What was in flight when the last worker ended.
IN_FLIGHT = f"SELECT {COLUMNS} FROM {DELIVERIES} WHERE status = 2"
SUSPECT = f"UPDATE {DELIVERIES} SET deaths = deaths + (suspect = 2 OR ?), suspect = 1 WHERE status = 2"
MEND_DUE = f"UPDATE {DELIVERIES} SET due = 0.0 WHERE typeof(due) NOT IN ('real', 'integer')"
UNCLAIM = f"UPDATE {DELIVERIES} SET status = 0 WHERE _id = ?"
RENAME = f"UPDATE {DELIVERIES} SET destination = ? WHERE destination = ?"

GENERATION = f"SELECT generation FROM {DELIVERIES} WHERE destination = ? AND scene_id = ?"
REMOVE = f"DELETE FROM {DELIVERIES} WHERE _id = ?"
HOLDS = f"SELECT 1 FROM {DELIVERIES} WHERE destination = ? LIMIT 1"
ANY = f"SELECT 1 FROM {DELIVERIES} LIMIT 1"
COUNT = f"SELECT count(*) FROM {DELIVERIES}"

# What waits reads one index and no row: with a million of them a tenth of the time.
BACKLOG = f"""
SELECT destination, sum(n), sum(retrying), sum(in_flight), min(oldest), min(due) FROM (
    SELECT destination, count(*) AS n, sum(attempts > 0) AS retrying, 0 AS in_flight, min(timestamp) AS oldest,
        min(due) AS due
    FROM {DELIVERIES} INDEXED BY deliveries_due WHERE status < 2 GROUP BY destination
    UNION ALL
    SELECT destination, 1, 0, 1, timestamp, due FROM {DELIVERIES} WHERE status = 2)
GROUP BY destination"""
