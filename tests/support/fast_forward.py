"""The dispatcher in fast-forward: real files and a clock that jumps to what is due next."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

from stash_courier.queue import transfer
from stash_courier.queue.dead_letters.dlq import DeadLetterQueue
from stash_courier.queue.deliveries.scene_queue import SceneQueue
from stash_courier.queue.inbox import files, store
from stash_courier.worker.delivery.dispatcher import Dispatcher
from stash_courier.worker.stash.client import Stash
from stash_courier.worker.wakeup import Wakeup
from tests.standin.stash.server import StandInStash


class FastForward:
    """A dispatcher on a data folder, with clocks that the test moves.

    Args:
        folder: the data folder; created if it is missing.
        stash: a running stand-in with the plugin's settings configured, or an object to ask instead of one.
        timeout: real seconds for one request to the stand-in.
    """

    def __init__(self, folder: Path, stash: StandInStash | Stash, timeout: float = 30.0) -> None:
        self.folder = folder
        self._timeout = timeout
        self.wall = time.time()
        self.ran = 0.0  # monotonic seconds
        folder.mkdir(mode=0o700, exist_ok=True)
        self._stash = stash if isinstance(stash, Stash) else None
        if isinstance(stash, StandInStash):
            port = stash.config.port
            place = {"scheme": "http", "host": "127.0.0.1", "port": port, "dir": "", "plugin_dir": ""}
            (folder / files.STASH).write_text(json.dumps({**place, "cookie": "", "at": self.wall}))

    def __enter__(self) -> Self:
        self.wakeup = Wakeup(self.folder)
        self.queue = SceneQueue(self.folder, clock=lambda: self.wall)
        self.dlq = DeadLetterQueue(self.folder, clock=lambda: self.wall)
        transfer.heal(self.queue, self.dlq)
        self.queue.recover()
        self.dispatcher = Dispatcher(
            self.queue,
            self.dlq,
            self._stash or Stash(self.folder, timeout=self._timeout),
            self.wakeup,
            clock=lambda: self.wall,
            monotonic=lambda: self.ran,
            rng=lambda: 0.5,
        )
        return self

    def __exit__(self, *_: object) -> None:
        self.dispatcher.close()
        self.queue.close()
        self.dlq.close()
        self.wakeup.close()

    def put(self, scene_id: int, event: str = "update") -> int:
        """Queues an event as a hook does; returns its seq."""
        data = store.encode({"scene": scene_id, "event": event, "changed": ["title"], "at": self.wall})
        return store.put(str(self.folder), data, self.wall)

    def jump(self, seconds: float) -> None:
        """Lets time pass."""
        self.wall += seconds
        self.ran += seconds

    def step(self) -> float:
        """Runs one step of the dispatcher; returns the seconds until the next."""
        return self.dispatcher.step()

    def run(self, until: Callable[[], bool] = lambda: False, *, seconds: float = 0.0) -> float:
        """Steps until a condition holds, or until ``seconds`` of the dispatcher's time have passed.

        Returns:
            Seconds of the dispatcher's time that passed.

        Raises:
            TimeoutError: the condition didn't hold within 60 seconds of real time.
        """
        began, give_up = self.ran, time.monotonic() + 60.0
        while not until():
            wait = self.step()
            awaits = self.dispatcher.busy() or self.dispatcher.poller.awaiting
            if self.wakeup.wait(0.001 if wait and awaits else 0.0) or awaits:
                if time.monotonic() > give_up:
                    raise TimeoutError("the condition didn't come")
                continue
            if until():
                break
            if seconds and self.ran - began + wait >= seconds:
                self.jump(seconds - (self.ran - began))
                break
            self.jump(max(wait, 0.001))
        return self.ran - began
