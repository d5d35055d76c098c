"""Receipts: what became of each scene's last delivery to each destination, for people.

They are written in the transaction that ends the delivery, on the queue's connection, and kept for seven days, at
most 20,000 of them. Beside them are counts of what each destination took in the last day.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from stash_courier.queue import codec
from stash_courier.queue.history import statements as sql
from stash_courier.queue.jobs import BULK, EDIT, CorruptRow, Delivery, stem
from stash_courier.queue.search import folded, search_text

KEPT_SECONDS = 7 * 86_400.0
MOST = 20_000
DELETED_ROWS = 1000  # in one transaction
LONGEST_DETAIL = 4096  # bytes of JSON
LONGEST_TITLE, LONGEST_PATH = 300, 4096  # characters
LONGEST_CHANGED, LONGEST_LINK = 1000, 1000
LONGEST_VALUE = 200  # of a field before or after
LONGEST_SENTENCE = 500
BUCKET_SECONDS, HOUR_BUCKETS, DAY_BUCKETS, KEPT_BUCKETS = 300, 12, 288, 300

# delivered: written there · same: nothing differed · filtered: a filter excludes it, or the destination · absent:
# skipped, not on the server · locked: its owner locked the item there · version: its file is a version or part of
# another item · deleted: its deletion was sent, or Stash no longer has it · digest: in one message with others ·
# dead: a dead letter
Code = Literal["delivered", "same", "filtered", "absent", "locked", "version", "deleted", "digest", "dead"]
WRITTEN: tuple[Code, ...] = ("delivered", "deleted", "digest")  # what counts as delivered

Names = tuple[str, str]  # a scene's title and path; "" if it isn't known
Changed = tuple[str, str | None, str]  # a field; its value before, None if that isn't known; its value after


@dataclass(frozen=True, slots=True)
class Detail:
    """What a delivery changed, and what it left alone."""

    changes: tuple[Changed, ...] = ()
    left: tuple[str, ...] = ()  # sentences
    link: str = ""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a scene's last delivery to a destination."""

    destination: str
    scene_id: int
    at: float  # wall time of the outcome, unix seconds
    event: str
    event_at: float  # wall time of the first event that it covers
    seq: int  # newest event that it covers
    title: str
    path: str  # as Stash sees it
    outcome: str  # a Code, unless a later version wrote it
    reason: str = ""  # a sentence: why it was not sent
    changed: tuple[str, ...] = ()  # field names that the hook told
    seconds: float | None = None  # from the edit to the outcome; None: it was no edit
    detail: Detail = Detail()
    updated_at: str = ""  # dead only: the scene's as Stash wrote it; "" if it isn't known


def of(
    delivery: Delivery,
    outcome: Code,
    at: float,
    names: Names,
    *,
    reason: str = "",
    detail: Detail = Detail(),  # it is frozen
    updated_at: str = "",
) -> Receipt:
    """The receipt of a delivery that ended at a wall time. A title or path that is "" is that of the last one."""
    title, path = names
    return Receipt(
        destination=delivery.destination,
        scene_id=delivery.scene_id,
        at=at,
        event=delivery.event,
        event_at=delivery.at,
        seq=delivery.seq,
        title=title,
        path=path or delivery.path,
        outcome=outcome,
        reason=reason,
        changed=delivery.changed,
        seconds=max(at - delivery.at, 0.0) if delivery.priority == EDIT else None,
        detail=detail,
        updated_at=updated_at,
    )


def write_dead(
    conn: sqlite3.Connection,
    job: Delivery | CorruptRow,
    at: float,
    reason: str,
    *,
    names: Names,
    updated_at: str = "",
) -> None:
    """Notes that a delivery, or a row that can't be decoded, became a dead letter. A notice gets no receipt."""
    if job.scene_id <= 0 or not job.destination:
        return
    if isinstance(job, CorruptRow):
        job = Delivery(job.seq, job.destination, job.scene_id, "update", (), 0, at, priority=BULK)
    write(conn, of(job, "dead", at, names, reason=reason, updated_at=updated_at))


def write(conn: sqlite3.Connection, receipt: Receipt) -> None:
    """Writes a receipt in place of the scene's last one. Within a transaction."""
    title, path = receipt.title, receipt.path
    if not title or not path:
        last = conn.execute(sql.RECEIPT_NAMED, (receipt.destination, receipt.scene_id)).fetchone()
        last_title, last_path = map(codec.as_text, last)
        path = path or last_path
        title = title or last_title or stem(path)
    title, path = clipped(title, LONGEST_TITLE), clipped(path, LONGEST_PATH)
    conn.execute(
        sql.RECEIPT_WRITE,
        (
            *(receipt.destination, receipt.scene_id, receipt.at, receipt.event, receipt.event_at, receipt.seq),
            *(title, path, receipt.outcome, clipped(receipt.reason, LONGEST_SENTENCE)),
            *(" ".join(receipt.changed)[:LONGEST_CHANGED], receipt.seconds, encoded(receipt.detail)),
            *(codec.storable(receipt.updated_at), search_text(title, path)),
        ),
    )


