"""Every SQL statement on queue.db except the hook's INSERT, which is in schema.py with the tables."""

from __future__ import annotations

from stash_courier.queue.schema import DELIVERIES, INBOX

# The columns of a delivery that codec.delivery() reads, in this order.
DELIVERY_COLUMNS = (
    *("_id", "destination", "scene_id", "event", "changed", "seq", "timestamp"),
    *("counted_attempts", "attempts", "not_found", "data", "generation", "deaths"),
    *("priority", "due", "suspect"),
)
_COLUMNS = ", ".join(DELIVERY_COLUMNS)

# The inbox

INBOX_ROWS = f"SELECT _id, data FROM {INBOX} WHERE _id <= ? ORDER BY _id LIMIT ?"
INBOX_DELETE = f"DELETE FROM {INBOX} WHERE _id = ?"
INBOX_NEWEST = f"SELECT max(_id) FROM {INBOX}"
INBOX_LATEST = f"SELECT _id, data FROM {INBOX} ORDER BY _id DESC LIMIT ?"
INBOX_ANY = f"SELECT 1 FROM {INBOX} LIMIT 1"
INBOX_COUNT = f"SELECT count(*) FROM {INBOX}"

# A new event meets a scene's row

# coalesce.Pending. After a failed attempt the due time is computed again, so it isn't selected.
PENDING = f"""
SELECT _id, status = 2,
    CASE status WHEN 2 THEN later_event ELSE event END,
    CASE status WHEN 2 THEN later_changed ELSE changed END,
    CASE status WHEN 2 THEN later_data ELSE data END,
    CASE WHEN status = 2 THEN later_due WHEN attempts = 0 THEN due END,
    generation
FROM {DELIVERIES} WHERE destination = ? AND scene_id = ?"""

# The first event of a scene becomes a delivery.
ADD = f"""
INSERT INTO {DELIVERIES} (status, destination, scene_id, data, timestamp, event, changed, seq, due, priority,
    generation)
VALUES (0, :destination, :scene_id, :data, :at, :event, :changed, :seq, :due, :priority, :generation)"""

# A newer event joins a delivery that waits. The counts start again, and an edit of a suspect is tried at once.
JOIN_WAITING = f"""
UPDATE {DELIVERIES} SET event = :event, changed = :changed, data = :data, seq = max(seq, :seq), due = :due,
    priority = min(priority, :priority), generation = :generation,
    counted_attempts = 0, attempts = 0, not_found = 0,
    suspect = suspect * (:priority > 0), deaths = deaths * (:priority > 0)
WHERE _id = :row_id"""

# A newer event arrives during a delivery and is kept beside it until the outcome is known. The row's seq must
# grow whatever the event's is, or the outcome would remove the newer event too.
JOIN_IN_FLIGHT = f"""
UPDATE {DELIVERIES} SET later_event = :event, later_changed = :changed, later_data = :data,
    later_at = coalesce(later_at, :at), later_due = :due, seq = max(seq + 1, :seq),
    priority = min(priority, :priority), generation = :generation
WHERE _id = :row_id"""

# Claiming. Each priority is a range of its own in the partial index deliveries_due.

_WAITING = f"{DELIVERIES} WHERE destination = :destination AND status < 2 AND suspect = 0 AND priority"
_SUSPECT = f"""
{DELIVERIES} INDEXED BY deliveries_suspect
WHERE suspect != 0 AND status < 2 AND destination = :destination AND suspect = :suspect"""

CLAIM_EDITS = f"""
UPDATE {DELIVERIES} SET status = 2, taken = seq WHERE _id IN (
    SELECT _id FROM {_WAITING} = 0 AND due <= :now ORDER BY due LIMIT :limit)
RETURNING {_COLUMNS}"""
CLAIM_REST = f"""
UPDATE {DELIVERIES} SET status = 2, taken = seq WHERE _id IN (
    SELECT _id FROM (SELECT _id FROM {_WAITING} = 1 AND due <= :now ORDER BY due LIMIT :limit)
    UNION ALL
    SELECT _id FROM (SELECT _id FROM {_WAITING} = 2 AND due <= :now ORDER BY due LIMIT :limit)
    LIMIT :limit)
RETURNING {_COLUMNS}"""
CLAIM_SUSPECT = f"""
UPDATE {DELIVERIES} SET status = 2, taken = seq WHERE _id = (
    SELECT _id FROM {_SUSPECT} AND due <= :now ORDER BY priority, due LIMIT 1)
RETURNING {_COLUMNS}"""
CLAIM_ONE = f"UPDATE {DELIVERIES} SET status = 2, taken = seq WHERE _id = ? AND status < 2 RETURNING {_COLUMNS}"

