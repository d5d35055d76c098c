"""Reasons to kill a running plugin process: its client disconnected, or its job was stopped.

Both have a file descriptor, so they can be waited for together with the process's pipes, without polling.
"""

from __future__ import annotations

import select
import selectors
import socket
import threading
from typing import Protocol


class Cancel(Protocol):
    """Something that may end an operation early. Once set, it stays set."""

    def fileno(self) -> int:
        """A descriptor that becomes readable when ``is_set`` may have changed."""

    def is_set(self) -> bool:
        """Whether the operation must end; never blocks."""


class ClientGone:
    """Set when the client closes its connection, like Go's request context."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._readable = select.poll()
        self._readable.register(connection, select.POLLIN)
        self._gone = False

    def fileno(self) -> int:
        """The connection's descriptor."""
        return self._connection.fileno()

    def is_set(self) -> bool:
        """Checks for the end of the stream without reading from it."""
        if not self._gone and self._readable.poll(0):
            try:
                self._gone = self._connection.recv(1, socket.MSG_PEEK) == b""
            except OSError:  # reset
                self._gone = True
        return self._gone


class Flag:
    """Set by ``set``; its pipe is closed by ``close``."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._near, self._far = socket.socketpair()

    def fileno(self) -> int:
        """The end that becomes readable."""
        return self._near.fileno()

    def is_set(self) -> bool:
        """Whether ``set`` was called."""
        return self._event.is_set()

    def set(self) -> None:
        """Cancels the operation."""
        self._event.set()
        self._far.close()

    def close(self) -> None:
        """Closes the descriptors."""
        self._near.close()
        self._far.close()


def wait(cancel: Cancel, seconds: float | None) -> bool:
    """Waits until an operation is cancelled; returns False at the timeout."""
    with selectors.DefaultSelector() as selector:
        selector.register(cancel, selectors.EVENT_READ)
        return bool(selector.select(seconds)) and cancel.is_set()
