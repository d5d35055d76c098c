"""Processes around what is measured. They are separate so that they don't slow it down.

``start_helper`` starts one. ``python -m tests.benchmarks.helpers KIND …`` is one, which reads and writes lines of
JSON. Kinds: ``stash`` (the stand-in Stash), ``receiver`` (a webhook), ``jellyfin``, ``sender`` (a plain loop over
``requests.Session``), ``writer`` (another process that wants to write to a database). ``Worker`` is the worker.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

from stash_courier.queue.inbox import files
from stash_courier.worker import heartbeat, process
from tests import ROOT
from tests.benchmarks.lean import LeanServer, LeanSite
from tests.standin.jellyfin import StandInJellyfin
from tests.standin.receivers import Received, Reply
from tests.standin.stash import StandInStash
from tests.standin.stash.library import Library
from tests.support.harness import PLUGIN, wait_until


class Helper:
    """A helper process; a context manager that ends it."""

    def __init__(self, *command: str) -> None:
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, text=True, cwd=ROOT, start_new_session=True
        )

    def ask(self, verb: str, **arguments: object) -> Any:
        """Runs a command in the helper and returns its result.

        Raises:
            RuntimeError: the helper died; its standard error has the reason.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([verb, arguments]) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the helper {self._process.args!r} died at {verb}")
        return json.loads(line)

    def cpu_seconds(self) -> float:
        """CPU time used so far, in seconds."""
        return _cpu_seconds(self._process.pid)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate(timeout=30)


def start_helper(kind: str, *arguments: object) -> Helper:
    """Starts a helper of one of the kinds below."""
    return Helper(sys.executable, "-m", "tests.benchmarks.helpers", kind, *map(str, arguments))


class Worker:
    """A worker process on a data folder, started as by a hook; a context manager that starts and ends it."""

    def __init__(self, data: Path) -> None:
        self._data = data

    def __enter__(self) -> Self:
        assert not process.running(str(self._data)), "another worker runs"
        process.start(str(self._data), str(ROOT))
        wait_until((self._data / files.WORKER_STATUS).exists, 60.0)
        status = heartbeat.read(self._data)
        assert status is not None
        self._pid = status.pid
        return self

    def __exit__(self, *_: object) -> None:
        os.kill(self._pid, signal.SIGTERM)
        os.waitpid(self._pid, 0)

    def wake(self) -> None:
        """Wakes the worker, as a hook does at its end."""
        process.wake(str(self._data))

    def cpu_seconds(self) -> float:
        """CPU time used so far, in seconds."""
        return _cpu_seconds(self._pid)

    def memory(self) -> int:
        """Resident memory in bytes."""
        status = Path(f"/proc/{self._pid}/status").read_text()
        return 1024 * int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:")))


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def write_connection(data: Path, port: int) -> None:
    """Writes the file that tells a worker how to reach Stash."""
    place = {"scheme": "http", "host": "127.0.0.1", "port": port, "dir": "", "plugin_dir": ""}
    (data / files.STASH).write_text(json.dumps({**place, "cookie": "", "at": time.time()}))


# Code of the helper processes


def answer(verbs: Mapping[str, Callable[..., object]]) -> None:
    """Runs commands until standard input ends."""
    for line in sys.stdin:
        verb, arguments = json.loads(line)
        sys.stdout.write(json.dumps(verbs[verb](**arguments)) + "\n")
        sys.stdout.flush()


def _stash(folder: str, scenes: str) -> None:
    stash = StandInStash(int(scenes), config_dir=Path(folder))
    site = LeanSite.put_before(stash)
    with stash:
        stash.install_plugin(ROOT)
        site.check()

        def configure(settings: dict[str, object]) -> None:
            stash.configure(PLUGIN, settings)
            site.changed()

        answer(
            {
                "port": lambda: stash.config.port,
                "configure": configure,
                "press": stash.start_task,
                "busy": lambda: bool(stash.jobs.queue()),
                "requests": lambda: stash.requests.total,
            }
        )


def _receiver(kept: str = "0", delay: str = "0") -> None:
    def take(_: Received) -> Reply:
        if seconds := float(delay):
            time.sleep(seconds)
        return Reply()

    _serve(LeanServer(take, lambda _: True, int(kept)))


def _jellyfin(kept: str, scenes: str) -> None:
    """Jellyfin with an item for each scene of the stand-in Stash, none of which has been edited."""
    standin = StandInJellyfin(libraries={"Films": ["/media/films"]})
    standin.posted = deque(maxlen=0)  # type: ignore[assignment]  # the bodies would fill the memory
    library = Library(time.time)
    library.fill(int(scenes))
    for scene in library.all():
        standin.add(scene.path)
    _serve(LeanServer(standin._answer, lambda received: received.method == "POST", int(kept)))


def _serve(server: LeanServer) -> None:
    def arrived(count: int) -> float:
        """Waits for this many deliveries; returns the wall time of the last one."""
        wait_until(lambda: server.count >= count, 120.0)
        return server.last_at

    def messages(file: str) -> int:
        """Writes the first requests to a file, for a sender; returns how many scenes they delivered."""
        own = {"host", "connection", "content-length"}  # the client sets these itself
        kept = [
            [r.method, r.path, {n: v for n, v in r.headers.items() if n not in own}, r.body.decode()]
            for r in server.kept
        ]
        Path(file).write_text(json.dumps(kept))
        return min(server.count, server.keeps)

    with server:
        answer(
            {
                "port": lambda: server.port,
                "arrived": arrived,
                "last_at": lambda: server.last_at,
                "messages": messages,
            }
        )


def _sender() -> None:
    import requests  # noqa: PLC0415

    process.give_way()  # like the worker

    def send(url: str, file: str, threads: int) -> float:
        messages = deque(json.loads(Path(file).read_text()))

        def loop() -> None:
            session = requests.Session()
            while True:
                try:
                    method, path, headers, body = messages.popleft()
                except IndexError:
                    return
                answer = session.request(method, url + path, data=body.encode(), headers=headers, timeout=15)
                answer.raise_for_status()

        started = [threading.Thread(target=loop) for _ in range(threads)]
        began = time.perf_counter()
        for thread in started:
            thread.start()
        for thread in started:
            thread.join()
        return time.perf_counter() - began

    answer({"send": send})


def _writer(path: str) -> None:
    """Keeps trying to write to a database, and measures the longest time it could not."""
    conn = sqlite3.connect(path, timeout=0.0, isolation_level=None, check_same_thread=False)
    ended, waits = threading.Event(), [0.0]

    def attempt() -> None:
        refused_since = None
        while not ended.is_set():
            now = time.perf_counter()
            try:
                conn.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                refused_since = refused_since or now
            else:
                conn.execute("ROLLBACK")
                if refused_since is not None:
                    waits.append(now - refused_since)
                refused_since = None
            time.sleep(0.0001)
        if refused_since is not None:
            waits.append(time.perf_counter() - refused_since)

    thread = threading.Thread(target=attempt)

    def longest() -> float:
        """Stops; returns the longest wait in seconds."""
        ended.set()
        thread.join()
        return max(waits)

    answer({"watch": thread.start, "longest": longest})


KINDS: dict[str, Callable[..., None]] = {
    "stash": _stash,
    "receiver": _receiver,
    "jellyfin": _jellyfin,
    "sender": _sender,
    "writer": _writer,
}

if __name__ == "__main__":
    KINDS[sys.argv[1]](*sys.argv[2:])
