"""Queues that compete, each as ``Contestant``: ours, those of others, and SQLite with nothing around it.

Others run in an interpreter that has them installed (requirements/bench.txt), and are asked over a pipe:
``python -m tests.benchmarks.contestants NAME FOLDER`` is one, and imports nothing of ours but itself.
"""

from __future__ import annotations

import json
import os
import sqlite3
import sys
import time
from pathlib import Path
from typing import Any, Protocol

DATA = json.dumps({"scene": 123456, "event": "update", "changed": ["details", "title"], "at": 1767600000.123456})


class Contestant(Protocol):
    """A queue. What a method does is durable when it returns."""

    def fill(self, waiting: int, history: int) -> None:
        """Puts so many jobs, and leaves what so many finished ones leave; without counting time."""

    def take(self, count: int) -> None:
        """Takes and finishes so many jobs."""


class AckQueue:
    """persist-queue's SQLiteAckQueue as it is. Finished jobs stay in its table until they are cleared."""

    def __init__(self, folder: str) -> None:
        import persistqueue  # noqa: PLC0415  # only where it is installed
        from persistqueue.serializers import json as serializer  # noqa: PLC0415

        self._queue = persistqueue.SQLiteAckQueue(folder, auto_resume=False, serializer=serializer)
        self._queue._putter.execute("PRAGMA synchronous = FULL")
        self._conn = self._queue._putter

    def fill(self, waiting: int, history: int) -> None:
        """By SQL: one at a time would take minutes."""
        statement = "INSERT INTO ack_queue_default (data, timestamp, status) VALUES (?, ?, ?)"
        with self._conn:
            data, now = DATA.encode(), time.time()
            self._conn.executemany(statement, ((data, now, 5) for _ in range(history)))
            self._conn.executemany(statement, ((data, now, 0) for _ in range(waiting)))

    def take(self, count: int) -> None:
        """get and ack."""
        for _ in range(count):
            self._queue.ack(self._queue.get(block=False))


class Huey:
    """huey's SqliteStorage with fsync. A job is gone once it is taken, before it is done, and leaves nothing."""

    def __init__(self, folder: str) -> None:
        from huey.storage import SqliteStorage  # noqa: PLC0415

        self._storage = SqliteStorage(filename=f"{folder}/huey.db", fsync=True)

    def fill(self, waiting: int, history: int) -> None:
        """Jobs by SQL; a history there is none."""
        with self._storage.db(commit=True) as cursor:
            cursor.executemany(
                "insert into task (queue, data, priority) values (?, ?, 0)",
                ((self._storage.name, DATA.encode()) for _ in range(waiting)),
            )

    def take(self, count: int) -> None:
        """dequeue."""
        for _ in range(count):
            assert self._storage.dequeue() is not None


class LiteQueue:
    """litequeue with synchronous=FULL. Finished jobs stay until they are pruned."""

    def __init__(self, folder: str) -> None:
        import litequeue  # noqa: PLC0415

        self._queue = litequeue.LiteQueue(f"{folder}/lite.db")
        self._queue.conn.execute("PRAGMA synchronous = FULL")
        self._uuid = litequeue.uuid7

    def fill(self, waiting: int, history: int) -> None:
        """By SQL."""
        with self._queue.transaction():
            self._queue.conn.executemany(
                f"INSERT INTO {self._queue.table} (data, message_id, status, in_time) VALUES (?, ?, ?, ?)",
                (
                    (DATA, str(self._uuid()), status, time.time_ns())
                    for status, rows in ((2, history), (0, waiting))
                    for _ in range(rows)
                ),
            )

    def take(self, count: int) -> None:
        """pop and done."""
        for _ in range(count):
            self._queue.done(self._queue.pop().message_id)


class Raw:
    """SQLite in WAL mode with synchronous=FULL: a table of jobs, one statement to take one, one to delete it."""

    def __init__(self, folder: str) -> None:
        self._conn = sqlite3.connect(f"{folder}/raw.db", isolation_level=None)
        self._conn.execute("PRAGMA journal_mode = WAL")
        self._conn.execute("PRAGMA synchronous = FULL")
        self._conn.executescript(
            "CREATE TABLE jobs (id INTEGER PRIMARY KEY, data BLOB, timestamp FLOAT, status INTEGER);"
            "CREATE INDEX waiting ON jobs (id) WHERE status = 0"
        )

    def fill(self, waiting: int, history: int) -> None:
        """What is done is deleted, so there is no history."""
        self._conn.execute("BEGIN")
        self._conn.executemany(
            "INSERT INTO jobs (data, timestamp, status) VALUES (?, ?, 0)",
            ((DATA.encode(), time.time()) for _ in range(waiting)),
        )
        self._conn.execute("COMMIT")

    def take(self, count: int) -> None:
        """UPDATE … RETURNING, DELETE."""
        for _ in range(count):
            (job, _, _) = self._conn.execute(
                "UPDATE jobs SET status = 2 WHERE id = "
                "(SELECT id FROM jobs WHERE status = 0 ORDER BY id LIMIT 1) RETURNING id, data, timestamp"
            ).fetchone()
            self._conn.execute("DELETE FROM jobs WHERE id = ?", (job,))

    def put(self, count: int) -> None:
        """INSERT."""
        data = DATA.encode()
        for _ in range(count):
            self._conn.execute("INSERT INTO jobs (data, timestamp, status) VALUES (?, ?, 0)", (data, time.time()))

    def checkpoint(self) -> None:
        """Moves the log into the file."""
        self._conn.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()


OTHERS: dict[str, Any] = {"persist-queue": AckQueue, "huey": Huey, "litequeue": LiteQueue}


def main() -> None:
    """Answers lines of JSON, [verb, arguments]; ``take`` is answered with the seconds it took."""
    name, folder = sys.argv[1:]
    Path(folder).mkdir(parents=True, exist_ok=True)
    contestant: Contestant = OTHERS[name](folder)
    for line in sys.stdin:
        verb, arguments = json.loads(line)
        began = time.perf_counter()
        getattr(contestant, verb)(**arguments)
        sys.stdout.write(f"{time.perf_counter() - began!r}\n")
        sys.stdout.flush()
    sys.stdout.flush()
    os._exit(0)  # without persist-queue's clean-up


if __name__ == "__main__":
    main()
