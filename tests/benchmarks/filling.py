"""Fills the databases of a data folder in large transactions, with rows like those of the product."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

from stash_courier.queue import codec, control
from stash_courier.queue.dead_letters import rows as dlq_rows
from stash_courier.queue.dead_letters.dlq import DeadLetterQueue
from stash_courier.queue.deliveries import statements as sql
from stash_courier.queue.failures import DeliveryFailed, Failure
from stash_courier.queue.inbox import store
from stash_courier.queue.jobs import Attempt, Delivery, SceneEvent
from stash_courier.queue.search import search_text

FAR = 1_000_000_000  # lowest scene id of rows that are never delivered; no Stash here has such scenes
DAY = 86_400.0
AGE_DAYS = 20  # age of the oldest dead letter; below the retention, so that no worker purges it
ERRORS = (Failure.REFUSED, Failure.ITEM_REFUSED, Failure.FORBIDDEN, Failure.NOT_THERE_YET)


def deliveries(folder: Path, count: int, destination: str, *, first: int = FAR, due: float | None = None) -> None:
    """Inserts waiting deliveries, one per scene."""
    conn, gate = store.open_queue(str(folder), 10.0, patient=True)
    now = time.time()

    def rows() -> Iterator[dict[str, object]]:
        data = json.dumps(codec.facts(SceneEvent(1, 1, "update", (), now)))
        for number in range(count):
            at = now - count * 0.001 + number * 0.001
            yield {
                "destination": destination,
                "scene_id": first + number,
                "data": data,
                "at": at,
                "event": "update",
                "changed": "details title",
                "seq": number + 1,
                "due": at if due is None else due,
                "priority": 0,
                "generation": 0,
            }

    _write(conn, sql.ADD, rows())
    conn.close()
    os.close(gate)


def history(folder: Path, count: int, destination: str) -> None:
    """Inserts finished deliveries, of which only the row in the ledger remains."""
    conn, gate = store.open_queue(str(folder), 10.0, patient=True)
    now = time.time()
    statement = (
        "INSERT INTO sent (destination, scene_id, seq, updated_at, fetched_at, path, outcome) "
        "VALUES (:destination, :scene_id, :seq, '2026-01-05T10:00:00Z', :at, :path, 'sent')"
    )
    rows: Iterator[dict[str, object]] = (
        {
            "destination": destination,
            "scene_id": FAR + n,
            "seq": n,
            "at": now,
            "path": f"/media/films/{n % 10}/Film {n}.mp4",
        }
        for n in range(count)
    )
    _write(conn, statement, rows)
    conn.close()
    os.close(gate)


def pause(folder: Path) -> None:
    """Pauses deliveries; a worker still routes events."""
    conn, gate = store.open_queue(str(folder), 10.0, patient=True)
    control.put(conn, control.PAUSED, time.time())
    conn.close()
    os.close(gate)


def dead_letter(number: int, destination: str, now: float) -> tuple[Delivery, DeliveryFailed]:
    """A delivery that failed three times, and its last error."""
    error = DeliveryFailed(
        ERRORS[number % len(ERRORS)],
        f"the receiver refused scene {FAR + number} with HTTP status 422: title is not allowed here",
    )
    past = tuple(
        Attempt(now - 600 * n, "refused", "the receiver answered HTTP status 500", 500, '{"error": "try later"}')
        for n in (2, 1)
    )
    job = Delivery(
        row_id=number,
        destination=destination,
        scene_id=FAR + number,
        event="update",
        changed=("details", "title"),
        seq=number + 1,
        at=now - 1200,
        counted_attempts=3,
        attempts=3,
        history=past,
    )
    return job, error


def dead_letters(folder: Path, count: int, destination: str) -> None:
    """Inserts dead letters with times spread over AGE_DAYS; the values are those that ``add`` would write."""
    now = time.time()
    dlq = DeadLetterQueue(folder)
    made = dlq.add(*dead_letter(0, destination, now), retry_count=3)
    conn = dlq._open(create=True)
    assert conn is not None
    conn.execute("DELETE FROM dead_letters WHERE id = ?", (made,))
    samples = [values(number, destination, now) for number in range(len(ERRORS))]

    def rows() -> Iterator[dict[str, object]]:
        for number in range(count):
            yield {
                **samples[number % len(samples)],
                "job_id": f"msg_{number + 1}_{FAR + number}",
                "scene_id": FAR + number,
                "title": f"Film {number}",
                "path": (path := f"/media/films/{number % 100}/film {number}.mp4"),
                "search": search_text(f"Film {number}", path),
                "failed_at": now - AGE_DAYS * DAY * (count - number) / count,
                "seq": number + 1,
            }

    names = list(samples[0])
    _write(conn, f"INSERT INTO dead_letters ({', '.join(names)}) VALUES (:{', :'.join(names)})", rows())
    dlq.close()


def values(number: int, destination: str, now: float) -> dict[str, object]:
    """The columns that ``add`` writes for a dead letter."""
    try:
        job, error = dead_letter(number, destination, now)
        raise error
    except DeliveryFailed as failed:  # so that it has a traceback, as in a worker
        columns = {**dlq_rows.job_columns(job, ""), **dlq_rows.error_columns(failed, str)}
        columns |= {"title": "", "path": "", "search": "", "retry_count": 3, "failed_at": now}
        return {**columns, **dlq_rows.group_columns(columns)}


def _write(conn: sqlite3.Connection, statement: str, rows: Iterator[dict[str, object]]) -> None:
    conn.execute("PRAGMA synchronous = OFF")
    conn.execute("BEGIN IMMEDIATE")
    conn.executemany(statement, rows)
    conn.execute("COMMIT")
    conn.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
