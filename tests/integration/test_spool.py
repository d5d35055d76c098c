"""Invariant 1: a hook that exited 0 has made its event durable, whatever state the queue is in."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import threading
from pathlib import Path

import pytest

from stash_courier.queue.deliveries.scene_queue import SceneQueue
from stash_courier.queue.inbox import files, locks, schema, store
from tests.support.durable import change, failed, inbox, run_hook, spooled


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder with one event in its queue."""
    run_hook(tmp_path, change(1))
    return tmp_path


def run_spooling_hook(data: Path) -> None:
    """Runs a hook that must put its event into the spool."""
    ran = run_hook(data, change(45, "destroy", path="/media/a.mp4"))
    assert (ran.returncode, json.loads(ran.stdout), ran.stderr) == (0, {"output": "queued"}, b"")
    (event,) = spooled(data)
    assert (event["scene"], event["event"], event["path"]) == (45, "destroy", "/media/a.mp4")
    assert list((data / files.SPOOL).glob("*.tmp")) == []
    assert (data / files.SPOOL).stat().st_mode & 0o777 == 0o700


def test_a_locked_queue_delays_no_hook(data: Path) -> None:
    """However long another holds the write lock, Stash waits only a moment and the event is kept."""
    with contextlib.closing(sqlite3.connect(data / files.QUEUE_DB, isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        run_spooling_hook(data)
    assert [row["scene"] for row in inbox(data)] == [1]


@pytest.mark.parametrize("content", [b"", b"no database at all" * 100, b"SQLite format 3\x00" + b"\xff" * 5000])
def test_a_damaged_queue_is_left_to_the_worker(data: Path, content: bytes) -> None:
    """If queue.db is damaged, the hook puts its event into the spool and doesn't change the file."""
    for file in data.glob("queue.db-*"):
        file.unlink()
    (data / files.QUEUE_DB).write_bytes(content)
    run_spooling_hook(data)
    assert (data / files.QUEUE_DB).read_bytes() == content


def test_a_newer_queue_is_left_alone(data: Path) -> None:
    """After a downgrade the newer queue.db isn't changed by a byte, and events go to the spool."""
    with contextlib.closing(sqlite3.connect(data / files.QUEUE_DB)) as conn:
        conn.execute(f"PRAGMA user_version = {schema.VERSION + 1}")
    before = (data / files.QUEUE_DB).read_bytes()
    run_spooling_hook(data)
    assert (data / files.QUEUE_DB).read_bytes() == before
    with pytest.raises(store.QueueUnavailable, match="install the newer plugin again"):
        SceneQueue(data)


def test_a_queue_that_is_being_replaced_is_not_opened(data: Path) -> None:
    """While the worker replaces queue.db, no event goes into the old file."""
    gate = locks.taken(str(data / files.GATE))
    assert gate is not None
    with contextlib.closing(sqlite3.connect(data / files.QUEUE_DB)) as conn:
        before = conn.execute("PRAGMA data_version").fetchone()
        run_spooling_hook(data)
        assert conn.execute("PRAGMA data_version").fetchone() == before
    os.close(gate)
    assert [row["scene"] for row in inbox(data)] == [1]


def test_an_open_queue_keeps_the_worker_from_replacing_it(data: Path) -> None:
    """As long as queue.db is open anywhere, the gate is shared and the worker can't replace the file."""
    conn, shared = store.open_queue(str(data), 0.1)
    assert locks.taken(str(data / files.GATE)) is None
    second = locks.taken(str(data / files.GATE), shared=True)
    assert second is not None
    os.close(second)
    conn.close()
    os.close(shared)
    alone = locks.taken(str(data / files.GATE))
    assert alone is not None
    os.close(alone)


def test_the_worker_waits_for_the_gate(data: Path) -> None:
    """A worker that starts while queue.db is being made or replaced waits for it."""
    gate = locks.taken(str(data / files.GATE))
    assert gate is not None
    timer = threading.Timer(0.2, os.close, [gate])
    timer.start()
    queue = SceneQueue(data)
    timer.join()
    assert queue.inbox_count() == 1
    queue.close()


def test_nowhere_to_keep_it_is_one_clear_line(data: Path) -> None:
    """If neither the queue nor the spool can be written, one sentence tells the owner to save the change again."""
    (data / files.SPOOL).write_text("a file in the folder's place")
    with contextlib.closing(sqlite3.connect(data / files.QUEUE_DB, isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        ran = run_hook(data, change(45))
    said = failed(ran.returncode, ran.stdout, ran.stderr)
    assert "could not be kept" in said
    assert "spool" in said
