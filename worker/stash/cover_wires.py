"""Connections for covers: each request has one of its own, so one that hangs delays no other.

Which credentials they send is in client.py.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from stash_courier.worker.stash.address import StashAddress
from stash_courier.worker.stash.wire import Wire

MOST_IDLE = 4  # connections that are kept open; by default a destination sends as many requests at once


class CoverWires:
    """Lends connections to threads.

    Args:
        timeout: seconds for one request, up to the last byte of the answer.
    """

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._lock = threading.Lock()
        self._idle: list[Wire] = []
        self._lent: set[Wire] = set()

    @contextmanager
    def lend(self, address: StashAddress) -> Iterator[Wire]:
        """A connection to this address that no other thread uses within the block."""
        with self._lock:
            outdated = [wire for wire in self._idle if wire.base_url != address.url]
            self._idle = [wire for wire in self._idle if wire.base_url == address.url]
            wire = self._idle.pop() if self._idle else Wire(address, self._timeout)
            self._lent.add(wire)
        for old in outdated:
            old.close()
        try:
            yield wire
        finally:
            with self._lock:
                keep = wire in self._lent and len(self._idle) < MOST_IDLE  # otherwise ``close`` has closed it
                self._lent.discard(wire)
                if keep:
                    self._idle.append(wire)
            if not keep:
                wire.close()

    def close(self) -> None:
        """Closes all connections. Requests in progress end at once; later ones connect again."""
        with self._lock:
            wires = [*self._idle, *self._lent]
            self._idle.clear()
            self._lent.clear()
        for wire in wires:
            wire.close()
