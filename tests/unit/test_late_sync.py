"""late_sync.py and store.put: a hook waits neither for the worker's disk nor longer than the lock is held."""

from __future__ import annotations

import errno
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from stash_courier.queue.deliveries import late_sync
from stash_courier.queue.deliveries.scene_queue import SceneQueue
from stash_courier.queue.inbox import files, store
from tests.support.durable import DEST, START, event

HELD_SECONDS = 0.14  # SQLite's own waiting looks after 128 and 178 ms
LATE_SECONDS = 0.02
EVENT = store.encode({"scene": 1, "event": "update", "changed": [], "at": START})

pytestmark = pytest.mark.skipif(os.name == "nt", reason="commits are synced by SQLite there")


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[SceneQueue]:
    """An empty queue."""
    with closing(SceneQueue(tmp_path)) as opened:
        yield opened


@pytest.fixture
def syncs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[int]:
    """At each late sync, how many events a hook finds in the inbox after it has put one there."""
    seen: list[int] = []

    def sync(fd: int) -> None:
        assert os.path.samestat(os.fstat(fd), (tmp_path / f"{files.QUEUE_DB}-wal").stat())
        store.put(str(tmp_path), EVENT, START)
        with closing(sqlite3.connect(tmp_path / files.QUEUE_DB)) as conn:
            seen.append(conn.execute("SELECT count(*) FROM ack_queue_inbox").fetchone()[0])
        os.fsync(fd)

    monkeypatch.setattr(late_sync, "_sync", sync)
    return seen


def test_a_hook_writes_while_the_worker_waits_for_the_disk(queue: SceneQueue, syncs: list[int]) -> None:
    """What was committed is synced before the transaction ends, and the write lock is free meanwhile."""
    queue.put_many([EVENT, EVENT])
    assert syncs == [3]


def test_sqlite_syncs_what_is_written_outside_of_a_transaction(queue: SceneQueue) -> None:
    """Outside of transactions, each statement is durable when it returns."""
    queue.put_many([EVENT])
    queue.route([event(1)], {DEST: 0.0})
    assert queue.claim(DEST, 1, START + 1e6, edits=True)
    assert queue.connection.execute("PRAGMA synchronous").fetchone() == (2,)


def test_a_disk_that_refuses_a_sync_loses_nothing(
    queue: SceneQueue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The caller hears of it, the log's content is in the database, and SQLite syncs from then on."""

    def refuse(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(late_sync, "_sync", refuse)
    with pytest.raises(sqlite3.OperationalError, match="can't be synced"):
        queue.put_many([EVENT])
    queue.put_many([EVENT])
    assert queue.inbox_count() == 2
    alone = tmp_path / "without-log.db"
    alone.write_bytes((tmp_path / files.QUEUE_DB).read_bytes())
    with closing(sqlite3.connect(alone)) as conn:
        assert conn.execute("SELECT count(*) FROM ack_queue_inbox").fetchone() == (1,)


def test_a_hook_writes_as_soon_as_the_lock_is_free(tmp_path: Path, queue: SceneQueue) -> None:
    """A busy machine may be late for other reasons, but not five times."""
    assert min(late(tmp_path, queue) for _ in range(5)) < LATE_SECONDS


def late(folder: Path, queue: SceneQueue) -> float:
    """Seconds from the release of the write lock until a hook that waited for it has put its event."""
    put_at = 0.0

    def put() -> None:
        nonlocal put_at
        store.put(str(folder), EVENT, START)
        put_at = time.monotonic()

    hook = threading.Thread(target=put)
    queue.connection.execute("BEGIN IMMEDIATE")
    hook.start()
    time.sleep(HELD_SECONDS)
    released_at = time.monotonic()
    queue.connection.execute("ROLLBACK")
    hook.join()
    return put_at - released_at