NEXT_EDIT_DUE = f"SELECT min(due) FROM {_WAITING} = 0"
NEXT_REST_DUE = f"""
SELECT min(due) FROM (
    SELECT * FROM (SELECT due FROM {_WAITING} = 1 ORDER BY due LIMIT 1)
    UNION ALL
    SELECT * FROM (SELECT due FROM {_WAITING} = 2 ORDER BY due LIMIT 1))"""
SUSPECT_DUE = f"SELECT min(due) FROM {_SUSPECT}"

# What may probe a destination. Both look at the index only and never at more than :depth of its entries.
# The newest edit that never failed: failed ones have a later due time, so they are passed over.
NEWEST_UNTRIED_EDIT = f"""
SELECT _id, timestamp FROM (
    SELECT _id, timestamp, attempts FROM {_WAITING} = 0 AND due <= :now ORDER BY due DESC LIMIT :depth)
WHERE attempts = 0 LIMIT 1"""
OLDEST_UNTRIED = f"""
SELECT _id, timestamp FROM (
    SELECT _id, timestamp, attempts FROM {_WAITING} = :priority AND due <= :now ORDER BY due LIMIT :depth)
WHERE attempts = 0 LIMIT 1"""
# The delivery that has waited longest, whatever its priority.
LONGEST_WAITING = f"""
SELECT _id, min(due) FROM (
    SELECT * FROM (SELECT _id, due FROM {_WAITING} = 0 ORDER BY due LIMIT 1)
    UNION ALL
    SELECT * FROM (SELECT _id, due FROM {_WAITING} = 1 ORDER BY due LIMIT 1)
    UNION ALL
    SELECT * FROM (SELECT _id, due FROM {_WAITING} = 2 ORDER BY due LIMIT 1))"""

# The outcome

# Delivered, and nothing newer came in.
DONE = f"DELETE FROM {DELIVERIES} WHERE _id = ? AND status = 2 AND seq = taken"

# Delivered, and something newer came in, which becomes the next delivery.
START_LATER = f"""
UPDATE {DELIVERIES} SET status = 0, event = later_event, changed = later_changed, data = later_data,
    timestamp = later_at, due = later_due, suspect = 0,
    counted_attempts = 0, attempts = 0, not_found = 0, deaths = 0,
    later_event = NULL, later_changed = NULL, later_data = NULL, later_at = NULL, later_due = NULL
WHERE _id = ? AND status = 2 AND seq > taken"""

LATER = f"SELECT later_event, later_changed, later_data, later_due FROM {DELIVERIES} WHERE _id = ? AND status = 2"

# Not delivered: the delivery waits again, joined with what came in meanwhile. If an attempt has ended, the
# delivery doesn't kill the worker and is no suspect any more.
BACK = f"""
UPDATE {DELIVERIES} SET status = 0, suspect = suspect * :unended, deaths = deaths * :unended,
    event = :event, changed = :changed, data = :data, due = coalesce(:due, due),
    counted_attempts = :counted_attempts, attempts = :attempts, not_found = :not_found,
    later_event = NULL, later_changed = NULL, later_data = NULL, later_at = NULL, later_due = NULL
WHERE _id = :row_id"""

SUPERSEDED = f"SELECT seq > taken FROM {DELIVERIES} WHERE _id = ?"
REMOVE = f"DELETE FROM {DELIVERIES} WHERE _id = ?"

# What waits

