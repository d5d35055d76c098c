"""The SQL of the inbox and of deliveries, except the hook's INSERT, which is in schema.py with the tables."""

from __future__ import annotations

from stash_courier.queue.codec import DELIVERY_COLUMNS
from stash_courier.queue.inbox.schema import DELIVERIES, INBOX

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
    CAST(CASE WHEN status = 2 THEN later_due WHEN attempts = 0 THEN due END AS REAL),
    CAST(generation AS INTEGER)
FROM {DELIVERIES} WHERE destination = ? AND scene_id = ?"""

# The first event of a scene becomes a delivery.
ADD = f"""
INSERT INTO {DELIVERIES} (status, destination, scene_id, data, timestamp, event, changed, seq, due, priority,
    generation)
VALUES (0, :destination, :scene_id, :data, :at, :event, :changed, :seq, :due, :priority, :generation)"""

# A newer event joins a delivery that waits. The counts start again, but only an edit ends the count of deaths.
JOIN_WAITING = f"""
UPDATE {DELIVERIES} SET event = :event, changed = :changed, data = :data, seq = max(seq, :seq), due = :due,
    priority = min(priority, :priority), generation = :generation,
    counted_attempts = 0, attempts = 0, not_found = 0,
    deaths = deaths * (:priority > 0)
WHERE _id = :row_id"""

# A newer event arrives during a delivery and is kept beside it until the outcome is known. The row's seq must
# grow whatever the event's is, or the outcome would remove the newer event too.
JOIN_IN_FLIGHT = f"""
UPDATE {DELIVERIES} SET later_event = :event, later_changed = :changed, later_data = :data,
    later_at = coalesce(later_at, :at), later_due = :due, seq = max(seq + 1, :seq),
    priority = min(priority, :priority), generation = :generation
WHERE _id = :row_id"""

# Claiming. Each priority is a range of its own in the partial index deliveries_due. What has a count of deaths is
# claimed by itself, the fewest deaths first.

_WAITING = f"{DELIVERIES} WHERE destination = :destination AND status < 2 AND deaths = 0 AND priority"
_COUNTED = f"""
{DELIVERIES} INDEXED BY deliveries_due WHERE status < 2 AND destination = :destination AND deaths > 0"""

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
CLAIM_COUNTED = f"""
UPDATE {DELIVERIES} SET status = 2, taken = seq WHERE _id IN (
    SELECT _id FROM {_COUNTED} ORDER BY deaths, priority, due LIMIT :limit)
RETURNING {_COLUMNS}"""
CLAIM_ONE = f"UPDATE {DELIVERIES} SET status = 2, taken = seq WHERE _id = ? AND status < 2 RETURNING {_COLUMNS}"

NEXT_EDIT_DUE = f"SELECT min(due) FROM {_WAITING} = 0"
NEXT_REST_DUE = f"""
SELECT min(due) FROM (
    SELECT * FROM (SELECT due FROM {_WAITING} = 1 ORDER BY due LIMIT 1)
    UNION ALL
    SELECT * FROM (SELECT due FROM {_WAITING} = 2 ORDER BY due LIMIT 1))"""
# A damaged count is higher than any number, and counts as one.
FEWEST_DEATHS = f"SELECT max(CAST(deaths AS INTEGER), 1) FROM {_COUNTED} ORDER BY deaths LIMIT 1"

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
    timestamp = later_at, due = later_due,
    counted_attempts = 0, attempts = 0, not_found = 0, deaths = 0,
    later_event = NULL, later_changed = NULL, later_data = NULL, later_at = NULL, later_due = NULL
WHERE _id = ? AND status = 2 AND seq > taken"""

LATER = f"SELECT later_event, later_changed, later_data, later_due FROM {DELIVERIES} WHERE _id = ? AND status = 2"

# Not delivered: the delivery waits again, joined with what came in meanwhile. If an attempt has ended, the
# delivery doesn't kill the worker, so its deaths count no longer.
BACK = f"""
UPDATE {DELIVERIES} SET status = 0, deaths = deaths * :unended,
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

WAITING = f"SELECT {_COLUMNS} FROM {DELIVERIES} WHERE destination = ? AND status < 2 LIMIT ?"
DISCARD = f"""
DELETE FROM {DELIVERIES} WHERE _id IN (
    SELECT _id FROM {DELIVERIES} WHERE destination = ? AND status < 2 LIMIT ?)"""

GENERATION = f"SELECT generation FROM {DELIVERIES} WHERE destination = ? AND scene_id = ?"
HOLDS = f"SELECT 1 FROM {DELIVERIES} WHERE destination = ? LIMIT 1"
ANY = f"SELECT 1 FROM {DELIVERIES} LIMIT 1"
COUNT = f"SELECT count(*) FROM {DELIVERIES}"
EVER_ADDED = f"SELECT seq FROM sqlite_sequence WHERE name = '{DELIVERIES}'"

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
WHERE destination = ? AND status < 2 AND attempts > 0 ORDER BY deaths, priority, due LIMIT 1"""

# After the worker died

IN_FLIGHT = f"SELECT {_COLUMNS} FROM {DELIVERIES} WHERE status = 2"
# Makes deliveries due whose due time is damaged, or later than anything waits, as after a wrong clock.
_TOO_LATE = "typeof(due) NOT IN ('real', 'integer') OR due > :latest"
RESET_DUE = f"""
UPDATE {DELIVERIES} SET due = CASE WHEN {_TOO_LATE} THEN :now ELSE due END,
    later_due = CASE WHEN later_due > :latest THEN :now ELSE later_due END
WHERE {_TOO_LATE} OR later_due > :latest"""
COUNT_DEATH = f"UPDATE {DELIVERIES} SET deaths = deaths + 1 WHERE status = 2"
UNCLAIM = f"UPDATE {DELIVERIES} SET status = 0 WHERE _id = ?"

# Deliveries on their way, for people

_LIVE = f"SELECT {_COLUMNS}, status FROM"
LIVE_FIND = f"{_LIVE} {DELIVERIES} WHERE destination = ? AND scene_id = ?"
LIVE_COUNT = f"""
SELECT count(*) FROM {DELIVERIES} WHERE scene_id > 0 AND (:destination IS NULL OR destination = :destination)"""
LIVE_IN_FLIGHT = f"{_LIVE} {DELIVERIES} WHERE status = 2 AND scene_id > 0 LIMIT ?"
_LIVE_WAITING = f"""
{_LIVE} {DELIVERIES} INDEXED BY deliveries_due
WHERE status < 2 AND destination = :destination AND deaths = 0 AND priority = :priority AND scene_id > 0"""
LIVE_LATER = f"{_LIVE_WAITING} AND due > :now ORDER BY due LIMIT :limit"
LIVE_DUE = f"{_LIVE_WAITING} AND due <= :now ORDER BY due DESC LIMIT :limit"
LIVE_COUNTED = f"{_LIVE} {_COUNTED} AND scene_id > 0 LIMIT :limit"
# Edits since a moment. None is due before it came.
_EDITED = "destination = :destination AND priority = 0 AND timestamp >= :since"
LIVE_EDITED = f"""
SELECT _id FROM {DELIVERIES} INDEXED BY deliveries_due WHERE status < 2 AND deaths = 0 AND {_EDITED}
    AND due >= :since
UNION ALL
SELECT _id FROM {DELIVERIES} INDEXED BY deliveries_in_flight WHERE status = 2 AND {_EDITED}
LIMIT 1"""
LIVE_ROW = f"{_LIVE} {DELIVERIES} WHERE _id = ?"
