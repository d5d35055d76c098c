"""The operating system's file locks, which decide who may do what in the data folder.

A lock belongs to an open file, so it is released when its holder ends, however it ends. No pid is ever consulted.
Nothing here waits. On the hook's path: imports nothing expensive.
"""

from __future__ import annotations

import os
import sys

if sys.platform == "win32":
    import msvcrt

    _SLOTS = 1024  # Windows has no shared lock of this kind, so each sharer locks one of these bytes

    def take(fd: int, *, shared: bool = False) -> bool:
        """Takes the lock of an open file if it is free. Returns whether it did.

        Args:
            fd: the open file; closing it releases the lock.
            shared: shares the lock with other sharers. Rarely two sharers pick the same byte; then the
                second one doesn't get the lock.
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
        """Takes the lock of an open file if it is free. Returns whether it did.

        Args:
            fd: the open file; closing its last copy, in any process, releases the lock.
            shared: shares the lock with other sharers; otherwise it is exclusive.
        """
        try:
            fcntl.flock(fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except OSError:
            return False
        return True


def opened(path: str) -> int:
    """Opens the lock file, making it if it is missing. No child process inherits the descriptor."""
    return os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o600)


def taken(path: str, *, shared: bool = False) -> int | None:
    """Opens the lock file and takes its lock.

    Returns:
        The descriptor that holds the lock, or None if another holds it.
    """
    fd = opened(path)
    if take(fd, shared=shared):
        return fd
    os.close(fd)
    return None
