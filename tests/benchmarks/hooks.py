"""Rows about the hook process: what it costs Stash, also with a full queue, and how soon its event arrives."""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

from tests.benchmarks import filling, timing
from tests.benchmarks.data_folders import Workshop
from tests.benchmarks.stand import MAIN, Helper, Worker, stand, tell
from tests.benchmarks.table import Figure, cost
from tests.support.durable import environment, request

HOOK = (sys.executable, "-S", "-E", str(MAIN))  # as the manifest starts it
REST_SECONDS = 0.03  # between two processes: the worker that was woken goes back to sleep
SETTINGS = {"sweep_off": True, "delivery_concurrency": 4}


def hook(shop: Workshop) -> list[Figure]:
    """The hook against a bare interpreter, while a worker that delivers nothing holds the database open."""
    with _workers(shop, {"hook": shop.new("hook")}) as (stash, folders):
        taken = timing.alternating(
            {"bare": _bare, "hook": _hooks(stash, folders["hook"])}, shop.sizes.processes, REST_SECONDS
        )
    return [cost("", *timing.paired(taken, "hook", "bare"), 2.0)]


def backlog(shop: Workshop) -> list[Figure]:
    """The same with waiting jobs and dead letters against empty files."""
    sizes = (shop.sizes.many, shop.sizes.most)
    named = {f"{count:,}": shop.filled(count) for count in (0, *sizes)}
    with _workers(shop, named) as (stash, folders):
        runs: dict[str, Callable[[], float]] = {name: _hooks(stash, folder) for name, folder in folders.items()}
        taken = timing.alternating(runs, 2 * shop.sizes.processes, REST_SECONDS)
    shop.points["hook"] = [(int(name.replace(",", "")), statistics.median(times)) for name, times in taken.items()]
    return [cost(f"{count:,}", *timing.paired(taken, f"{count:,}", "0"), 1.05) for count in sizes]


def latency(shop: Workshop) -> list[Figure]:
    """From before the hook's start until the receiver has the request, one edit after another."""
    data = shop.new("latency")
    delays, bare = [], []
    with stand("stash", shop.new("stash"), 50) as stash, stand("receiver") as receiver:
        url = f"http://127.0.0.1:{receiver.ask('port')}/"
        stash.ask("configure", settings={**SETTINGS, "webhook_url": url})
        tell(data, stash.ask("port"))
        with Worker(data):
            run = _hooks(stash, data)
            for number in range(2 * shop.sizes.processes + 1):
                began = time.time()
                run()
                arrived = receiver.ask("arrivals", count=number + 1)[-1]
                time.sleep(REST_SECONDS)
                if number:  # the first one opens connections
                    delays.append(arrived - began)
                    bare.append(_bare())
    base = statistics.median(bare)
    return [
        cost("median", statistics.median(delays), base, 6.0),
        cost("p95", timing.percentile(delays, 0.95), base, 12.0),
    ]


def _bare() -> float:
    return timing.process(timing.BARE, b"", environment(Path()))


def _hooks(stash: Helper, data: Path) -> Callable[[], float]:
    """A function that runs a hook for the next scene and returns its seconds."""
    port = stash.ask("port")
    count = iter(range(1, 1_000_000))

    def run() -> float:
        scene_id = next(count) % 50 + 1
        source = {"id": str(scene_id), "title": "Changed", "details": "A text of some length. " * 5}
        context = {"id": scene_id, "type": "Scene.Update.Post", "input": source, "inputFields": list(source)}
        wanted = request(context)
        wanted["server_connection"] |= {"Host": "127.0.0.1", "Port": port, "Dir": "", "PluginDir": ""}
        return timing.process(HOOK, json.dumps(wanted).encode(), environment(data))

    return run


class _workers:  # noqa: N801  # used like a function
    """A stand-in Stash, and a paused worker on each data folder: it takes events in and delivers none."""

    def __init__(self, shop: Workshop, folders: Mapping[str, Path]) -> None:
        self._shop = shop
        self._folders = folders
        self._stack = ExitStack()

    def __enter__(self) -> tuple[Helper, Mapping[str, Path]]:
        with self._stack:
            stash = self._stack.enter_context(stand("stash", self._shop.new("stash"), 50))
            stash.ask("configure", settings={**SETTINGS, "webhook_url": "http://127.0.0.1:9/"})
            for folder in self._folders.values():
                tell(folder, stash.ask("port"))
                filling.pause(folder)
                self._stack.enter_context(Worker(folder))
            for folder in self._folders.values():  # the first hook of each isn't like the others
                _hooks(stash, folder)()
            time.sleep(self._shop.sizes.settle_seconds / 5)
            self._stack = self._stack.pop_all()
            return stash, self._folders

    def __exit__(self, *_: object) -> None:
        self._stack.close()
