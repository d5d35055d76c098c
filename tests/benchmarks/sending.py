"""Rows about a first full send: rate, memory, requests to Stash, and what a hook costs meanwhile.

The plain loop repeats the requests of the first deliveries, with the worker's niceness and as many threads. It
fetches, stores and decides nothing, and never opens queue.db. Hooks run beside it too, at the same intervals as
during the send. So their time beside it is what the use of the processor alone costs them, and the rest of their
time during the send is what they wait for in queue.db and on the disk.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from stash_courier.queue.deliveries.scene_queue import SceneQueue
from tests.benchmarks.delivery import CONCURRENCY
from tests.benchmarks.helpers import Helper, Worker, start_helper, write_connection
from tests.benchmarks.hooks import REST_SECONDS, SETTINGS, next_hook
from tests.benchmarks.table import MEBIBYTE, Figure, cost
from tests.benchmarks.workspace import Workspace
from tests.standin.jellyfin import KEY
from tests.support.harness import wait_until

LOOK_SECONDS = 0.25  # between two looks at the memory, each with a hook
LONGEST_SECONDS = 1800.0
KEPT = 20_000  # requests that the plain loop repeats, at most


@dataclass
class Send:
    """What was measured during one full send."""

    seconds: float = 0.0  # from the button until the last delivery
    stash_requests: int = 0
    memory: list[int] = field(default_factory=list)  # bytes, in the order of time
    idle_hooks: list[float] = field(default_factory=list)  # seconds of hooks beside an idle worker
    hooks: list[float] = field(default_factory=list)  # seconds of hooks during the send
    plain_hooks: list[float] = field(default_factory=list)  # seconds of hooks beside the plain loop
    plain_rate: float = 0.0  # scenes a second of the plain loop
    cpu: dict[str, float] = field(default_factory=dict)  # share of a core, by process


def webhook(workspace: Workspace) -> list[Figure]:
    """Sends all scenes to a webhook that answers at once."""
    kept = min(KEPT, workspace.sizes.sent)
    with start_helper("receiver", kept) as receiver:
        return _send_all(workspace, receiver, {"webhook_url": f"http://127.0.0.1:{receiver.ask('port')}/"})


def jellyfin(workspace: Workspace) -> list[Figure]:
    """Sends all scenes to a stand-in for Jellyfin whose items have only the names of their files."""
    kept = min(KEPT, workspace.sizes.sent)
    with start_helper("jellyfin", kept, workspace.sizes.sent) as server:
        url = f"http://127.0.0.1:{server.ask('port')}"
        return _send_all(workspace, server, {"jellyfin_url": url, "jellyfin_api_key": KEY})


def _send_all(workspace: Workspace, receiver: Helper, settings: dict[str, object]) -> list[Figure]:
    folder, scenes = workspace.new("full-send"), workspace.sizes.sent
    data = folder / "stash_courier"  # where the button looks for it
    data.mkdir(mode=0o700)
    with start_helper("stash", folder, scenes) as stash:
        stash.ask("configure", settings={**SETTINGS, **settings})
        write_connection(data, stash.ask("port"))
        with Worker(data) as worker:
            send = _measured(workspace, data, worker, stash, receiver)
            _send_plainly(send, folder / "messages", receiver, next_hook(stash, data))
    return _figures(send, scenes)


def _measured(workspace: Workspace, data: Path, worker: Worker, stash: Helper, receiver: Helper) -> Send:
    send = Send()
    edit = next_hook(stash, data)
    with closing(SceneQueue(data)) as queue:
        edit()  # the first one opens connections
        for _ in range(workspace.sizes.processes):
            wait_until(queue.empty, 60.0)
            time.sleep(REST_SECONDS)
            send.idle_hooks.append(edit())
        wait_until(queue.empty, 60.0)

        cpu = {"worker": worker.cpu_seconds, "receiver": receiver.cpu_seconds, "Stash": stash.cpu_seconds}
        used = {name: seconds() for name, seconds in cpu.items()}
        asked, began, give_up = stash.ask("requests"), time.time(), time.monotonic() + LONGEST_SECONDS
        stash.ask("press", name="Send all scenes")
        while True:
            time.sleep(LOOK_SECONDS)
            if not stash.ask("busy") and queue.empty():
                break
            if time.monotonic() > give_up:
                raise RuntimeError(f"the send has not ended after {LONGEST_SECONDS:.0f} s")
            send.memory.append(worker.memory())
            send.hooks.append(edit())
        wait_until(queue.empty, 60.0)
    elapsed = time.time() - began
    send.cpu = {name: (seconds() - used[name]) / elapsed for name, seconds in cpu.items()}
    send.stash_requests = stash.ask("requests") - asked
    send.seconds = receiver.ask("last_at") - began
    return send


def _send_plainly(send: Send, messages: Path, receiver: Helper, edit: Callable[[], float]) -> None:
    """Runs the plain loop, and hooks beside it. The worker has only their edits to deliver."""
    repeated = receiver.ask("messages", file=str(messages))
    url = f"http://127.0.0.1:{receiver.ask('port')}"
    with start_helper("sender") as sender, ThreadPoolExecutor(1) as waiting:
        sent = waiting.submit(sender.ask, "send", url=url, file=str(messages), threads=CONCURRENCY)
        while not sent.done():
            time.sleep(LOOK_SECONDS)
            send.plain_hooks.append(edit())
        send.plain_rate = repeated / sent.result()


def _figures(send: Send, scenes: int) -> list[Figure]:
    rate, plain = scenes / send.seconds, send.plain_rate
    quarter = len(send.memory) // 4
    highest = max(send.memory) / MEBIBYTE
    early = statistics.median(send.memory[quarter : 2 * quarter] or send.memory)
    late = statistics.median(send.memory[3 * quarter :] or send.memory)
    used = {name: f"{name} {100 * share:.0f} %" for name, share in send.cpu.items()}
    requests = 1000 * send.stash_requests / scenes
    asked = f"requests to Stash for 1,000 scenes, with {len(send.hooks)} edits during it"
    during = statistics.median(send.hooks)
    return [
        Figure("a second, beside a plain loop", f"{rate:.0f}", f"{plain:.0f}", rate / plain, None, at_least=True),
        Figure("CPU, % of a core", used.pop("worker"), "; ".join(used.values()), send.cpu["worker"], None),
        Figure(asked, f"{requests:.1f}", "", requests, None),
        Figure("memory, highest", f"{highest:.1f} MiB", "", highest, 60),
        Figure("memory, last quarter ÷ second", _mebibytes(late), _mebibytes(early), late / early, 1.1),
        cost("hook, median during it ÷ beside an idle worker", during, statistics.median(send.idle_hooks), 1.5),
        cost("hook, median during it ÷ beside the plain loop", during, statistics.median(send.plain_hooks), None),
    ]


def _mebibytes(size: float) -> str:
    return f"{size / MEBIBYTE:.1f} MiB"
