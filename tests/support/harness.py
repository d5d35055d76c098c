"""Stash Courier on loopback with a stand-in Stash and a background worker, for integration tests and the demo.

Everything that it starts has ended when its block ends.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Self, TypeVar

from stash_courier.queue.dead_letters.dlq import DeadLetterQueue
from stash_courier.queue.deliveries.scene_queue import SceneQueue
from stash_courier.worker import heartbeat, process
from stash_courier.worker.connections.model import Entry
from tests import ROOT
from tests.standin.stash.server import StandInStash
from tests.support import connections

T = TypeVar("T")
PLUGIN = "stash_plugin"
SECRET = "whsec_c3Rhc2gtY291cmllci1kZW1vLXNlY3JldC0wMDE="


class Courier:
    """A stand-in Stash with the plugin installed from its manifest.

    Args:
        folder: an empty folder for Stash's configuration and the data folder.
        settings: the plugin's settings.
        scenes: how many scenes Stash has.
        root: the plugin's folder.
        stash: further arguments of StandInStash.
    """

    def __init__(
        self,
        folder: Path,
        settings: Mapping[str, object],
        *,
        scenes: int = 20,
        root: Path = ROOT,
        **stash: Any,
    ) -> None:
        self.stash = StandInStash(scenes, config_dir=folder / "config", **stash)
        self.data = folder / "config" / "stash_courier"
        self._settings = settings
        self._root = root
        self._plugin_id = PLUGIN  # its id, which a package has by its manifest's name

    def __enter__(self) -> Self:
        self.stash.start()
        (self._plugin_id,) = self.stash.install_plugin(self._root)
        self.stash.configure(self._plugin_id, self._settings)
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.end_worker()
        finally:
            self.stash.stop()

    def configure(self, **settings: object) -> None:
        """Changes some settings, as a person does on Stash's page."""
        self._settings = {**self._settings, **settings}
        self.stash.configure(self._plugin_id, self._settings)

    def connect(self, *entries: Entry) -> None:
        """Sets connections up, as the page does."""
        self.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        connections.store(self.data, *entries)

    # The worker

    @property
    def worker_runs(self) -> bool:
        """Whether a worker holds the lock."""
        return self.data.exists() and process.running(str(self.data))

    def worker_pid(self) -> int:
        """The running worker's pid; waits until the worker has written it."""
        status = self.data / "worker.json"

        def known() -> int:
            try:
                pid = int(json.loads(status.read_text())["pid"])
            except (OSError, ValueError):
                return 0
            return pid if _alive(pid) else 0

        return wait_until(known, 30.0)

    def kill_worker(self, number: int = signal.SIGKILL) -> int:
        """Sends the worker a signal and waits for its end; returns its pid."""
        pid = self.worker_pid()
        os.kill(pid, number)
        wait_until(lambda: not self.worker_runs, 15.0)
        return pid

    def end_worker(self) -> None:
        """Ends the worker if one runs, by its pid. It may be starting, or ending by itself."""

        def ended() -> bool:
            if not self.worker_runs:
                return True
            if (last := heartbeat.read(self.data)) is not None:
                with suppress(ProcessLookupError):
                    os.kill(last.pid, signal.SIGTERM)
            return False

        wait_until(ended, 30.0)

    def log(self) -> str:
        """The worker's log."""
        file = self.data / "worker.log"
        return file.read_text(encoding="utf-8") if file.exists() else ""

    # What is in the files

    def waiting(self) -> int:
        """Events and deliveries that have not ended."""
        queue = SceneQueue(self.data)
        try:
            return queue.size
        finally:
            queue.close()

    def dead(self) -> int:
        """Open dead letters."""
        dlq = DeadLetterQueue(self.data)
        try:
            return dlq.get_count()
        finally:
            dlq.close()

    def drained(self, timeout: float = 20.0) -> None:
        """Waits until the queue is empty."""
        wait_until(lambda: self.waiting() == 0, timeout)


def wait_until(condition: Callable[[], T], timeout: float) -> T:
    """Waits until the condition is true; returns its value.

    Raises:
        TimeoutError: it didn't become true within ``timeout`` seconds.
    """
    give_up = time.monotonic() + timeout
    while not (value := condition()):
        if time.monotonic() > give_up:
            raise TimeoutError(f"the condition didn't hold within {timeout} s")
        time.sleep(0.01)
    return value


def _alive(pid: int) -> bool:
    """Whether the process runs; one that has ended stays listed until its parent, here init, has reaped it."""
    try:
        os.kill(pid, 0)
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except ProcessLookupError:
        return False
    except FileNotFoundError:
        return not Path("/proc/self").exists()  # it was reaped, or this system has no /proc
