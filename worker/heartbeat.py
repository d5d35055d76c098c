"""worker.json: which worker runs, and when it was last known to be alive. For people.

The process that takes the lock for a worker moves the file away, so worker.json is never that of an earlier one.
"""

from __future__ import annotations

import json
import logging
import os
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
