"""queue/replaced.py, and the end of a worker whose data folder is gone: what waits goes on, nothing comes back."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from stash_courier.queue import repair, replaced
from stash_courier.queue.dead_letters.dlq import DeadLetterQueue
from stash_courier.queue.deliveries.scene_queue import SceneQueue
from stash_courier.queue.history import ledger, receipts
from stash_courier.queue.history.ledger import Sent
from stash_courier.queue.inbox import files, locks, schema, store
from stash_courier.queue.jobs import Delivery
from stash_courier.worker.runtime import Runtime
from tests.standin.receivers import Receiver
from tests.support.durable import DEST, START, change, event, inbox, run_hook, spooled
from tests.support.harness import Courier, wait_until
from tests.support.queue_driver import FAILED
from tests.support.transfers import ERROR

pytestmark = pytest.mark.skipif(os.name == "nt", reason="a file in use can't be replaced on Windows")


def encoded(scene: int) -> bytes:
    """An event as a hook encodes it."""
    return store.encode({"scene": scene, "event": "update", "changed": [], "at": START})


def backup(folder: Path, name: str = files.QUEUE_DB) -> Path:
    """A backup of a database as it is now."""
    copy = folder / "backup"
    with closing(sqlite3.connect(folder / name)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
    return copy


def route(queue: SceneQueue, scene: int, *changed: str) -> None:
    """Makes a delivery of a scene, with a new seq."""
    queue.route([event(scene, "update", *changed, seq=queue.next_seq())], dict.fromkeys([DEST], 0.0))


def taken_over(folder: Path, former: SceneQueue) -> SceneQueue:
    """Goes on with the file that is in the folder now, as the worker does."""
    replaced.keep(former.connection, folder / files.QUEUE_DB)
    former.close()
    repair.repair(folder)
    queue, dlq = SceneQueue(folder), DeadLetterQueue(folder)
    replaced.take_over(queue, dlq)
    dlq.close()
    return queue


def test_events_with_the_same_seq_are_all_kept(tmp_path: Path) -> None:
    """Events that came after the backup are added to it, behind its own, although the seqs are the same."""
    former = SceneQueue(tmp_path)
    former.put_many([encoded(1)])
    backup(tmp_path).replace(tmp_path / "restored")
    former.put_many([encoded(2), encoded(3)])
    last = former.newest_seq()
    (tmp_path / "restored").replace(tmp_path / files.QUEUE_DB)
    # As by a hook that came just then: it gets the seq that scene 2 has in the former file.
    for suffix in ("-wal", "-shm"):
        (tmp_path / f"queue.db{suffix}").rename(tmp_path / f"former{suffix}")
    with closing(sqlite3.connect(tmp_path / files.QUEUE_DB)) as conn, conn:
        conn.execute(schema.INSERT, (encoded(4), START))
    began = time.time_ns() // 1_000
    with closing(taken_over(tmp_path, former)) as queue:
        rows = inbox(tmp_path)
        assert [row["scene"] for row in rows] == [1, 4, 2, 3]
        assert queue.next_seq() > max(last, began)
    assert sorted(file.name for file in tmp_path.glob("queue.db*")) == ["queue.db"]


def test_of_two_deliveries_of_a_scene_the_newer_one_stays(tmp_path: Path) -> None:
    """The former file's deliveries keep their attempts, and the ledger's newer row wins."""
    former = SceneQueue(tmp_path)
    for scene in (1, 2):
        route(former, scene, "title")
    ledger.write(former.connection, Sent(DEST, 7, 1, "old", START, "/old", "sent"))
    ended = Delivery(7, DEST, 7, "update", (), 1, START)
    receipts.write(former.connection, receipts.of(ended, "same", START, ("Seven", "/old")))
    receipts.count(former.connection, {DEST: 1}, START)
    copy = backup(tmp_path)
    claimed = former.claim(DEST, 9, START * 2, edits=True)
    (delivery,) = (one for one in claimed if isinstance(one, Delivery) and one.scene_id == 1)
    with former.transaction():
        former.back(replace(delivery, counted_attempts=2, attempts=3), START, FAILED)
    route(former, 2, "details")
    route(former, 3, "title")
    ledger.write(former.connection, Sent(DEST, 7, 9, "new", START, "/new", "sent"))
    receipts.write(former.connection, receipts.of(replace(ended, seq=9), "delivered", START, ("Seven", "/new")))
    receipts.count(former.connection, {DEST: 1}, START)
    copy.replace(tmp_path / files.QUEUE_DB)
    with closing(taken_over(tmp_path, former)) as queue:
        queue.recover()
        claimed = [one for edits in (True, False) for one in queue.claim(DEST, 9, START * 2, edits=edits)]
        found = {one.scene_id: one for one in claimed if isinstance(one, Delivery)}
        assert sorted(found) == [1, 2, 3]
        assert (found[1].counted_attempts, found[1].attempts, found[1].history) == (2, 3, (FAILED,))
        assert found[2].changed == ("details", "title")
        sent = ledger.find(queue.connection, DEST, 7)
        assert sent is not None
        assert sent.path == "/new"
        assert [(one.outcome, one.path) for one in receipts.page(queue.connection, 9)[0]] == [
            ("delivered", "/new")
        ]
        assert receipts.delivered(queue.connection, START) == {DEST: (2, 2)}


@pytest.mark.parametrize("empty", [False, True], ids=["removed", "emptied"])
def test_a_worker_that_is_killed_in_between_loses_nothing(tmp_path: Path, empty: bool) -> None:
    """What was copied from the former file is added by the next worker, and the copy is deleted then."""
    former = SceneQueue(tmp_path)
    former.put_many([encoded(1)])
    (tmp_path / files.QUEUE_DB).unlink()
    replaced.keep(former.connection, tmp_path / files.QUEUE_DB)
    former.close()
    if empty:
        (tmp_path / files.QUEUE_DB).touch()
    (tmp_path / f"queue.db{replaced.FORMER}1{replaced.DRAFT}").write_bytes(b"half a copy")
    with Runtime(tmp_path):
        assert [row["scene"] for row in inbox(tmp_path)] == [1]
        assert not list(tmp_path.glob(f"*{replaced.FORMER}*"))


def test_dead_letters_are_joined_by_scene_and_destination(tmp_path: Path) -> None:
    """Of two dead letters of a scene the one that moved more often stays; all others are added."""
    dlq = DeadLetterQueue(tmp_path)
    first = Delivery(1, DEST, 1, "update", ("title",), 1, START)
    dlq.add(first, ERROR, 1)
    copy = backup(tmp_path, files.DLQ_DB)
    dlq.add(replace(first, seq=5, generation=3), ERROR, 4)
    dlq.add(replace(first, scene_id=2), ERROR, 1)
    copy.replace(tmp_path / files.DLQ_DB)
    assert dlq.moved
    replaced.keep(dlq.opened(), tmp_path / files.DLQ_DB)
    dlq.close()
    with closing(sqlite3.connect(tmp_path / files.DLQ_DB)) as conn, conn:
        conn.execute("UPDATE dead_letters SET title = 'restored'")
    with closing(SceneQueue(tmp_path)) as queue:
        replaced.take_over(queue, dlq)
    assert sorted((one.scene_id, one.retry_count) for one in dlq.get_recent()) == [(1, 4), (2, 1)]
    assert dlq.get_count() == 2
    dlq.close()


def test_a_hook_opens_no_file_but_the_one_that_the_worker_has_open(tmp_path: Path) -> None:
    """While the worker has the former file open, hooks spool. Without a worker they use what is there."""
    run_hook(tmp_path, change(1))
    copy = backup(tmp_path)
    store.admit(str(tmp_path), files.identity(tmp_path / files.QUEUE_DB))
    copy.replace(tmp_path / files.QUEUE_DB)
    worker = locks.taken(str(tmp_path / files.WORKER_LOCK))
    assert worker is not None
    assert run_hook(tmp_path, change(2)).returncode == 0
    assert [row["scene"] for row in spooled(tmp_path)] == [2]
    os.close(worker)
    assert run_hook(tmp_path, change(3)).returncode == 0
    assert [row["scene"] for row in inbox(tmp_path)] == [1, 3]


def test_an_event_whose_file_was_replaced_meanwhile_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If queue.db is another one after the commit than before, the event goes to the spool."""
    store.put(str(tmp_path), encoded(1), START)
    connect = store.connect

    def opened(path: str, busy_seconds: float, version: int | None = None) -> sqlite3.Connection:
        conn = connect(path, busy_seconds, version)
        backup(tmp_path).replace(path)
        return conn

    monkeypatch.setattr(store, "connect", opened)
    with pytest.raises(store.QueueUnavailable, match="is being replaced"):
        store.put(str(tmp_path), encoded(2), START)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running


