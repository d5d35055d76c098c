"""Rows about the queue in one process: enqueue, claim and done, beside SQLite alone and beside others' queues."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from stash_courier.queue import statements as sql
from stash_courier.queue.jobs import Delivery
from stash_courier.queue.scene_queue import SceneQueue
from tests import ROOT
from tests.benchmarks import filling, timing
from tests.benchmarks.contestants import DATA, OTHERS, Raw
from tests.benchmarks.data_folders import DESTINATION, Workshop
from tests.benchmarks.stand import Helper
from tests.benchmarks.table import Figure, faster

CLAIM = 100  # the dispatcher's CLAIM_AHEAD
AT_ONCE = 4  # deliveries that end in one transaction of the recorder: the default concurrency
VENV = ROOT / ".build" / "bench" / "venv"


class Ours:
    """SceneQueue, one statement at a time as SQLite alone is asked, or in the worker's strides."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.queue = SceneQueue(folder)
        self._next = 1

    def fill(self, waiting: int, history: int) -> None:
        """Waiting deliveries, and the ledger's rows of those that were made."""
        filling.deliveries(self._folder, waiting, DESTINATION, first=self._next)
        filling.history(self._folder, history, DESTINATION)
        self._next += waiting

    def put(self, count: int) -> None:
        """persist-queue's put, as a hook's row is made."""
        event = json.loads(DATA)
        for _ in range(count):
            self.queue.put(event)

    def take_singly(self, count: int) -> None:
        """Claims one and ends it, each in a transaction of its own."""
        for _ in range(count):
            (delivery,) = self.queue.claim(DESTINATION, 1, time.time())
            assert isinstance(delivery, Delivery)
            self.queue.done(delivery)

    def take_bare(self, count: int) -> None:
        """The same two statements on the same tables, without our code around them: what the tables cost."""
        for _ in range(count):
            values = {"destination": DESTINATION, "limit": 1, "now": time.time()}
            (row,) = self.queue.connection.execute(sql.CLAIM, values).fetchall()
            self.queue.connection.execute(sql.DONE, (row[0],))

    def take(self, count: int) -> None:
        """As the worker: claims many, ends those together that end together."""
        while count:
            claimed = self.queue.claim(DESTINATION, min(CLAIM, count), time.time())
            count -= len(claimed)
            for start in range(0, len(claimed), AT_ONCE):
                with self.queue.transaction():
                    for delivery in claimed[start : start + AT_ONCE]:
                        assert isinstance(delivery, Delivery)
                        self.queue.done(delivery)

    def checkpoint(self) -> None:
        """Moves the log into the file, as the worker does every half minute."""
        self.queue.tidy()


def enqueue(shop: Workshop) -> list[Figure]:
    """Inserts of the same bytes, each durable before the next."""
    count = shop.sizes.operations
    raw, ours = Raw(str(shop.new("raw"))), Ours(shop.new("enqueue"))
    taken = timing.alternating(
        {"raw": _timed(raw.put, count), "ours": _timed(ours.put, count)}, shop.sizes.batches
    )
    ours.queue.close()
    return [faster("", *timing.paired(taken, "ours", "raw"), 0.85)]


def claim(shop: Workshop) -> list[Figure]:
    """Claim and done, one at a time, with few jobs waiting and with many."""
    count, batches = shop.sizes.operations, shop.sizes.batches
    few = count * batches
    raw, ours = Raw(str(shop.new("raw"))), Ours(shop.new("claim"))
    full = Ours(shop.new("claim-full"))
    raw.fill(few, 0)
    ours.fill(2 * few, 0)
    shop.say(f"filling {shop.sizes.half:,} deliveries")
    full.fill(shop.sizes.half + few, 0)
    taken = timing.alternating(
        {
            "raw": _timed(raw.take, count),
            "ours": _timed(ours.take_singly, count),
            "bare": _timed(ours.take_bare, count),
            "full": _timed(full.take_singly, count),
        },
        batches,
    )
    ours.queue.close()
    full.queue.close()
    return [
        faster("", *timing.paired(taken, "ours", "raw"), 0.85),
        faster(
            "the same statements on the same tables, without our code", *timing.paired(taken, "bare", "raw"), None
        ),
        faster(f"with {shop.sizes.half:,} waiting ÷ with {few:,}", *timing.paired(taken, "full", "ours"), 0.9),
    ]


def peers(shop: Workshop) -> list[Figure]:
    """Taking and finishing jobs, each queue in its own way, after a history; for the plot after shorter ones."""
    count = shop.sizes.operations
    python = VENV / "bin" / "python"
    if not python.exists():
        raise SystemExit("The others' queues are not installed: make bench does it.")
    largest = shop.sizes.history
    figures = []
    for history in (largest // 100, largest // 10, largest):
        for kind, waiting, past in (("history", 0, history), ("backlog", history, 0)):
            with ExitStack() as stack:
                ours = Ours(shop.new("ours"))
                stack.callback(ours.queue.close)
                jobs = waiting + 20 * count
                ours.fill(jobs, past)
                runs: dict[str, Callable[[], float]] = {"Stash Courier": _timed(ours.take, count)}
                for name in OTHERS:
                    command = (str(python), "-m", "tests.benchmarks.contestants", name, str(shop.new(name)))
                    helper = stack.enter_context(Helper(*command))
                    helper.ask("fill", waiting=jobs, history=past)
                    runs[name] = partial(_asked, helper, count // 5 or 1)
                taken = timing.alternating(runs, 5)
                each = {name: statistics.median(times) for name, times in taken.items()}
                for name, seconds in each.items():
                    shop.points.setdefault(f"{kind}: {name}", []).append((history, seconds))
                if kind == "history" and history == largest:
                    figures = [faster(name, each["Stash Courier"], each[name], 1.0) for name in OTHERS]
    return figures


def _asked(helper: Helper, count: int) -> float:
    """Seconds per job of another process that takes so many."""
    seconds: float = helper.ask("take", count=count)
    return seconds / count


def _timed(run: Callable[[int], None], count: int) -> Callable[[], float]:
    """Seconds per operation, of a batch of so many."""

    def timed() -> float:
        began = time.perf_counter()
        run(count)
        return (time.perf_counter() - began) / count

    return timed
