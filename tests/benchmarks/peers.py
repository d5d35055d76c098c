"""The queues that ours is compared with: other projects' queues, and plain SQLite.

The other projects' queues run in an interpreter that has them installed (requirements/bench.txt) and are
controlled through a pipe: ``python -m tests.benchmarks.peers NAME FOLDER`` starts one. It imports nothing of ours.
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


class Peer(Protocol):
    """A queue. When a method returns, its changes are durable."""

    def fill(self, waiting: int, history: int) -> None:
        """Inserts waiting jobs, and whatever finished jobs leave behind; not measured."""

    def take(self, count: int) -> None:
        """Takes and finishes this many jobs."""


class AckQueue:
    """persist-queue's SQLiteAckQueue, unmodified. Finished jobs stay in its table until they are cleared."""

    def __init__(self, folder: str) -> None:
        import persistqueue  # noqa: PLC0415  # only installed in the peers' interpreter
        from persistqueue.serializers import json as serializer  # noqa: PLC0415

        self._queue = persistqueue.SQLiteAckQueue(folder, auto_resume=False, serializer=serializer)
        self._queue._putter.execute("PRAGMA synchronous = FULL")
        self._conn = self._queue._putter

    def fill(self, waiting: int, history: int) -> None:
        """Uses SQL; inserting jobs one by one would take minutes."""
        statement = "INSERT INTO ack_queue_default (data, timestamp, status) VALUES (?, ?, ?)"
        with self._conn:
            data, now = DATA.encode(), time.time()
            self._conn.executemany(statement, ((data, now, 5) for _ in range(history)))
            self._conn.executemany(statement, ((data, now, 0) for _ in range(waiting)))

    def take(self, count: int) -> None:
        """Calls get and ack."""
        for _ in range(count):
            self._queue.ack(self._queue.get(block=False))


class Huey:
    """huey's SqliteStorage with fsync. A job is removed when it is taken, before it is done."""

    def __init__(self, folder: str) -> None:
        from huey.storage import SqliteStorage  # noqa: PLC0415

        self._storage = SqliteStorage(filename=f"{folder}/huey.db", fsync=True)

    def fill(self, waiting: int, history: int) -> None:
        """Inserts jobs with SQL; there is no history."""
        with self._storage.db(commit=True) as cursor:
            cursor.executemany(
                "insert into task (queue, data, priority) values (?, ?, 0)",
                ((self._storage.name, DATA.encode()) for _ in range(waiting)),
            )

    def take(self, count: int) -> None:
        """Calls dequeue."""
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
        """Uses SQL."""
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
        """Calls pop and done."""
        for _ in range(count):
            self._queue.done(self._queue.pop().message_id)


class Raw:
    """SQLite in WAL mode with synchronous=FULL: a table, one statement to take a job and one to delete it."""

    def __init__(self, folder: str) -> None:
        self._conn = sqlite3.connect(f"{folder}/raw.db", isolation_level=None)
        self._conn.execute("PRAGMA journal_mode = WAL")
        self._conn.execute("PRAGMA synchronous = FULL")
        self._conn.executescript(
            "CREATE TABLE jobs (id INTEGER PRIMARY KEY, data BLOB, timestamp FLOAT, status INTEGER);"
            "CREATE INDEX waiting ON jobs (id) WHERE status = 0"
        )

    def fill(self, waiting: int, history: int) -> None:
        """Inserts jobs; finished ones are deleted, so there is no history."""
        self._conn.execute("BEGIN")
        self._conn.executemany(
            "INSERT INTO jobs (data, timestamp, status) VALUES (?, ?, 0)",
            ((DATA.encode(), time.time()) for _ in range(waiting)),
        )
        self._conn.execute("COMMIT")

    def take(self, count: int) -> None:
        """Runs UPDATE … RETURNING, then DELETE."""
        for _ in range(count):
            (job, _, _) = self._conn.execute(
                "UPDATE jobs SET status = 2 WHERE id = "
                "(SELECT id FROM jobs WHERE status = 0 ORDER BY id LIMIT 1) RETURNING id, data, timestamp"
            ).fetchone()
            self._conn.execute("DELETE FROM jobs WHERE id = ?", (job,))

    def put(self, count: int) -> None:
        """Runs INSERT."""
        data = DATA.encode()
        for _ in range(count):
            self._conn.execute("INSERT INTO jobs (data, timestamp, status) VALUES (?, ?, 0)", (data, time.time()))


PEERS: dict[str, Any] = {"persist-queue": AckQueue, "huey": Huey, "litequeue": LiteQueue}


def main() -> None:
    """Reads lines of JSON, [verb, arguments], and answers each with the seconds it took."""
    name, folder = sys.argv[1:]
    Path(folder).mkdir(parents=True, exist_ok=True)
    peer: Peer = PEERS[name](folder)
    for line in sys.stdin:
        verb, arguments = json.loads(line)
        began = time.perf_counter()
        getattr(peer, verb)(**arguments)
        sys.stdout.write(f"{time.perf_counter() - began!r}\n")
        sys.stdout.flush()
    sys.stdout.flush()
    os._exit(0)  # skip persist-queue's cleanup


if __name__ == "__main__":
    main()