@pytest.fixture
def courier(tmp_path: Path, receiver: Receiver) -> Iterator[Courier]:
    with Courier(tmp_path, {"webhook_url": f"{receiver.url}/hook", "worker_sweep_off": True}) as running:
        yield running


def runs(pid: int) -> bool:
    """Whether a process runs; a zombie doesn't."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


@pytest.mark.parametrize("what", ["folder", "folder, slowly", "lock"])
def test_a_worker_ends_when_its_folder_or_lock_file_is_deleted(
    courier: Courier, receiver: Receiver, what: str
) -> None:
    """It ends within seconds and makes nothing again. The next edit starts another one, which sends it once."""
    courier.stash.edit(1, title="Before")
    receiver.wait_for(1)
    pid = courier.worker_pid()
    try:
        if what == "lock":
            (courier.data / files.WORKER_LOCK).unlink()
        else:
            if "slowly" in what:
                (courier.data / files.QUEUE_DB).unlink()
                time.sleep(0.3)  # what a deletion of many files may take
            shutil.rmtree(courier.data)
        wait_until(lambda: not runs(pid), 5.0)
    finally:
        if runs(pid):
            os.kill(pid, signal.SIGKILL)
    assert courier.data.exists() == (what == "lock")
    assert not (courier.data / files.WORKER_LOCK).exists()
    courier.stash.edit(2, title="After")
    receiver.wait_for(2)
    courier.drained()
    assert [r.json()["data"]["title"] for r in receiver.received] == ["Before", "After"]
