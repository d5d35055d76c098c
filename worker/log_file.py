"""worker.log: one line a record, rotated, without secrets."""

from __future__ import annotations

import logging
import logging.handlers
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

from stash_courier.queue.inbox import files
from stash_courier.worker import process
from stash_courier.worker.http.redact import redact

LOG_FILES = 3
LONGEST_LINE = 16_000  # characters: room for a traceback, but not for a title of a megabyte

log = logging.getLogger("stash_courier")


class Line(logging.Formatter):
    """Formats each record as one line, whatever foreign text it contains, and removes secrets."""

    def __init__(self, secrets: Callable[[], Iterable[str]]) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s")
        self._secrets = secrets

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line, without the newline."""
        text = redact(super().format(record), self._secrets())
        if len(text) > LONGEST_LINE:
            text = f"{text[:LONGEST_LINE]}…"
        return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def set_up_log(folder: Path, secrets: Callable[[], Iterable[str]], *, foreground: bool = False) -> None:
    """Sends the log to worker.log in the data folder, which is rotated, and in the foreground to stderr as well.

    ``secrets`` gives the words to remove; whatever looks like a secret is removed anyway.

    Raises:
        OSError: worker.log can't be opened.
    """
    path = folder / files.WORKER_LOG
    file = logging.handlers.RotatingFileHandler(
        path, maxBytes=process.LOG_BYTES, backupCount=LOG_FILES, encoding="utf-8", errors="backslashreplace"
    )
    for handler in (file, logging.StreamHandler()) if foreground else (file,):
        handler.setFormatter(Line(secrets))
        log.addHandler(handler)
    log.setLevel(logging.INFO)
    # Python would write it to stderr, which is this log, unformatted.
    threading.excepthook = lambda bug: log.error("a thread died of a bug", exc_info=bug.exc_value)
