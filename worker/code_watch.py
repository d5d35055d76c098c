"""Notices that the plugin was updated or removed while the worker runs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Literal

from stash_courier.worker import package

REMOVED_LOOKS = 10  # 20 seconds


class CodeWatch:
    """Whether the files in the plugin's folder have changed since the worker started.

    A change counts when two looks in a row find the same files, and none of the package is missing. An update
    deletes all files, then writes the new ones, their list first and the code last. On a busy disk that takes
    seconds, so the plugin counts as removed only after a while without a list.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._installed = package.read(root) is not None  # otherwise it is a checkout
        self._running = self._before = self._files()
        self._gone = 0  # looks in a row that found nothing

    def look(self) -> Literal["new code", "removed"] | None:
        """What happened to the code on disk; None if nothing did, or the update isn't complete."""
        now = self._files()
        before, self._before = self._before, now
        self._gone = 0 if now or package.read(self._root) is not None else self._gone + 1
        if self._gone >= REMOVED_LOOKS:
            return "removed"
        if not now or now == self._running or now != before:
            return None
        return None if self._installed and package.incomplete(self._root) else "new code"

    def _files(self) -> frozenset[tuple[str, int, int]]:
        """Path, mtime in nanoseconds and size of each file."""
        return frozenset(
            found for folder in ("plugin", "queue", "worker") for found in _below(self._root / folder)
        )


def _below(folder: Path | str) -> Iterator[tuple[str, int, int]]:
    """The files in a folder and below. Every two seconds, so not with pathlib, which takes three times as long."""
    with suppress(OSError), os.scandir(folder) as entries:  # a folder that isn't there has no files
        for entry in entries:
            if entry.name.endswith(".py"):
                with suppress(OSError):  # deleted since it was listed
                    stat = entry.stat()
                    yield entry.path, stat.st_mtime_ns, stat.st_size
            elif entry.name != "__pycache__" and entry.is_dir():
                yield from _below(entry.path)
