"""The testbed of most rows: a stand-in Stash, one receiver, real hook processes, and a record of all promises.

The sweep is off because it would find events that a hook lost, and here every hook must keep its own promise.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Self

from stash_courier.queue import control
from stash_courier.queue.dead_letters.dlq import DeadLetterQueue
from stash_courier.queue.deliveries.scene_queue import SceneQueue
from stash_courier.queue.inbox import files
from stash_courier.worker import process
from tests import ROOT
from tests.faults.row import Report
from tests.standin.receivers import Received, Receiver, Reply
from tests.support import durable
from tests.support.harness import Courier, wait_until

QUEUED = b'{"output": "queued"}'
ALL = 1_000_000
COMMON = {"worker_schedule": "1s", "worker_sweep_off": True}
STALL_SECONDS = 15.0  # after this long without progress, waiting deliveries count as stranded


class Testbed:
    """Stash, plugin and receiver for one row; a context manager.

    Args:
        folder: empty.
        scenes: how many Stash has.
        root: the plugin's folder.
        settings: the plugin's, beyond the receiver's URL and ``common``.
        common: settings that most rows have.
        more: further arguments for Courier.
    """

    def __init__(
        self,
        folder: Path,
        scenes: int,
        *,
        root: Path = ROOT,
        settings: Mapping[str, object] | None = None,
        common: Mapping[str, object] = COMMON,
        **more: Any,
    ) -> None:
        self.root = root
        self.cookie = ""  # the session cookie in the input of hooks
        self.answer: Callable[[Received], Reply] = lambda _: Reply()
        self.receiver = Receiver(self._take)
        self.taken: list[
            tuple[float, int, str, str]
        ] = []  # wall time, scene, title, webhook-id of each request answered with 2xx
        self.promised: dict[int, int] = {}  # scene → number of its last promised edit
        self._edits = Counter[int]()
        self._lock = threading.Lock()
        self._events = 0
        self.receiver.up()
        given = {"webhook_url": f"{self.receiver.url}hook", **common, **(settings or {})}
        self.courier = Courier(folder, given, scenes=scenes, root=root, **more)
        self.data = self.courier.data

    def __enter__(self) -> Self:
        try:
            self.courier.__enter__()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            for pid in self.workers():
                _kill(pid, signal.SIGKILL)
            wait_until(lambda: not self.workers(), 10.0)
        finally:
            self.courier.stash.stop()
            self.receiver.down()

    def _take(self, received: Received) -> Reply:
        body = received.json()
        reply = self.answer(received)
        if 200 <= reply.status < 300:
            title = str(body["data"].get("title", ""))
            with self._lock:
                self.taken.append((time.time(), int(body["data"]["id"]), title, received.headers["webhook-id"]))
        return reply

    # Hooks

    def edit(self, scene: int) -> int:
        """Changes a scene's title in Stash without a hook; returns the number of the edit."""
        with self._lock:
            self._edits[scene] += 1
            number = self._edits[scene]
        self.courier.stash.change_without_hook(scene, title=f"Edit {number}")
        return number

    def hook(self, scene: int, *before: str, **environment: str) -> Hook:
        """Edits a scene and starts the hook that Stash would start.

        Args:
            scene: its id.
            before: a command that runs the hook, such as strace.
            environment: variables added to the hook's environment.
        """
        number = self.edit(scene)
        context = {"id": scene, "type": "Scene.Update.Post", "input": None, "inputFields": ["id", "title"]}
        stdin = json.dumps(self.request(context)).encode()
        command = [*before, *self._command]
        started = durable.start_hook(self.data, stdin, command, **{"STASH_COURIER_WORKER": "on", **environment})
        return Hook(self, scene, number, started)

    @property
    def _command(self) -> list[str]:
        return [sys.executable, "-S", "-E", str(self.root / "plugin" / "main.py")]

    def environment(self) -> dict[str, str]:
        """The environment for programs that start hooks."""
        return {**os.environ, "STASH_COURIER_DATA": str(self.data), "PYTHONPATH": str(ROOT)}

    def request(self, context: object, **args: object) -> dict[str, Any]:
        """The JSON that Stash would write to a hook's stdin."""
        request = durable.request(context, **args)
        config = self.courier.stash.config
        request["server_connection"] |= {
            "Host": "127.0.0.1",
            "Port": config.port,
            "SessionCookie": {"Name": "session", "Value": self.cookie} if self.cookie else None,
            "Dir": str(config.config_dir),
            "PluginDir": str(self.root),
        }
        return request

    def hooks(self, scenes: Iterable[int], at_once: int = 4) -> None:
        """Runs hooks for scenes, ``at_once`` in parallel; all of them must promise."""
        running: list[Hook] = []
        for scene in scenes:
            running.append(self.hook(scene))
            if len(running) == at_once:
                running.pop(0).must_promise()
        for hook in running:
            hook.must_promise()

    def promise(self, scene: int, number: int) -> None:
        """Records that a hook promised an edit."""
        with self._lock:
            self.promised[scene] = max(self.promised.get(scene, 0), number)
            self._events += 1

    # The worker

    def workers(self) -> list[int]:
        """The pids of all workers of this data folder."""
        folder = f"STASH_COURIER_DATA={self.data}".encode()
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                command = (entry / "cmdline").read_bytes().split(b"\0")
                if b"worker" in command and folder in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
            except OSError:
                continue  # the process has ended
        return found

    def worker(self, timeout: float = 15.0) -> int:
        """The worker's pid; waits until there is one."""
        return wait_until(self.workers, timeout)[0]

    def kill_worker(self) -> bool:
        """Kills the worker with SIGKILL; returns whether there was one."""
        pids = self.workers()
        for pid in pids:
            _kill(pid, signal.SIGKILL)
        wait_until(lambda: not set(pids) & set(self.workers()) and self._ended(), 10.0)
        return bool(pids)

    def _ended(self) -> bool:
        """Whether a killed worker has let go of the lock, which the kernel does last, or another one runs."""
        return bool(self.workers()) or not process.running(str(self.data))

    @staticmethod
    def signal(pid: int, number: int) -> None:
        """Sends a signal to a process, which may have ended."""
        _kill(pid, number)

    def rouse(self) -> None:
        """Wakes the worker or starts one, as the next hook would."""
        started = durable.start_hook(
            self.data,
            json.dumps(self.request(None, mode="wake")).encode(),
            self._command,
            STASH_COURIER_WORKER="on",
        )
        started.communicate(timeout=60)

    def expedite(self) -> None:
        """Has everything tried now, as the button "Deliver now" does."""
        with self.queue() as queue:
            control.put(queue.connection, control.EXPEDITE, True)
        self.rouse()

    @contextmanager
    def queue(self) -> Iterator[SceneQueue]:
        """Opens the queue for the duration of the block."""
        with closing(SceneQueue(self.data)) as queue:
            yield queue

    def drain(self, timeout: float = 60.0, *, expedite: bool = False) -> None:
        """Waits until the queue is empty, and restarts the worker if it has ended. The rest counts as lost.

        Args:
            timeout: seconds at most.
            expedite: skip all back-off, as if the owner kept pressing "Deliver now".
        """
        began = moved = time.monotonic()
        before = -1
        while waiting := self.waiting():
            if waiting != before:
                before, moved = waiting, time.monotonic()
            if time.monotonic() - began > timeout or time.monotonic() - moved > STALL_SECONDS:
                return
            if expedite:
                self.expedite()
            elif not process.running(str(self.data)):
                self.rouse()
            time.sleep(0.2)

    def waiting(self) -> int:
        """The number of unfinished events and deliveries, including spooled events."""
        spooled = len(list((self.data / files.SPOOL).glob("*.json")))
        with self.queue() as queue:
            return queue.size + spooled

    # The outcome

    def dead(self) -> dict[int, str]:
        """The error type of each open dead letter, by scene."""
        with closing(DeadLetterQueue(self.data)) as dlq:
            return {dead_letter.scene_id: dead_letter.error_type for dead_letter in dlq.get_recent(ALL)}

    def settle(self, report: Report) -> Report:
        """Adds the outcome of all promises to a report and returns it."""
        newest: dict[int, int] = {}
        for _, scene, title, _ in self.taken:
            number = int(title.removeprefix("Edit ")) if title.startswith("Edit ") else 0
            newest[scene] = max(newest.get(scene, 0), number)
        report.promised = len(self.promised)
        arrived = {scene for scene, number in self.promised.items() if newest.get(scene, 0) >= number}
        report.delivered = len(arrived)
        report.dead = len((set(self.promised) & set(self.dead())) - arrived)
        report.duplicated = sum(n - 1 for n in Counter(sent for *_, sent in self.taken).values())
        if report.failures or report.lost:
            tail = self.courier.log().splitlines()[-15:]
            report.failures += [f"worker.log: {text}" for text in tail] if report.lost else []
        return report

    def check_integrity(self, report: Report) -> None:
        """Checks that both databases pass SQLite's integrity check."""
        for name in (files.QUEUE_DB, files.DLQ_DB):
            if (self.data / name).exists():
                with closing(sqlite3.connect(self.data / name)) as conn:
                    found = conn.execute("PRAGMA integrity_check").fetchone()[0]
                report.expect(found == "ok", f"{name} is damaged: {found}")


