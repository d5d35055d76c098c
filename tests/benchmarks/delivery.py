"""Rows about the worker: draining a backlog against a plain loop, requests to Stash, cost when idle."""

from __future__ import annotations

import statistics
import time
from contextlib import closing
from functools import cache
from pathlib import Path

from stash_courier.queue.deliveries.scene_queue import SceneQueue
from stash_courier.queue.inbox import store
from tests.benchmarks import timing
from tests.benchmarks.helpers import Worker, start_helper, write_connection
from tests.benchmarks.table import MEBIBYTE, Figure, faster
from tests.benchmarks.workspace import Workspace

CONCURRENCY = 4  # the default


@cache
def _drained(workspace: Workspace, delay: float) -> tuple[dict[str, list[float]], int]:
    """Drains a backlog repeatedly, and each time sends the same messages with a plain loop.

    Args:
        workspace: of this run.
        delay: seconds that the receiver takes for a request.

    Returns:
        Seconds of our drains and of the plain loops, and the most requests to Stash in one drain.
    """
    folder, data, count = workspace.new("drain"), workspace.new("drain-data"), workspace.sizes.drained
    taken: dict[str, list[float]] = {"ours": [], "plain": []}
    most = arrived = 0
    with (
        start_helper("stash", folder, count) as stash,
        start_helper("receiver", count, delay) as receiver,
        start_helper("sender") as sender,
    ):
        url = f"http://127.0.0.1:{receiver.ask('port')}"
        stash.ask("configure", settings={"webhook_url": f"{url}/", "worker_sweep_off": True})
        write_connection(data, stash.ask("port"))
        with Worker(data) as worker:
            for number in range(workspace.sizes.drains + 1):
                before, arrived = stash.ask("requests"), arrived + count
                _fill(data, count)
                began = time.time()
                worker.wake()
                seconds = receiver.ask("arrived", count=arrived) - began
                time.sleep(0.2)
                if number == 0:  # fills the stand-in's cache
                    receiver.ask("messages", file=str(folder / "messages"))
                    continue
                taken["ours"].append(seconds)
                most = max(most, stash.ask("requests") - before)
                arrived += count
                plain = sender.ask("send", url=url, file=str(folder / "messages"), threads=CONCURRENCY)
                taken["plain"].append(plain)
    return taken, most


def _fill(data: Path, count: int) -> None:
    """Puts an edit of each scene into the inbox."""
    at = time.time() - 1.0
    with closing(SceneQueue(data)) as queue:
        queue.put_many(
            store.encode({"scene": n + 1, "event": "update", "changed": ["title"], "at": at + n * 1e-5})
            for n in range(count)
        )


def drain(workspace: Workspace) -> list[Figure]:
    """The time from waking the worker to the last request at the receiver, against the plain loop."""
    kinds = (("a receiver that takes 10 ms", 0.01, 0.95), ("an instant receiver", 0.0, 0.85))
    return [
        faster(name, *timing.paired(_drained(workspace, delay)[0], "ours", "plain"), limit)
        for name, delay, limit in kinds
    ]


def requests(workspace: Workspace) -> list[Figure]:
    """The highest number of requests to Stash in one drain."""
    most = _drained(workspace, 0.0)[1]
    return [Figure("", str(most), "", most, 125)]


def idle(workspace: Workspace) -> list[Figure]:
    """A worker without deliveries, which still sweeps at intervals and asks Stash every minute."""
    data = workspace.new("idle")
    with start_helper("stash", workspace.new("stash"), 200) as stash, start_helper("receiver") as receiver:
        stash.ask("configure", settings={"webhook_url": f"http://127.0.0.1:{receiver.ask('port')}/"})
        write_connection(data, stash.ask("port"))
        with Worker(data) as worker:
            _fill(data, 200)
            worker.wake()
            receiver.ask("arrived", count=200)
            time.sleep(workspace.sizes.settle_seconds)
            memory = []
            used, began = worker.cpu_seconds(), time.monotonic()
            while time.monotonic() - began < workspace.sizes.idle_seconds:
                time.sleep(workspace.sizes.idle_seconds / 10)
                memory.append(worker.memory())
            share = 100 * (worker.cpu_seconds() - used) / (time.monotonic() - began)
    resident = statistics.median(memory) / MEBIBYTE
    return [
        Figure("CPU, % of a core", f"{share:.2g} %", "", share, 0.2),
        Figure("memory, MiB", f"{resident:.1f} MiB", "", resident, 45),
    ]
