"""The operating system's file locks, which decide who may do what in the data folder.

A lock belongs to an open file, so it is released when its holder ends, however it ends. No pid is ever consulted.
Nothing here waits. On the hook's path: imports nothing expensive.
"""

from __future__ import annotations

import os
import sys

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

_SLOTS = 1024  # Windows has no shared lock of this kind, so each sharer locks one of these bytes


def take(fd: int, *, shared: bool = False) -> bool:
    """Takes the lock of an open file if it is free. Returns whether it did.

    Args:
        fd: the open file; closing its last copy, in any process, releases the lock.
        shared: shares the lock with other sharers; otherwise it is exclusive. On Windows two sharers rarely pick
            the same byte; then the second one doesn't get the lock.
    """
    try:
        if sys.platform == "win32":
            os.lseek(fd, os.getpid() % _SLOTS if shared else 0, os.SEEK_SET)
            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1 if shared else _SLOTS)
        else:
            fcntl.flock(fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def taken(path: str, *, shared: bool = False) -> int | None:
    """Opens the lock file, making it if it is missing, and takes its lock.

    Returns the descriptor that holds the lock, which no child process inherits, or None if another holds it.
    """
    fd = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o600)
    if take(fd, shared=shared):
        return fd
    os.close(fd)
    return None
