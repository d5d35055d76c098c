"""Rows about the worker: draining a backlog against a plain loop, requests to Stash, cost when idle."""

from __future__ import annotations

import statistics
import time
from pathlib import Path

from stash_courier.queue.deliveries.scene_queue import SceneQueue
from stash_courier.queue.inbox import store
from tests.benchmarks import timing
from tests.benchmarks.helpers import Helper, Worker, start_helper, write_connection
from tests.benchmarks.table import Figure, faster
from tests.benchmarks.workspace import Workspace

CONCURRENCY = 4  # the default
MEBIBYTE = 1 << 20


class Drain:
    """Drains a backlog repeatedly, and each time sends the same messages with a plain loop; used by two rows.

    Args:
        delay: seconds that the receiver takes for a request.
    """

    def __init__(self, workspace: Workspace, delay: float) -> None:
        self.requests = 0
        folder, data = workspace.new("drain"), workspace.new("drain-data")
        with (
            start_helper("stash", folder, workspace.sizes.drained) as stash,
            start_helper("receiver", delay) as receiver,
            start_helper("sender") as sender,
        ):
            url = f"http://127.0.0.1:{receiver.ask('port')}/"
            stash.ask("configure", settings={"webhook_url": url, "worker_sweep_off": True})
            write_connection(data, stash.ask("port"))
            with Worker(data) as worker:
                self._arrived = 0
                self._drain(workspace, data, worker, receiver)  # fills the stand-in's cache
                self.taken: dict[str, list[float]] = {"ours": [], "plain": []}
                for _ in range(workspace.sizes.drains):
                    before = stash.ask("requests")
                    self.taken["ours"].append(self._drain(workspace, data, worker, receiver))
                    self.requests = max(self.requests, stash.ask("requests") - before)
                    self.taken["plain"].append(self._plain(workspace, folder / "messages", url, receiver, sender))

    def _drain(self, workspace: Workspace, data: Path, worker: Worker, receiver: Helper) -> float:
        count = workspace.sizes.drained
        queue = SceneQueue(data)
        at = time.time() - 1.0
        queue.put_many(
            store.encode({"scene": n + 1, "event": "update", "changed": ["title"], "at": at + n * 1e-5})
            for n in range(count)
        )
        queue.close()
        began = time.time()
        worker.wake()
        self._arrived += count
        seconds: float = receiver.ask("arrivals", count=self._arrived, timeout=120)[-1] - began
        time.sleep(0.2)
        return seconds

    def _plain(self, workspace: Workspace, file: Path, url: str, receiver: Helper, sender: Helper) -> float:
        receiver.ask("messages", count=workspace.sizes.drained, file=str(file))
        self._arrived += workspace.sizes.drained
        seconds: float = sender.ask("send", url=url.rstrip("/"), file=str(file), threads=CONCURRENCY)
        return seconds


_drains: dict[tuple[int, float], Drain] = {}


def _drained(workspace: Workspace, delay: float) -> Drain:
    key = id(workspace), delay
    if key not in _drains:
        _drains[key] = Drain(workspace, delay)
    return _drains[key]


def drain(workspace: Workspace) -> list[Figure]:
    """The time from waking the worker to the last request at the receiver, against the plain loop."""
    kinds = (("a receiver that takes 10 ms", 0.01, 0.95), ("an instant receiver", 0.0, 0.85))
    return [
        faster(name, *timing.paired(_drained(workspace, delay).taken, "ours", "plain"), limit)
        for name, delay, limit in kinds
    ]


def requests(workspace: Workspace) -> list[Figure]:
    """The highest number of requests to Stash in one drain."""
    most = _drained(workspace, 0.0).requests
    return [Figure("", str(most), "", most, 125)]


def idle(workspace: Workspace) -> list[Figure]:
    """A worker without deliveries, which still sweeps at intervals and asks Stash every minute."""
    data = workspace.new("idle")
    with start_helper("stash", workspace.new("stash"), 200) as stash, start_helper("receiver") as receiver:
        stash.ask("configure", settings={"webhook_url": f"http://127.0.0.1:{receiver.ask('port')}/"})
        write_connection(data, stash.ask("port"))
        with Worker(data) as worker:
            queue = SceneQueue(data)
            queue.put_many(
                store.encode({"scene": n, "event": "update", "changed": [], "at": time.time()})
                for n in range(1, 201)
            )
            queue.close()
            worker.wake()
            receiver.ask("arrivals", count=200)
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
