"""How the worker sleeps and wakes up: by a hook through a named pipe, by its own threads, or by the clock."""

from __future__ import annotations

import os
import select
import socket
from pathlib import Path

from stash_courier.queue.inbox import files


class Wakeup:
    """One thread sleeps in ``wait``; other threads wake it, and hooks by a named pipe in the data folder."""

    def __init__(self, folder: Path) -> None:
        self._receiver, self._sender = socket.socketpair()
        self._receiver.setblocking(False)
        self._sender.setblocking(False)
        self._pipe = _pipe(folder / files.WAKE)
        self.reachable_by_hooks = self._pipe is not None  # otherwise the inbox must be polled often

    def notify(self) -> None:
        """Wakes the sleeper, from any thread or signal handler."""
        try:
            self._sender.send(b"!")
        except OSError:
            pass  # full: it wakes up anyway; closed: the caller is a thread that outlived the worker

    def wait(self, seconds: float) -> bool:
        """Sleeps until woken, at most for ``seconds``; returns whether it was woken."""
        sources: list[socket.socket | int] = [self._receiver]
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
        """Closes the pipe, so that hooks notice that no worker is reading it."""
        if self._pipe is not None:
            os.close(self._pipe)
            self._pipe = None
        self._receiver.close()
        self._sender.close()


def _pipe(path: Path) -> int | None:
    """Opens the named pipe for reading and writing: with a writer of its own it never reports end of file."""
    if os.name == "nt":
        return None
    try:
        if not path.is_fifo():
            path.unlink(missing_ok=True)
            os.mkfifo(path, 0o600)
        return os.open(path, os.O_RDWR | os.O_NONBLOCK)
    except OSError:
        return None  # a file system without named pipes: the inbox is polled instead