GIVE_BACK = f"""
UPDATE {DELIVERIES} SET counted_attempts = max(counted_attempts - 1, 0)
WHERE destination = ? AND scene_id = ? AND status < 2"""
# Makes everything due that waits, or only what failed, of all destinations or of one.
MAKE_DUE = f"""
UPDATE {DELIVERIES} SET due = :now WHERE status < 2 AND due > :now
    AND (:destination IS NULL OR destination = :destination)
    AND (NOT :only_failed OR attempts > 0 AND not_found = 0)"""
SHIFT = f"UPDATE {DELIVERIES} SET due = due + ?1, later_due = later_due + ?1"
RENAME = f"UPDATE {DELIVERIES} SET destination = ? WHERE destination = ?"

WAITING = f"SELECT {_COLUMNS} FROM {DELIVERIES} WHERE destination = ? AND status < 2 LIMIT ?"
DISCARD = f"""
DELETE FROM {DELIVERIES} WHERE _id IN (
    SELECT _id FROM {DELIVERIES} WHERE destination = ? AND status < 2 LIMIT ?)"""

GENERATION = f"SELECT generation FROM {DELIVERIES} WHERE destination = ? AND scene_id = ?"
HOLDS = f"SELECT 1 FROM {DELIVERIES} WHERE destination = ? LIMIT 1"
ANY = f"SELECT 1 FROM {DELIVERIES} LIMIT 1"
COUNT = f"SELECT count(*) FROM {DELIVERIES}"
EVER_ADDED = f"SELECT seq FROM sqlite_sequence WHERE name = '{DELIVERIES}'"

REQUESTS = f"SELECT destination FROM {DELIVERIES} WHERE _id = ? AND status = 2"
# What waits, for people. It reads one index and no row, which takes a tenth of the time with a million rows.
BACKLOG = f"""
SELECT destination, sum(n), sum(retrying), sum(in_flight), min(oldest), min(due) FROM (
    SELECT destination, count(*) AS n, sum(attempts > 0) AS retrying, 0 AS in_flight, min(timestamp) AS oldest,
        min(due) AS due
    FROM {DELIVERIES} INDEXED BY deliveries_due WHERE status < 2 GROUP BY destination
    UNION ALL
    SELECT destination, 1, 0, 1, timestamp, due FROM {DELIVERIES} WHERE status = 2)
GROUP BY destination"""

FAILED = f"""
SELECT {_COLUMNS} FROM {DELIVERIES} INDEXED BY deliveries_due
WHERE destination = ? AND status < 2 AND attempts > 0 ORDER BY priority, due LIMIT 1"""

# The deliveries, per destination, that have an event from before a moment. Reads the same index.
BACKLOG_SINCE = f"""
SELECT destination, count(*) FROM (
    SELECT destination, timestamp FROM {DELIVERIES} INDEXED BY deliveries_due WHERE status < 2
    UNION ALL
    SELECT destination, timestamp FROM {DELIVERIES} WHERE status = 2)
WHERE timestamp <= ? GROUP BY destination"""
INBOX_COUNT_TO = f"SELECT count(*) FROM {INBOX} WHERE _id <= ?"

# After the worker died

IN_FLIGHT = f"SELECT {_COLUMNS} FROM {DELIVERIES} WHERE status = 2"
# Makes deliveries due whose due time is damaged, or later than anything waits, as after a wrong clock.
_TOO_LATE = "typeof(due) NOT IN ('real', 'integer') OR due > :latest"
RESET_DUE = f"""
UPDATE {DELIVERIES} SET due = CASE WHEN {_TOO_LATE} THEN :now ELSE due END,
    later_due = CASE WHEN later_due > :latest THEN :now ELSE later_due END
WHERE {_TOO_LATE} OR later_due > :latest"""
# One that the worker was sending. Its death counts if it was the only one. If there were others, a suspect is
# strongly suspect.
SUSPECT = f"""
UPDATE {DELIVERIES} SET deaths = deaths + :counts,
    suspect = CASE WHEN suspect = 0 THEN 1 WHEN :several THEN 2 ELSE suspect END
WHERE _id = :row_id AND status = 2"""
UNCLAIM = f"UPDATE {DELIVERIES} SET status = 0 WHERE _id = ?"