def encoded(detail: Detail) -> str | None:
    """A detail as it is stored: JSON of at most 4 KB, None if nothing is in it. What doesn't fit is left out."""
    if not (detail.changes or detail.left or detail.link):
        return None
    changes = [
        [
            clipped(field, LONGEST_VALUE),
            None if before is None else clipped(before, LONGEST_VALUE),
            clipped(after, LONGEST_VALUE),
        ]
        for field, before, after in detail.changes
    ]
    left = [clipped(sentence, LONGEST_SENTENCE) for sentence in detail.left]
    link = codec.storable(detail.link)
    stored: dict[str, Any] = {"link": link if len(link) <= LONGEST_LINK else "", "left": left, "changes": changes}
    more = 0
    while len(text := json.dumps(stored, ensure_ascii=False)) * 4 > LONGEST_DETAIL and (
        len(text.encode()) > LONGEST_DETAIL
    ):
        if changes:
            changes.pop()
            more += 1
            stored["left"] = [*left, f"Changed too, but too much for this receipt: {more} more fields."]
        else:
            left.pop()
            stored["left"] = left
    return text


def clipped(given: str, length: int) -> str:
    """A text as SQLite accepts it, of at most this many characters."""
    given = codec.storable(given)
    return given if len(given) <= length else given[: length - 1] + "…"


# Reading. A damaged row is left out.


def find(conn: sqlite3.Connection, destination: str, scene_id: int) -> Receipt | None:
    """The receipt of a scene; None if there is none."""
    row = conn.execute(sql.RECEIPT_FIND, (destination, scene_id)).fetchone()
    return None if row is None else _read(row)


def page(
    conn: sqlite3.Connection,
    limit: int,
    offset: int = 0,
    *,
    search: str = "",
    destination: str | None = None,
    without: int | None = None,
) -> tuple[list[Receipt], bool]:
    """Receipts, newest first, and whether there are more; of one destination, or of all.

    ``search`` is a part of the title or the path, in upper or lower case. ``without`` is a scene to leave out.
    """
    values = {"destination": destination, "without": without, "text": folded(codec.storable(search))}
    rows = conn.execute(sql.RECEIPTS_PAGE, {**values, "limit": limit + 1, "offset": offset}).fetchall()
    read = map(_read, rows[:limit])
    return [receipt for receipt in read if receipt is not None], len(rows) > limit


def of_edit(conn: sqlite3.Connection, destination: str, since: float) -> Receipt | None:
    """The newest receipt of an edit that came at or after a wall time."""
    row = conn.execute(sql.RECEIPT_OF_EDIT, (destination, since)).fetchone()
    return None if row is None else _read(row)


def _read(row: Sequence[Any]) -> Receipt | None:
    """A row with the columns ``RECEIPT``; None if it can't be decoded."""
    columns = dict(zip(sql.RECEIPT, row, strict=True))
    try:
        changed = tuple(columns["changed"].split())
        return Receipt(**{**columns, "changed": changed, "detail": _detail(columns["detail"])})
    except (AttributeError, ValueError, LookupError, TypeError, RecursionError):
        return None


def _detail(stored: str | None) -> Detail:
    if stored is None:
        return Detail()
    fields = json.loads(stored)
    return Detail(tuple(map(tuple, fields["changes"])), tuple(fields["left"]), fields["link"])


# Housekeeping


def surplus(conn: sqlite3.Connection, now: float) -> list[int]:
    """Rows to delete next: what is too old at a wall time, and the oldest if there are too many.

    The cost is bound by the number of rows that are kept.
    """
    too_many = conn.execute(sql.RECEIPTS_COUNT).fetchone()[0] - MOST
    if too_many > 0:
        return [row_id for (row_id,) in conn.execute(sql.RECEIPTS_FIRST, (min(too_many, DELETED_ROWS),))]
    return [row_id for (row_id,) in conn.execute(sql.RECEIPTS_OLD, (DELETED_ROWS, now - KEPT_SECONDS))]


def delete(conn: sqlite3.Connection, row_ids: Sequence[int]) -> None:
    """Deletes rows that ``surplus`` found. Within a transaction."""
    conn.executemany(sql.RECEIPT_DELETE, ((row_id,) for row_id in row_ids))


def forget(conn: sqlite3.Connection, destination: str) -> None:
    """Deletes a destination's receipts and counts, some at a time, so that others can write."""
    while conn.execute(sql.RECEIPTS_FORGET, (destination, DELETED_ROWS)).rowcount:
        pass
    conn.execute(sql.DELIVERED_FORGET, (destination,))


# Counts


def count(conn: sqlite3.Connection, scenes: Mapping[str, int], at: float) -> None:
    """Counts how many scenes destinations took at a wall time. Within a transaction."""
    bucket = int(at // BUCKET_SECONDS)
    conn.executemany(sql.DELIVERED_ADD, ((name, bucket, number) for name, number in scenes.items()))


def delivered(conn: sqlite3.Connection, now: float) -> dict[str, tuple[int, int]]:
    """How many scenes each destination took in the last hour and in the last day, to five minutes."""
    bucket = int(now // BUCKET_SECONDS)
    values = {"hour": bucket - HOUR_BUCKETS, "day": bucket - DAY_BUCKETS, "now": bucket}
    return {name: (hour, day) for name, hour, day in conn.execute(sql.DELIVERED, values)}


def rate(conn: sqlite3.Connection, destination: str, now: float) -> float:
    """How many scenes a second a destination took in its busiest five minutes of the last day; 0.0 if none."""
    day = int(now // BUCKET_SECONDS) - DAY_BUCKETS
    most = conn.execute(sql.DELIVERED_MOST, (destination, day)).fetchone()[0]
    return (most or 0) / BUCKET_SECONDS


def drop_counts(conn: sqlite3.Connection, now: float) -> None:
    """Deletes counts that are older than a day, if there are any."""
    oldest = int(now // BUCKET_SECONDS) - KEPT_BUCKETS
    if conn.execute(sql.DELIVERED_OLD, (oldest,)).fetchone() is not None:
        conn.execute(sql.DELIVERED_PRUNE, (oldest,))
