"""Notices that the plugin was updated or removed while the worker runs."""

from __future__ import annotations

from pathlib import Path
from typing import Literal


class CodeWatch:
    """Whether the files in the plugin's folder have changed since the worker started.

    A change counts when two looks in a row find the same files, since an update deletes before it writes.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._running = self._before = self._files()

    def look(self) -> Literal["new code", "removed"] | None:
        """What happened to the code on disk; None if nothing did, or the update isn't complete."""
        now = self._files()
        before, self._before = self._before, now
        if now == self._running or now != before:
            return None
        return "new code" if now else "removed"

    def _files(self) -> frozenset[tuple[str, int, int]]:
        """Path, mtime in nanoseconds and size of each file."""
        found = set()
        for folder in ("plugin", "queue", "worker"):
            for file in (self._root / folder).rglob("*.py"):
                try:
                    stat = file.stat()
                except OSError:
                    continue  # deleted since it was listed
                found.add((str(file), stat.st_mtime_ns, stat.st_size))
        return frozenset(found)
