"""The operating system's file locks, which decide who may do what in the data folder.

A lock belongs to an open file, so it is released when its holder ends, however it ends. No pid is ever consulted.
Nothing here waits. On the hook's path: imports nothing expensive.
"""

from __future__ import annotations

import errno
import os
import sys

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

_HELD = (errno.EAGAIN, errno.EWOULDBLOCK, errno.EACCES)  # another has the lock; all other errors are errors
_SLOTS = 1024  # Windows has no shared lock of this kind, so each sharer locks one of these bytes


class LocksUnavailable(OSError):
    """The file system has no file locks. The message is a sentence for the owner."""

    def __str__(self) -> str:
        return (
            f"File locks don't work in the data folder {os.path.dirname(self.filename)} ({self.strerror}). Set "
            "STASH_COURIER_DATA to a folder on a local disk for Stash, then restart Stash."
        )


def take(fd: int, *, shared: bool = False) -> bool:
    """Takes the lock of an open file if it is free. Returns whether it did.

    Args:
        fd: the open file; closing its last copy, in any process, releases the lock.
        shared: shares the lock with other sharers; otherwise it is exclusive. On Windows two sharers rarely pick
            the same byte; then the second one doesn't get the lock.

    Raises:
        OSError: it can't be locked at all.
    """
    try:
        if sys.platform == "win32":
            os.lseek(fd, os.getpid() % _SLOTS if shared else 0, os.SEEK_SET)
            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1 if shared else _SLOTS)
        else:
            fcntl.flock(fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in _HELD:
            raise
        return False
    return True


def taken(path: str, *, shared: bool = False) -> int | None:
    """Opens the lock file, making it if it is missing, and takes its lock.

    Returns the descriptor that holds the lock, which no child process inherits, or None if another holds it.

    Raises:
        LocksUnavailable: the file system has no file locks.
        OSError: the file can't be opened.
    """
    fd = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o600)
    try:
        if take(fd, shared=shared):
            return fd
    except OSError as error:
        os.close(fd)
        raise LocksUnavailable(error.errno, error.strerror, path) from error
    os.close(fd)
    return None
