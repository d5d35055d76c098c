"""What the worker last wrote about itself in worker.json. The worker may have ended since."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from stash_courier.queue import control, files


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """The content of worker.json."""

    pid: int
    version: str
    started_at: float  # wall time
    heartbeat_at: float  # wall time


def read(folder: Path) -> WorkerStatus | None:
    """Reads worker.json in the data folder; None if it is missing or damaged."""
    try:
        found = json.loads((folder / files.WORKER_STATUS).read_bytes())
        status = WorkerStatus(found["pid"], found["version"], found["started_at"], found["heartbeat_at"])
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return None
    valid = (
        control.is_whole(status.pid)
        and isinstance(status.version, str)
        and control.is_time(status.started_at)
        and control.is_time(status.heartbeat_at)
    )
    return status if valid else None