# The ledger

SENT_FIND = """
SELECT seq, updated_at, fetched_at, path, outcome, record, notes FROM sent
WHERE destination = ? AND scene_id = ?"""
# Stores how a delivery ended. What was sent and is filtered now stays "sent": its destroy must be sent too.
# A record stays until there is another. Notes are about the last delivery.
SENT_WRITE = """
INSERT INTO sent (destination, scene_id, seq, updated_at, fetched_at, path, outcome, record, notes)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (destination, scene_id) DO UPDATE SET
    seq = max(seq, excluded.seq), updated_at = excluded.updated_at, fetched_at = excluded.fetched_at,
    path = excluded.path, outcome = CASE excluded.outcome
        WHEN 'filtered' THEN CASE outcome WHEN 'sent' THEN 'sent' ELSE 'filtered' END
        ELSE excluded.outcome END,
    record = coalesce(excluded.record, record), notes = excluded.notes"""
SENT_FORGET = "DELETE FROM sent WHERE destination = ? AND scene_id = ?"
SENT_RENAME = "UPDATE OR REPLACE sent SET destination = ? WHERE destination = ?"
SENT_BETWEEN = """
SELECT scene_id FROM sent WHERE destination = ? AND scene_id > ? AND scene_id <= ? ORDER BY scene_id"""
SENT_ABSENT = """
SELECT scene_id FROM sent INDEXED BY sent_absent
WHERE outcome = 'absent' AND destination = ? AND scene_id > ? ORDER BY scene_id LIMIT ?"""
SENT_COUNT_ABSENT = """
SELECT destination, count(*) FROM sent INDEXED BY sent_absent WHERE outcome = 'absent' GROUP BY destination"""
SENT_COUNT_NOTES = """
SELECT destination, notes, count(*) FROM sent INDEXED BY sent_notes
WHERE notes IS NOT NULL GROUP BY destination, notes"""
SENT_NOTED = """
SELECT scene_id FROM sent INDEXED BY sent_notes WHERE destination = ? AND notes = ? ORDER BY scene_id LIMIT ?"""
SENT_NEXT_DESTINATION = "SELECT min(destination) FROM sent WHERE destination > ?"
SENT_DELETE = """
DELETE FROM sent
WHERE destination = ?1 AND scene_id IN (SELECT scene_id FROM sent WHERE destination = ?1 LIMIT ?2)"""
SENT_HIGHEST = "SELECT max(scene_id) FROM sent WHERE destination = ?"

# Receipts: the last outcome of each scene and destination

_RECEIPT = (
    *("destination", "scene_id", "at", "event", "event_at", "seq", "title", "path"),
    *("outcome", "reason", "changed", "seconds", "detail", "updated_at"),
)
_RECEIPT_COLUMNS = ", ".join(_RECEIPT)
# A replaced row gets a new, higher _id, so the newest outcomes have the highest.
RECEIPT_WRITE = f"""
INSERT OR REPLACE INTO receipts ({_RECEIPT_COLUMNS}, search) VALUES ({", ".join("?" * (len(_RECEIPT) + 1))})"""
RECEIPT_FIND = f"SELECT {_RECEIPT_COLUMNS} FROM receipts WHERE destination = ? AND scene_id = ?"
RECEIPT_NAMED = """
SELECT coalesce(r.title, ''), coalesce(nullif(r.path, ''), s.path, '') FROM (SELECT 1)
LEFT JOIN receipts r ON r.destination = ?1 AND r.scene_id = ?2
LEFT JOIN sent s ON s.destination = ?1 AND s.scene_id = ?2"""
RECEIPTS_PAGE = f"""
SELECT {_RECEIPT_COLUMNS} FROM receipts
WHERE (:destination IS NULL OR destination = :destination) AND scene_id IS NOT :without AND instr(search, :text)
ORDER BY _id DESC LIMIT :limit OFFSET :offset"""
RECEIPT_OF_EDIT = f"""
SELECT {_RECEIPT_COLUMNS} FROM receipts NOT INDEXED
WHERE destination = ? AND event_at >= ? AND seconds IS NOT NULL ORDER BY _id DESC LIMIT 1"""
RECEIPTS_COUNT = "SELECT count(*) FROM receipts"
RECEIPTS_FIRST = "SELECT _id FROM receipts ORDER BY _id LIMIT ?"
# Only the first ones are looked at. One with a time in the future stays until there are too many.
RECEIPTS_OLD = "SELECT _id FROM (SELECT _id, at FROM receipts ORDER BY _id LIMIT ?) WHERE at < ?"
RECEIPT_DELETE = "DELETE FROM receipts WHERE _id = ?"
RECEIPTS_RENAME = "UPDATE OR REPLACE receipts SET destination = ? WHERE destination = ?"
RECEIPTS_FORGET = """
DELETE FROM receipts WHERE _id IN (SELECT _id FROM receipts WHERE destination = ? LIMIT ?)"""

