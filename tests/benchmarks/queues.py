"""Rows about the queue in one process: enqueue, claim and done, against plain SQLite and other queues."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from stash_courier.queue.deliveries import statements as sql
from stash_courier.queue.deliveries.scene_queue import SceneQueue
from stash_courier.queue.jobs import Delivery
from tests import ROOT
from tests.benchmarks import filling, timing
from tests.benchmarks.helpers import Helper
from tests.benchmarks.peers import DATA, PEERS, Raw
from tests.benchmarks.table import Figure, faster
from tests.benchmarks.workspace import DESTINATION, Workspace

CLAIM = 100  # the dispatcher's CLAIM_AHEAD
AT_ONCE = 4  # deliveries that end in one transaction of the completer; the default concurrency
VENV = ROOT / ".build" / "bench" / "venv"


class Ours:
    """SceneQueue, used one job at a time like plain SQLite, or in batches like the worker."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.queue = SceneQueue(folder)
        self._next = 1

    def fill(self, waiting: int, history: int) -> None:
        """Inserts waiting deliveries, and the ledger's rows of finished ones."""
        filling.deliveries(self._folder, waiting, DESTINATION, first=self._next)
        filling.history(self._folder, history, DESTINATION)
        self._next += waiting

    def put(self, count: int) -> None:
        """Calls put, which writes the same row as a hook."""
        event = json.loads(DATA)
        for _ in range(count):
            self.queue.put(event)

    def take_singly(self, count: int) -> None:
        """Claims and finishes one job at a time, each in its own transaction."""
        for _ in range(count):
            (delivery,) = self.queue.claim(DESTINATION, 1, time.time(), edits=True)
            assert isinstance(delivery, Delivery)
            self.queue.done(delivery)

    def take_bare(self, count: int) -> None:
        """Runs the same two statements on the same tables without our code."""
        for _ in range(count):
            values = {"destination": DESTINATION, "limit": 1, "now": time.time()}
            (row,) = self.queue.connection.execute(sql.CLAIM_EDITS, values).fetchall()
            self.queue.connection.execute(sql.DONE, (row[0],))

    def take(self, count: int) -> None:
        """Works like the worker: claims many, and finishes several in one transaction."""
        while count:
            claimed = self.queue.claim(DESTINATION, min(CLAIM, count), time.time(), edits=True)
            count -= len(claimed)
            for start in range(0, len(claimed), AT_ONCE):
                with self.queue.transaction():
                    for delivery in claimed[start : start + AT_ONCE]:
                        assert isinstance(delivery, Delivery)
                        self.queue.done(delivery)


def enqueue(workspace: Workspace) -> list[Figure]:
    """Inserts the same bytes, each durable before the next."""
    count = workspace.sizes.operations
    raw, ours = Raw(str(workspace.new("raw"))), Ours(workspace.new("enqueue"))
    taken = timing.alternating(
        {"raw": _timed(raw.put, count), "ours": _timed(ours.put, count)}, workspace.sizes.batches
    )
    ours.queue.close()
    return [faster("", *timing.paired(taken, "ours", "raw"), 0.85)]


def claim(workspace: Workspace) -> list[Figure]:
    """Claim and done, one at a time, with few and with many waiting jobs."""
    count, batches = workspace.sizes.operations, workspace.sizes.batches
    few = count * batches
    ours, full = Ours(workspace.new("claim")), Ours(workspace.new("claim-full"))
    ours.fill(2 * few, 0)
    workspace.say(f"filling {workspace.sizes.half:,} deliveries")
    full.fill(workspace.sizes.half + few, 0)
    taken = timing.alternating(
        {
            "bare": _timed(ours.take_bare, count),
            "ours": _timed(ours.take_singly, count),
            "full": _timed(full.take_singly, count),
        },
        batches,
    )
    ours.queue.close()
    full.queue.close()
    return [
        faster("", *timing.paired(taken, "ours", "bare"), 0.85),
        faster(
            f"with {workspace.sizes.half:,} waiting ÷ with {few:,}", *timing.paired(taken, "full", "ours"), 0.9
        ),
    ]


def peers(workspace: Workspace) -> list[Figure]:
    """Take and finish jobs with a long history, each queue in its own way."""
    count = workspace.sizes.operations
    python = VENV / "bin" / "python"
    if not python.exists():
        raise SystemExit("The other queues are not installed. `make bench` installs them.")
    with ExitStack() as stack:
        ours = Ours(workspace.new("ours"))
        stack.callback(ours.queue.close)
        jobs = 20 * count
        ours.fill(jobs, workspace.sizes.history)
        runs: dict[str, Callable[[], float]] = {"ours": _timed(ours.take, count)}
        for name in PEERS:
            command = (str(python), "-m", "tests.benchmarks.peers", name, str(workspace.new(name)))
            helper = stack.enter_context(Helper(*command))
            helper.ask("fill", waiting=jobs, history=workspace.sizes.history)
            runs[name] = partial(_asked, helper, count // 5 or 1)
        taken = timing.alternating(runs, 5)
    each = {name: statistics.median(times) for name, times in taken.items()}
    return [faster(name, each["ours"], each[name], 1.0) for name in PEERS]


def _asked(helper: Helper, count: int) -> float:
    """Seconds per job of another process that takes this many."""
    seconds: float = helper.ask("take", count=count)
    return seconds / count


def _timed(run: Callable[[int], None], count: int) -> Callable[[], float]:
    """A function that returns the seconds per operation of a batch."""

    def timed() -> float:
        began = time.perf_counter()
        run(count)
        return (time.perf_counter() - began) / count

    return timed
