"""queue/deliveries/marks.py: what the worker's threads are working on survives a kill, and nothing else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path

from stash_courier.queue.deliveries import marks
from stash_courier.queue.deliveries.marks import SLOT_ROWS, Marks
from stash_courier.queue.inbox import files
from stash_courier.queue.jobs import Delivery, Scene
from stash_courier.worker import process
from stash_courier.worker.delivery.breaker import Health
from stash_courier.worker.delivery.pool import Job, Outcome, Pool
from stash_courier.worker.destinations import NO_RECORDS, Delivered, Step
from tests import ROOT
from tests.support.connections import connection
from tests.support.harness import wait_until


def test_each_thread_has_its_own_marks(tmp_path: Path) -> None:
    """A thread's marks replace its former ones and no other thread's."""
    with closing(Marks(tmp_path)) as made:
        first, second = made.slot(), made.slot()
        first.set([5, 6, 7])
        second.set([8])
        first.set([9])
        assert marks.read(tmp_path) == [frozenset({9}), frozenset({8})]
        first.set(())
        assert marks.read(tmp_path) == [frozenset({8})]
        second.set(range(1, SLOT_ROWS + 9))
        assert marks.read(tmp_path) == [frozenset(range(1, SLOT_ROWS + 1))]
        second.set([3])
        assert marks.read(tmp_path) == [frozenset({3})]
    assert marks.read(tmp_path) == []
    second.set([4])  # by a thread that outlived the worker's end
    assert marks.read(tmp_path) == []


def test_a_folder_that_takes_no_file_stops_nothing(tmp_path: Path) -> None:
    """Without the file nothing is marked, and deliveries go on; damaged bytes are read as far as they are ids."""
    (tmp_path / files.IN_FLIGHT).mkdir()
    with closing(Marks(tmp_path)) as made:
        made.slot().set([5])
        assert marks.read(tmp_path) == []
    (tmp_path / files.IN_FLIGHT).rmdir()
    (tmp_path / files.IN_FLIGHT).write_bytes(b"\x05" + bytes(7) + b"\xff\xff")
    assert marks.read(tmp_path) == [frozenset({5})]


def test_marks_survive_a_sigkill(tmp_path: Path) -> None:
    """A process that is killed leaves its marks, without having synced anything."""
    program = (
        "import sys, os, signal, tests; from pathlib import Path;"
        "from stash_courier.queue.deliveries.marks import Marks;"
        "Marks(Path(sys.argv[1])).slot().set([7]); os.kill(os.getpid(), signal.SIGKILL)"
    )
    ended = subprocess.run([sys.executable, "-c", program, tmp_path], cwd=ROOT, check=False)
    assert ended.returncode == -signal.SIGKILL
    assert marks.read(tmp_path) == [frozenset({7})]


ONE_THREAD = connection("webhook", {"url": "http://127.0.0.1/", "concurrency": 1})


class Preparing:
    """A destination that notes which rows are marked while it prepares and while it delivers."""

    id, fingerprint = "preparing", ""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.prepared: list[frozenset[int]] = []
        self.delivered: dict[int, frozenset[int]] = {}

    def prepare(self, jobs: Sequence[tuple[Delivery, Scene | None]]) -> None:
        self.prepared.append(frozenset().union(*marks.read(self.folder)))

    def deliver(self, delivery: Delivery, scene: Scene | None, record: bytes = b"") -> Delivered:
        self.delivered[delivery.row_id] = frozenset().union(*marks.read(self.folder))
        return Delivered()

    def test(
        self,
        scenes: Sequence[Scene],
        *,
        show_scene: bool = False,
        records: Mapping[int, bytes] = NO_RECORDS,
    ) -> Iterator[Step]:
        raise NotImplementedError

    def preview(self, delivery: Delivery, scene: Scene | None) -> str:
        raise NotImplementedError

    def close(self) -> None:
        pass


def test_a_batch_is_marked_while_it_is_prepared(tmp_path: Path) -> None:
    """What kills the worker while its batch is looked up is among the marked rows, and then marked itself."""
    destination, ended = Preparing(tmp_path), list[Outcome]()
    with closing(Marks(tmp_path)) as made:
        pool = Pool(destination, ONE_THREAD, Health(), made, ended.append)
        pool.start(allowed=True)
        deliveries = [Delivery(row, "preparing", row, "destroy", (), row, 0.0) for row in (4, 5, 6)]
        pool.make_ready([Job(delivery, None) for delivery in deliveries])
        wait_until(lambda: len(ended) == 3, 10.0)
        wait_until(lambda: not marks.read(tmp_path), 10.0)
        pool.close()
    assert destination.prepared == [{4, 5, 6}]
    assert destination.delivered == {row: {row} for row in (4, 5, 6)}


def test_the_context_names_boot_container_and_stash() -> None:
    """The worker's context is the same for two workers of one Stash, and another after any restart."""
    first = process.context()
    assert first == process.context()
    if sys.platform == "linux":
        boot, container, parent = first.split()
        assert boot
        assert container.startswith("1:")
        assert parent.startswith(f"{os.getppid()}:")
        assert all(text.partition(":")[2] for text in (container, parent))
