"""A worker whose files were removed or replaced ends and touches nothing; the next one uses what is there."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from stash_courier.queue.inbox import files
from tests.standin.receivers import Receiver
from tests.support.harness import Courier, wait_until

pytestmark = [
    pytest.mark.check,
    pytest.mark.skipif(os.name == "nt", reason="a file in use can't be replaced on Windows"),
]


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


def restore(folder: Path) -> None:
    """Replaces queue.db by a backup of it."""
    with closing(sqlite3.connect(folder / files.QUEUE_DB)) as conn, closing(sqlite3.connect(folder / "b")) as copy:
        conn.backup(copy)
    for suffix in ("-wal", "-shm"):
        (folder / f"{files.QUEUE_DB}{suffix}").unlink(missing_ok=True)
    (folder / "b").replace(folder / files.QUEUE_DB)


KINDS: dict[str, Callable[[Path], object]] = {
    "the folder": shutil.rmtree,
    "the lock file": lambda folder: (folder / files.WORKER_LOCK).unlink(),
    "queue.db": lambda folder: (folder / files.QUEUE_DB).unlink(),
    "queue.db by a backup": restore,
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_worker_whose_files_are_gone_ends(courier: Courier, receiver: Receiver, kind: str) -> None:
    """It makes nothing again in a folder that is gone. The next edit is sent by the worker that comes next."""
    courier.stash.edit(1, title="Before")
    receiver.wait_for(1)
    pid = courier.worker_pid()
    KINDS[kind](courier.data)
    wait_until(lambda: not runs(pid) or "ending: replaced files" in courier.log(), 10.0)
    if kind in {"the folder", "the lock file"}:
        wait_until(lambda: not runs(pid), 10.0)
    assert courier.data.exists() == (kind != "the folder")
    courier.stash.edit(2, title="After")
    wait_until(lambda: "After" in [r.json()["data"]["title"] for r in receiver.received], 10.0)
    courier.drained()
    assert len(receiver.received) <= 3  # a delivery whose end is not in the file that is there now is repeated
