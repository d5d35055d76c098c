"""The spool folder: events that queue.db could not take, one file each. The hook imports it only then."""

from __future__ import annotations

import os
import time

from stash_courier.queue.inbox import files


def put(folder: str, data: bytes) -> str:
    """Writes an encoded event to the spool folder, durably, and returns the file's name.

    Raises:
        OSError: it could not be written; the event is lost unless the caller reports it.
    """
    directory = os.path.join(folder, files.SPOOL)
    os.makedirs(directory, mode=0o700, exist_ok=True)
    name = f"{time.time_ns()}-{os.getpid()}-{os.urandom(4).hex()}.json"
    draft = os.path.join(directory, name + ".tmp")
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
    try:
        with open(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(fd)
        os.rename(draft, os.path.join(directory, name))
    except OSError:
        os.remove(draft)
        raise
    files.sync_folder(directory)
    files.sync_folder(folder)  # the spool folder itself may be new
    return name