DELIVERED_ADD = """
INSERT INTO delivered (destination, bucket, scenes) VALUES (?, ?, ?)
ON CONFLICT (destination, bucket) DO UPDATE SET scenes = scenes + excluded.scenes"""
DELIVERED = """
SELECT destination, sum(scenes * (bucket > :hour)), sum(scenes) FROM delivered
WHERE bucket > :day AND bucket <= :now GROUP BY destination"""
DELIVERED_MOST = "SELECT max(scenes) FROM delivered WHERE destination = ? AND bucket > ?"
DELIVERED_OLD = "SELECT 1 FROM delivered WHERE bucket < ? LIMIT 1"
DELIVERED_PRUNE = "DELETE FROM delivered WHERE bucket < ?"
DELIVERED_RENAME = "UPDATE OR REPLACE delivered SET destination = ? WHERE destination = ?"
DELIVERED_FORGET = "DELETE FROM delivered WHERE destination = ?"

# Deliveries on their way, for people

_LIVE = f"SELECT {_COLUMNS}, status FROM"
LIVE_FIND = f"{_LIVE} {DELIVERIES} WHERE destination = ? AND scene_id = ?"
LIVE_COUNT = f"""
SELECT count(*) FROM {DELIVERIES} WHERE scene_id > 0 AND (:destination IS NULL OR destination = :destination)"""
LIVE_IN_FLIGHT = f"{_LIVE} {DELIVERIES} WHERE status = 2 AND scene_id > 0 LIMIT ?"
_LIVE_WAITING = f"""
{_LIVE} {DELIVERIES} INDEXED BY deliveries_due
WHERE status < 2 AND destination = :destination AND priority = :priority AND scene_id > 0"""
LIVE_LATER = f"{_LIVE_WAITING} AND due > :now ORDER BY due LIMIT :limit"
LIVE_DUE = f"{_LIVE_WAITING} AND due <= :now ORDER BY due DESC LIMIT :limit"
# Edits since a moment. None is due before it came.
_EDITED = "destination = :destination AND priority = 0 AND timestamp >= :since"
LIVE_EDITED = f"""
SELECT _id FROM {DELIVERIES} INDEXED BY deliveries_due WHERE status < 2 AND {_EDITED} AND due >= :since
UNION ALL
SELECT _id FROM {DELIVERIES} INDEXED BY deliveries_in_flight WHERE status = 2 AND {_EDITED}
LIMIT 1"""
LIVE_ROW = f"{_LIVE} {DELIVERIES} WHERE _id = ?"

# Notes between worker and buttons, and the destinations' states

CONTROL_GET = "SELECT value FROM control WHERE key = ?"
CONTROL_PUT = """
INSERT INTO control (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value"""
CONTROL_REMOVE = "DELETE FROM control WHERE key = ?"

STATES = "SELECT destination, state FROM destinations"
STATE_PUT = """
INSERT INTO destinations (destination, state) VALUES (?, ?)
ON CONFLICT (destination) DO UPDATE SET state = excluded.state"""
STATE_REMOVE = "DELETE FROM destinations WHERE destination = ?"
STATE_RENAME = "UPDATE OR REPLACE destinations SET destination = ? WHERE destination = ?"
