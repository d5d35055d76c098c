"""in_flight: which deliveries the worker's threads are working on at this moment, by row id.

A thread writes its mark before it prepares or sends a delivery, and clears it afterwards. So after a SIGKILL the
marks tell which deliveries may have killed the worker. They are never synced: they survive the process, not a
power cut, after which it isn't needed.
"""

from __future__ import annotations

import logging
import os
import struct
import threading
from collections.abc import Sequence
from pathlib import Path

from stash_courier.queue.inbox import files

SLOT_ROWS = 64  # row ids in a thread's slot: more than there are deliveries in a batch
_ID = struct.Struct("<q")
_SLOT_BYTES = SLOT_ROWS * _ID.size
_FREE = bytes(_ID.size)

log = logging.getLogger(__name__)


class Marks:
    """The marks of this process. Only for the holder of the worker lock; replaces those of the last worker.

    If the file can't be made or written, that is logged once: then a death makes nothing suspect.
    """

    def __init__(self, folder: Path) -> None:
        self._fd: int | None = None
        self._slots = 0  # made so far
        self._free: list[Slot] = []  # of threads that have ended
        self._lock = threading.Lock()
        self._failed = False
        flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | getattr(os, "O_BINARY", 0)
        try:
            self._fd = os.open(folder / files.IN_FLIGHT, flags, 0o600)
        except OSError as error:
            self._log(error)

    def slot(self) -> Slot:
        """A slot for one thread."""
        with self._lock:
            if self._free:
                return self._free.pop()
            self._slots += 1
            return Slot(self, (self._slots - 1) * _SLOT_BYTES)

    def release(self, slot: Slot) -> None:
        """Takes back the slot of a thread that ends."""
        slot.set(())
        with self._lock:
            self._free.append(slot)

    def write(self, data: bytes, offset: int) -> None:
        """Writes a slot's marks."""
        with self._lock:  # or after close() the descriptor could be a database's
            if self._fd is None:
                return
            try:
                if hasattr(os, "pwrite"):
                    os.pwrite(self._fd, data, offset)
                else:
                    os.lseek(self._fd, offset, os.SEEK_SET)
                    os.write(self._fd, data)
            except OSError as error:
                self._log(error)

    def _log(self, error: OSError) -> None:
        """Logs the first error."""
        if not self._failed:
            log.error("%s can't be written: %s", files.IN_FLIGHT, error.strerror)
        self._failed = True

    def close(self) -> None:
        """Removes all marks, since the process didn't die. Later ones of threads that still run are dropped."""
        with self._lock:
            fd, self._fd = self._fd, None
        if fd is not None:
            os.ftruncate(fd, 0)
            os.close(fd)


class Slot:
    """What one thread is working on."""

    def __init__(self, marks: Marks, offset: int) -> None:
        self._marks = marks
        self._offset = offset
        self._used = 0  # ids in the slot

    def set(self, row_ids: Sequence[int]) -> None:
        """Replaces the slot's marks by these; none clears it."""
        data = b"".join(map(_ID.pack, row_ids[:SLOT_ROWS])) + _FREE * (self._used - len(row_ids))
        self._used = len(row_ids)
        if data:
            self._marks.write(data, self._offset)


def read(folder: Path) -> list[frozenset[int]]:
    """The marked row ids, per thread that is at work. Empty if there is no such file or it can't be read."""
    try:
        raw = (folder / files.IN_FLIGHT).read_bytes()
    except OSError:
        return []
    slots = (raw[start : start + _SLOT_BYTES] for start in range(0, len(raw), _SLOT_BYTES))
    marked = (frozenset(row_id for (row_id,) in _ID.iter_unpack(slot[: len(slot) // 8 * 8])) for slot in slots)
    return [row_ids - {0} for row_ids in marked if row_ids - {0}]
