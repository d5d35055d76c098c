"""The names of the files in the data folder, and how to make a folder's change durable. On the hook's path."""

from __future__ import annotations

import errno
import os

TYPE_CHECKING = False  # importing typing is expensive for a hook
if TYPE_CHECKING:
    from pathlib import Path

QUEUE_DB = "queue.db"  # events and deliveries
DLQ_DB = "dlq.db"  # dead letters
GATE = "gate"  # lock: shared by everyone who has queue.db open, exclusive for creating or repairing it
SPOOL = "spool"  # folder: events that could not be put into queue.db
STASH = "stash.json"  # how to reach Stash, with a session
CONNECTIONS = "connections.json"  # what the owner set up, with its secrets
CONNECTIONS_PREVIOUS = "connections.json.previous"  # its content before the last change, for a person
CONNECTIONS_LOCK = "connections.lock"  # lock: held while connections.json is written
WORKER_LOCK = "worker.lock"  # lock: held by the one worker
WORKER_STATUS = "worker.json"  # pid, version and heartbeat of the worker
WORKER_BEFORE = "worker.before.json"  # the last one of the worker before it
WORKER_LOG = "worker.log"
TOLD = "told"  # empty: when Stash's log was last told why no worker can run
WAKE = "wake"  # named pipe that wakes the worker
NOTICES = "notices"  # lines for Stash's log, left by the worker
NOTICES_SHOWN = "notices.shown"  # those that were written there


def identity(path: str | Path | int) -> tuple[int, int] | None:
    """Device and inode of the file at a path, or of an open one by its descriptor; None if there is none.

    Raises:
        OSError: the file system doesn't say.
    """
    try:
        found = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_dev, found.st_ino


def sync_folder(path: str) -> None:
    """Makes a rename or a new file in a folder durable. Windows and some network shares can't sync a folder."""
    if os.name == "nt":
        return
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno not in {errno.EINVAL, errno.ENOTSUP}:
            raise
    finally:
        os.close(fd)
