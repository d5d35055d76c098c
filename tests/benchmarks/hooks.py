"""Rows about the hook process: its cost, its cost with a large backlog, and the latency of its event."""

from __future__ import annotations

import itertools
import json
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.benchmarks import filling, timing
from tests.benchmarks.helpers import Helper, Worker, start_helper, write_connection
from tests.benchmarks.table import Figure, cost
from tests.benchmarks.workspace import Workspace
from tests.standin.receivers import Receiver
from tests.standin.stash import StandInStash
from tests.support.durable import HOOK, environment, request
from tests.support.harness import Courier

REST_SECONDS = 0.03  # between two processes, so that the worker can go back to sleep
BULK_EDITS = 3
SETTINGS = {"worker_sweep_off": True, "worker_concurrency": 4}


def hook(workspace: Workspace) -> list[Figure]:
    """The hook against a bare interpreter, while a paused worker has the database open."""
    with _workers(workspace, {"hook": workspace.new("hook")}) as (stash, folders):
        taken = timing.alternating(
            {"bare": _bare, "hook": next_hook(stash, folders["hook"])}, workspace.sizes.processes, REST_SECONDS
        )
    return [cost("", *timing.paired(taken, "hook", "bare"), 1.55)]


def bulk(workspace: Workspace) -> list[Figure]:
    """A bulk edit, for which Stash runs one hook after another, with a worker that delivers meanwhile."""
    count = workspace.sizes.bulk
    plain = StandInStash(count, config_dir=workspace.new("plain"))
    folder = workspace.new("bulk")
    with (
        plain,
        Receiver() as receiver,
        Courier(folder, {**SETTINGS, "webhook_url": receiver.url}, scenes=count) as courier,
    ):
        courier.stash.edit(1, title="Starts the worker")
        receiver.wait_for(1)
        runs = {"with": _edits(courier.stash, count), "without": _edits(plain, count)}
        taken = timing.alternating(runs, BULK_EDITS, 1.0)
    return [cost("", *timing.paired(taken, "with", "without"), None)]


def _edits(stash: StandInStash, count: int) -> Callable[[], float]:
    """A function that edits the first ``count`` scenes at once and returns the seconds per scene."""
    ratings = itertools.cycle(range(1, 101))

    def run() -> float:
        began = time.perf_counter()
        stash.edit_many(range(1, count + 1), rating100=next(ratings))
        return (time.perf_counter() - began) / count

    return run


def backlog(workspace: Workspace) -> list[Figure]:
    """The hook with many waiting jobs and dead letters against empty files."""
    sizes = (workspace.sizes.many, workspace.sizes.most)
    named = {f"{count:,}": workspace.filled(count) for count in (0, *sizes)}
    with _workers(workspace, named) as (stash, folders):
        runs: dict[str, Callable[[], float]] = {name: next_hook(stash, folder) for name, folder in folders.items()}
        taken = timing.alternating(runs, 2 * workspace.sizes.processes, REST_SECONDS)
    return [cost(f"{count:,}", *timing.paired(taken, f"{count:,}", "0"), 1.05) for count in sizes]


def latency(workspace: Workspace) -> list[Figure]:
    """The time from the start of a hook until the receiver has the request, one edit after another."""
    data = workspace.new("latency")
    delays, bare = [], []
    with start_helper("stash", workspace.new("stash"), 50) as stash, start_helper("receiver") as receiver:
        url = f"http://127.0.0.1:{receiver.ask('port')}/"
        stash.ask("configure", settings={**SETTINGS, "webhook_url": url})
        write_connection(data, stash.ask("port"))
        with Worker(data):
            run = next_hook(stash, data)
            for number in range(2 * workspace.sizes.processes + 1):
                began = time.time()
                run()
                arrived = receiver.ask("arrived", count=number + 1)
                time.sleep(REST_SECONDS)
                if number:  # the first edit opens connections
                    delays.append(arrived - began)
                    bare.append(_bare())
    base = statistics.median(bare)
    return [
        cost("median", statistics.median(delays), base, 6.0),
        cost("p95", timing.percentile(delays, 0.95), base, 12.0),
    ]


def _bare() -> float:
    return timing.process(timing.BARE, b"", environment(Path()))


def next_hook(stash: Helper, data: Path) -> Callable[[], float]:
    """A function that runs a hook for the next scene and returns its duration in seconds."""
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


@contextmanager
def _workers(workspace: Workspace, folders: Mapping[str, Path]) -> Iterator[tuple[Helper, Mapping[str, Path]]]:
    """A stand-in Stash, and on each data folder a paused worker, which routes events and delivers none."""
    with ExitStack() as stack:
        stash = stack.enter_context(start_helper("stash", workspace.new("stash"), 50))
        stash.ask("configure", settings={**SETTINGS, "webhook_url": "http://127.0.0.1:9/"})
        for folder in folders.values():
            write_connection(folder, stash.ask("port"))
            filling.pause(folder)
            stack.enter_context(Worker(folder))
        for folder in folders.values():  # the first hook is slower than the others
            next_hook(stash, folder)()
        time.sleep(workspace.sizes.settle_seconds / 5)
        yield stash, folders
