"""worker.json: which worker runs, and when it was last known to be alive. For the status button."""

from __future__ import annotations

import json
import logging
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from stash_courier.queue import checks, files
from stash_courier.worker import VERSION

HEARTBEAT_SECONDS = 10.0  # between two beats

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """What the worker last wrote about itself; it may have ended since."""

    pid: int
    version: str
    started_at: float  # wall time
    heartbeat_at: float  # wall time


def beat(folder: Path, started_at: float) -> None:
    """Writes this process's heartbeat; ``started_at`` is wall time. If that fails, status shows less."""
    now = Heartbeat(os.getpid(), VERSION, started_at, time.time())
    path = folder / files.WORKER_STATUS
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        draft.write_text(json.dumps(asdict(now)), encoding="ascii")
        draft.replace(path)
    except OSError as error:
        log.warning("%s can't be written: %s", path.name, error.strerror)


def read(folder: Path) -> Heartbeat | None:
    """The last heartbeat in the data folder; None if there is none or it is invalid."""
    try:
        stored = checks.parsed((folder / files.WORKER_STATUS).read_bytes())
        return Heartbeat(
            pid=checks.whole(stored["pid"]),
            version=checks.text(stored["version"]),
            started_at=checks.time(stored["started_at"]),
            heartbeat_at=checks.time(stored["heartbeat_at"]),
        )
    except (OSError, *checks.DAMAGE):
        return None