@contextmanager
def fast_folder(other: Path) -> Iterator[Path]:
    """An empty folder in memory, where syncs are free, or in ``other`` if /dev/shm has no room."""
    memory = Path("/dev/shm")
    roomy = memory.is_dir() and shutil.disk_usage(memory).free > 200 << 20
    with tempfile.TemporaryDirectory(dir=memory if roomy else other, prefix="faults-") as made:
        yield Path(made)


class Hook:
    """A running hook process."""

    def __init__(self, testbed: Testbed, scene: int, number: int, started: subprocess.Popen[bytes]) -> None:
        self._field = testbed
        self._number = number
        self.scene = scene
        self.process = started
        self.stdout = self.stderr = b""

    def end(self) -> bool:
        """Waits for its end and records its promise; returns whether it promised."""
        self.stdout, self.stderr = self.process.communicate(timeout=120)
        if self.process.returncode != 0:
            return False
        assert self.stdout == QUEUED, self.stdout
        self._field.promise(self.scene, self._number)
        return True

    def must_promise(self) -> None:
        """Waits for its end.

        Raises:
            TimeoutError: it did not promise.
        """
        if not self.end():
            raise TimeoutError(f"a hook promised nothing: {self.stdout!r} {self.stderr!r}")


def _kill(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass  # it has ended
