"""How the worker sleeps and is woken: by hooks through a named pipe, by its own threads, by the clock."""

from __future__ import annotations

import os
import select
import socket
from pathlib import Path

from stash_courier.queue import files


class Wakeup:
    """One thread sleeps in ``wait``; anybody may wake it.

    Args:
        folder: the data folder, where the named pipe is made.
    """

    def __init__(self, folder: Path) -> None:
        self._here, self._there = socket.socketpair()
        self._here.setblocking(False)
        self._there.setblocking(False)
        self._pipe = _pipe(folder / files.WAKE)

    @property
    def hears_hooks(self) -> bool:
        """Whether hooks can wake it; where they can't, look often."""
        return self._pipe is not None

    def notify(self) -> None:
        """Wakes the sleeper, from any thread or signal handler."""
        try:
            self._there.send(b"!")
        except BlockingIOError:
            pass  # it has been told so often that it hasn't caught up
        except OSError:
            pass  # a thread whose request hung reports to a sleeper that is gone

    def wait(self, seconds: float) -> bool:
        """Sleeps until woken, at most so long; returns whether it was woken."""
        sources: list[socket.socket | int] = [self._here]
        if self._pipe is not None:
            sources.append(self._pipe)
        ready, _, _ = select.select(sources, [], [], max(seconds, 0.0))
        for source in ready:
            if isinstance(source, int):
                os.read(source, 65536)
            else:
                source.recv(65536)
        return bool(ready)

    def close(self) -> None:
        """Lets hooks see that nobody listens."""
        if self._pipe is not None:
            os.close(self._pipe)
            self._pipe = None
        self._here.close()
        self._there.close()


def _pipe(path: Path) -> int | None:
    """Opens the named pipe for reading, with a writer of our own so that it never ends."""
    if os.name == "nt":
        return None
    try:
        if not path.is_fifo():
            path.unlink(missing_ok=True)
            os.mkfifo(path, 0o600)
        return os.open(path, os.O_RDWR | os.O_NONBLOCK)
    except OSError:
        return None  # a file system without named pipes: looking every 100 ms does it too
