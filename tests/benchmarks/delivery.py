"""Rows about the worker: draining a backlog beside a plain loop, its questions to Stash, its cost when idle."""

from __future__ import annotations

import statistics
import time
from pathlib import Path

from stash_courier.queue import store
from stash_courier.queue.scene_queue import SceneQueue
from tests.benchmarks import timing
from tests.benchmarks.data_folders import Workshop
from tests.benchmarks.stand import Helper, Worker, stand, tell
from tests.benchmarks.table import Figure, faster

CONCURRENCY = 4  # the default
MEBIBYTE = 1 << 20


class Drain:
    """Drains a backlog some times, and sends the same with a plain loop each time; once for two rows."""

    def __init__(self, shop: Workshop) -> None:
        self.questions = 0
        folder, data = shop.new("drain"), shop.new("drain-data")
        with (
            stand("stash", folder, shop.sizes.drained) as stash,
            stand("receiver") as receiver,
            stand("sender") as sender,
        ):
            url = f"http://127.0.0.1:{receiver.ask('port')}/"
            stash.ask("configure", settings={"webhook_url": url, "sweep_off": True})
            tell(data, stash.ask("port"))
            with Worker(data) as worker:
                self._arrived = 0
                self._drain(shop, data, worker, receiver)  # the stand-in learns its answers
                self.taken: dict[str, list[float]] = {"ours": [], "plain": []}
                for _ in range(shop.sizes.drains):
                    before = stash.ask("requests")
                    self.taken["ours"].append(self._drain(shop, data, worker, receiver))
                    self.questions = max(self.questions, stash.ask("requests") - before)
                    self.taken["plain"].append(self._plain(shop, folder / "messages", url, receiver, sender))

    def _drain(self, shop: Workshop, data: Path, worker: Worker, receiver: Helper) -> float:
        count = shop.sizes.drained
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

    def _plain(self, shop: Workshop, file: Path, url: str, receiver: Helper, sender: Helper) -> float:
        receiver.ask("messages", count=shop.sizes.drained, file=str(file))
        self._arrived += shop.sizes.drained
        seconds: float = sender.ask("send", url=url, file=str(file), threads=CONCURRENCY)
        return seconds


_drains: dict[int, Drain] = {}


def _drained(shop: Workshop) -> Drain:
    if id(shop) not in _drains:
        _drains[id(shop)] = Drain(shop)
    return _drains[id(shop)]


def drain(shop: Workshop) -> list[Figure]:
    """From waking the worker to the last request at the receiver, against the loop."""
    return [faster("", *timing.paired(_drained(shop).taken, "ours", "plain"), 0.7)]


def requests(shop: Workshop) -> list[Figure]:
    """The most that one of those drains asked."""
    return [Figure("", str(_drained(shop).questions), "", _drained(shop).questions, 125)]


def idle(shop: Workshop) -> list[Figure]:
    """After some deliveries, with nothing to do: a sweep is due now and then, and Stash is asked every minute."""
    data = shop.new("idle")
    with stand("stash", shop.new("stash"), 200) as stash, stand("receiver") as receiver:
        stash.ask("configure", settings={"webhook_url": f"http://127.0.0.1:{receiver.ask('port')}/"})
        tell(data, stash.ask("port"))
        with Worker(data) as worker:
            queue = SceneQueue(data)
            queue.put_many(
                store.encode({"scene": n, "event": "update", "changed": [], "at": time.time()})
                for n in range(1, 201)
            )
            queue.close()
            worker.wake()
            receiver.ask("arrivals", count=200)
            time.sleep(shop.sizes.settle_seconds)
            memory = []
            used, began = worker.cpu_seconds(), time.monotonic()
            while time.monotonic() - began < shop.sizes.idle_seconds:
                time.sleep(shop.sizes.idle_seconds / 10)
                memory.append(worker.memory())
            share = 100 * (worker.cpu_seconds() - used) / (time.monotonic() - began)
    resident = statistics.median(memory) / MEBIBYTE
    return [
        Figure("CPU, % of a core", f"{share:.2g} %", "", share, 0.2),
        Figure("memory, MiB", f"{resident:.1f} MiB", "", resident, 45),
    ]
