"""Ends a worker that hangs, if it is proven to be the one. Linux only: elsewhere nothing proves it.

A pid in a file proves nothing: it may have been given to another process, and in another container the same number
is another process. Linux lists a process's open files, and the locks that each of them holds.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

from stash_courier.queue.inbox import files

PROC = Path("/proc")


def kill(folder: Path) -> int | None:
    """Kills the process that holds the worker's lock.

    Returns:
        Its pid; None if there is none in sight: it belongs to another container or user, or this isn't Linux.

    Raises:
        OSError: it may not be killed, or there is no lock file.
    """
    lock = (folder / files.WORKER_LOCK).stat()
    for process in PROC.glob("[0-9]*"):
        if int(process.name) != os.getpid() and _holds(process, lock):
            os.kill(int(process.name), signal.SIGKILL)
            return int(process.name)
    return None


def _holds(process: Path, lock: os.stat_result) -> bool:
    """Whether one of the process's open files is this one and holds an exclusive lock."""
    try:
        for info in (process / "fdinfo").iterdir():
            locked = "FLOCK  ADVISORY  WRITE" in info.read_text("ascii", "replace")
            # Only of locked files: the file of another process may be on a network share that doesn't answer.
            if locked and os.path.samestat((process / "fd" / info.name).stat(), lock):
                return True
    except OSError:
        pass  # it has ended, or belongs to another user
    return False
