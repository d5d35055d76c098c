"""File locks of the operating system: who may do what with the data folder.

A lock belongs to an open file, so it ends with its last holder whatever way that one ends; no pid
is ever consulted. Nothing here waits. On the hook's path: imports nothing that costs.
"""

from __future__ import annotations

import os
import sys

if sys.platform == "win32":
    import msvcrt

    _SLOTS = 1024  # Windows has no shared lock of this kind: each holder takes one byte of these

    def take(fd: int, *, shared: bool = False) -> bool:
        """Takes the lock of an open file, if nobody holds it; says whether it did.

        Args:
            fd: the open file; closing it gives the lock back.
            shared: with others who share it, but with nobody who wants it alone. On Windows two
                sharers may rarely get the same byte; the later one is told that it can't have it.
        """
        os.lseek(fd, os.getpid() % _SLOTS if shared else 0, os.SEEK_SET)
        try:
            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1 if shared else _SLOTS)
        except OSError:
            return False
        return True

else:
    import fcntl

    def take(fd: int, *, shared: bool = False) -> bool:
        """Takes the lock of an open file, if nobody holds it; says whether it did.

        Args:
            fd: the open file; closing its last copy, in whatever process, gives the lock back.
            shared: with others who share it, but with nobody who wants it alone.
        """
        try:
            fcntl.flock(fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except OSError:
            return False
        return True


def opened(path: str) -> int:
    """The lock file, made if it is missing, as a descriptor that no child inherits."""
    return os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o600)


def taken(path: str, *, shared: bool = False) -> int | None:
    """Opens the lock file and takes its lock.

    Returns:
        The descriptor that holds the lock, or None if somebody else has it.
    """
    fd = opened(path)
    if take(fd, shared=shared):
        return fd
    os.close(fd)
    return None
