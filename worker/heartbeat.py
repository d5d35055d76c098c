"""The worker that holds the lock: what it wrote of itself into worker.json, and how it is ended if it hangs.

The process that takes the lock for a worker moves the file away, so worker.json is never that of an earlier one.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from stash_courier.queue import codec
from stash_courier.queue.inbox import files
from stash_courier.worker import VERSION

HEARTBEAT_SECONDS = 10.0  # between two beats
LATE_SECONDS = 6 * HEARTBEAT_SECONDS  # without one, people are told
# After a longer silence the clock may be wrong. Then dead letters are deleted only after a day of running.
SILENCE_SECONDS = 7 * 86_400.0
CAUTION_SECONDS = 86_400.0
PROC = Path("/proc")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """What the worker last wrote about itself; it may have ended since."""

    pid: int
    version: str
    started_at: float  # wall time
    heartbeat_at: float  # wall time
    purge_in: float = 0.0  # seconds that workers must still run before dead letters may be deleted

    def is_late(self, now: float) -> bool:
        """Whether the next heartbeat is overdue at a wall time."""
        return now - self.heartbeat_at > LATE_SECONDS


def beat(folder: Path, started_at: float, ran: float = 0.0) -> float:
    """Writes this process's heartbeat. If that fails, status shows less.

    ``started_at`` is wall time, ``ran`` the seconds since its last beat. Returns the seconds that it must still
    run before dead letters may be deleted by their age.
    """
    now = time.time()
    last = read(folder) or _read(folder / files.WORKER_BEFORE)
    purge_in = 0.0 if last is None else max(0.0, last.purge_in - ran)
    if last is not None and abs(now - last.heartbeat_at) > SILENCE_SECONDS:
        log.warning(
            "no heartbeat for a week: dead letters are deleted after a day of running, in case a clock is wrong"
        )
        purge_in = CAUTION_SECONDS
    path = folder / files.WORKER_STATUS
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        draft.write_text(json.dumps(asdict(Heartbeat(os.getpid(), VERSION, started_at, now, purge_in))))
        draft.replace(path)
    except OSError as error:
        log.warning("%s can't be written: %s", path.name, error.strerror)
    return purge_in


def read(folder: Path) -> Heartbeat | None:
    """The last heartbeat of the worker that holds the lock; None if it hasn't written one.

    If no worker holds it, that of the last one may be returned.
    """
    return _read(folder / files.WORKER_STATUS)


def _read(path: Path) -> Heartbeat | None:
    try:
        return Heartbeat(**codec.loads(path.read_bytes()))
    except (OSError, *codec.DAMAGE):
        return None


def kill(folder: Path) -> int | None:
    """Kills the process that is proven to hold the worker's lock. Only Linux proves it.

    A pid in a file proves nothing: it may have been given to another process, and in another container the same
    number is another process. Linux lists a process's open files, and the locks that each of them holds.

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
