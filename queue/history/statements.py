"""The SQL of the ledger, the receipts and the counts of deliveries."""

from __future__ import annotations

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
SENT_NEXT_DESTINATION = "SELECT min(destination) FROM sent WHERE destination > CAST(? AS TEXT)"
SENT_DELETE = """
DELETE FROM sent
WHERE destination = ?1 AND scene_id IN (SELECT scene_id FROM sent WHERE destination = ?1 LIMIT ?2)"""
SENT_HIGHEST = "SELECT max(scene_id) FROM sent WHERE destination = ?"

# Receipts: the last outcome of each scene and destination

RECEIPT = (
    *("destination", "scene_id", "at", "event", "event_at", "seq", "title", "path"),
    *("outcome", "reason", "changed", "seconds", "detail", "updated_at"),
)
_RECEIPT_COLUMNS = ", ".join(RECEIPT)
# A replaced row gets a new, higher _id, so the newest outcomes have the highest.
RECEIPT_WRITE = f"""
INSERT OR REPLACE INTO receipts ({_RECEIPT_COLUMNS}, search) VALUES ({", ".join("?" * (len(RECEIPT) + 1))})"""
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
DELIVERED_FORGET = "DELETE FROM delivered WHERE destination = ?"
