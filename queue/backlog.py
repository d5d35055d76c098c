"""What waits in queue.db, for people. Read from a connection, so that a view needs no more than that."""

from __future__ import annotations

import sqlite3
from collections import Counter
from dataclasses import replace
from pathlib import Path

from stash_courier.queue import codec, marks
from stash_courier.queue import statements as sql
from stash_courier.queue.jobs import Attempt, Backlog, Delivery


def by_destination(conn: sqlite3.Connection, folder: Path) -> dict[str, Backlog]:
    """What waits, per destination. It reads a whole index, so it is for people and not for the loop."""
    # A thread that prepares a batch has marked all of it, for one request.
    sent = [conn.execute(sql.REQUESTS, (min(slot),)).fetchone() for slot in marks.read(folder)]
    requests = Counter(row[0] for row in sent if row is not None)
    rows = conn.execute(sql.BACKLOG)
    return {name: replace(Backlog(*facts), requests=requests[name]) for name, *facts in rows}


def failed(conn: sqlite3.Connection, destination: str) -> Attempt | None:
    """The last attempt of a delivery that waits there after a failure; of several the one that is due first."""
    row = conn.execute(sql.FAILED, (destination,)).fetchone()
    job = None if row is None else codec.delivery(row)
    return job.history[-1] if isinstance(job, Delivery) and job.history else None


def inbox_count(conn: sqlite3.Connection) -> int:
    """Events that are not routed yet."""
    return int(conn.execute(sql.INBOX_COUNT).fetchone()[0])
