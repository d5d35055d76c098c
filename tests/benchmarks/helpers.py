"""Helper processes around the worker. They are separate so that they don't slow down what is measured.

``Helper`` starts and controls one. ``python -m tests.benchmarks.helpers KIND …`` is one, which reads and writes
lines of JSON. Kinds: ``stash`` (the stand-in Stash), ``receiver``, ``sender`` (a plain loop over
``requests.Session``), ``writer`` (another process that wants to write to a database).
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

from stash_courier.queue import files
from stash_courier.worker import process
from tests import ROOT
from tests.standin.receivers import Receiver
from tests.standin.stash.faults import Requests
from tests.standin.stash.web import Request, Response
from tests.support.harness import PLUGIN, wait_until

MAIN = ROOT / "plugin" / "main.py"


class Helper:
    """A helper process; a context manager that ends it."""

    def __init__(self, *command: str) -> None:
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
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

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()


def start_helper(kind: str, *arguments: object) -> Helper:
    """Starts a helper of one of the kinds below."""
    return Helper(sys.executable, "-m", "tests.benchmarks.helpers", kind, *map(str, arguments))


def answer(verbs: Mapping[str, Callable[..., object]]) -> None:
    """Runs commands until standard input ends, in the helper process."""
    for line in sys.stdin:
        verb, arguments = json.loads(line)
        sys.stdout.write(json.dumps(verbs[verb](**arguments)) + "\n")
        sys.stdout.flush()


class Worker:
    """A worker process on a data folder; a context manager that starts and ends it."""

    def __init__(self, data: Path) -> None:
        self._data = data

    def __enter__(self) -> Self:
        status = self._data / "worker.json"
        status.unlink(missing_ok=True)
        self._process = subprocess.Popen(
            [sys.executable, "-S", "-E", MAIN, "worker"],
            env={**os.environ, "STASH_COURIER_DATA": str(self._data)},
            stdin=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,  # its log, which is in worker.log, too
        )
        wait_until(status.exists, 60.0)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def wake(self) -> None:
        """Wakes the worker, as a hook does at its end."""
        process.wake(str(self._data))

    def cpu_seconds(self) -> float:
        """CPU time used so far, in seconds."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self) -> int:
        """Resident memory in bytes."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return 1024 * int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:")))


def write_connection(data: Path, port: int) -> None:
    """Writes the file that tells a worker how to reach Stash."""
    place = {"scheme": "http", "host": "127.0.0.1", "port": port, "dir": "", "plugin_dir": ""}
    (data / files.CONNECTION).write_text(json.dumps({**place, "cookie": "", "at": time.time()}))


# Code of the helper processes


class CachingSite:
    """Caches the stand-in's answers for scenes, which don't change here.

    graphql-core takes more CPU time for an answer than the worker for its deliveries. A real Stash takes little,
    and on a small machine the difference would be measured as the worker's.
    """

    def __init__(self, site: Callable[[Request], Response | None], requests: Requests) -> None:
        self._site = site
        self._requests = requests
        self._scenes: dict[str, str] = {}
        self._rest: dict[int, str] = {}  # other fields of the answer, by number of scenes

    def __call__(self, request: Request) -> Response | None:
        """Answers one request."""
        ids = _batch(request)
        if ids and len(ids) in self._rest and self._scenes.keys() >= set(ids.values()):
            self._requests.total += 1
            parts = [f'"{alias}":{self._scenes[i]}' for alias, i in ids.items()]
            body = f'{{"data":{{{",".join([*parts, self._rest[len(ids)]])}}}}}'
            return Response(200, body.encode(), "application/json")
        response = self._site(request)
        if ids and response is not None and response.status == 200:
            data = json.loads(response.body)["data"]
            self._scenes |= {i: json.dumps(data.pop(alias)) for alias, i in ids.items()}
            self._rest[len(ids)] = json.dumps(data)[1:-1]
        return response


def _batch(request: Request) -> dict[str, str]:
    """The scenes that a request asks for, by alias; empty for any other request."""
    if request.path != "/graphql" or not request.body:
        return {}
    variables = json.loads(request.body).get("variables") or {}
    fits = all(alias.startswith("s") and alias[1:].isdigit() for alias in variables)
    return variables if fits else {}


def _stash(folder: str, scenes: str) -> None:
    from tests.standin.stash import StandInStash  # noqa: PLC0415  # only this process needs it

    stash = StandInStash(int(scenes), config_dir=Path(folder))
    stash._site = CachingSite(stash._site, stash.requests)  # type: ignore[assignment]
    with stash:
        stash.install_plugin(ROOT)

        def configure(settings: dict[str, object]) -> None:
            stash.configure(PLUGIN, settings)

        answer(
            {
                "port": lambda: stash.config.port,
                "configure": configure,
                "requests": lambda: stash.requests.total,
            }
        )


def _receiver() -> None:
    with Receiver() as receiver:

        def arrivals(count: int, timeout: float = 60.0) -> list[float]:
            return [received.at for received in receiver.wait_for(count, timeout)]

        def messages(count: int, file: str) -> None:
            sent = [[dict(r.headers), r.body.decode()] for r in receiver.received[:count]]
            Path(file).write_text(json.dumps(sent))

        answer({"port": lambda: receiver.port, "arrivals": arrivals, "messages": messages})


def _sender() -> None:
    import requests  # noqa: PLC0415

    def send(url: str, file: str, threads: int) -> float:
        messages = deque(json.loads(Path(file).read_text()))

        def loop() -> None:
            session = requests.Session()
            while True:
                try:
                    headers, body = messages.popleft()
                except IndexError:
                    return
                session.post(url, data=body.encode(), headers=headers, timeout=15).raise_for_status()

        started = [threading.Thread(target=loop) for _ in range(threads)]
        began = time.perf_counter()
        for thread in started:
            thread.start()
        for thread in started:
            thread.join()
        return time.perf_counter() - began

    answer({"send": send})


class CompetingWriter:
    """Keeps trying to write to a database, and measures the longest time it could not."""

    def __init__(self, path: Path) -> None:
        self._conn = sqlite3.connect(path, timeout=0.0, isolation_level=None, check_same_thread=False)
        self._ended = threading.Event()
        self._waits: list[float] = [0.0]
        self._thread = threading.Thread(target=self._try)

    def watch(self) -> None:
        """Starts trying."""
        self._thread.start()

    def longest(self) -> float:
        """Stops; returns the longest wait in seconds."""
        self._ended.set()
        self._thread.join()
        return max(self._waits)

    def _try(self) -> None:
        refused_since = None
        while not self._ended.is_set():
            now = time.perf_counter()
            try:
                self._conn.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                refused_since = refused_since or now
            else:
                self._conn.execute("ROLLBACK")
                if refused_since is not None:
                    self._waits.append(now - refused_since)
                refused_since = None
            time.sleep(0.0001)
        if refused_since is not None:
            self._waits.append(time.perf_counter() - refused_since)


def _writer(path: str) -> None:
    writer = CompetingWriter(Path(path))
    answer({"watch": writer.watch, "longest": writer.longest})


if __name__ == "__main__":
    roles: dict[str, Callable[..., None]] = {
        "stash": _stash,
        "receiver": _receiver,
        "sender": _sender,
        "writer": _writer,
    }
    roles[sys.argv[1]](*sys.argv[2:])
