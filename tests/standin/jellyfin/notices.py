"""When a folder is scanned after a notice (LibraryMonitor, FileRefresher).

Each notice waits for a delay. Another one for the same file, for a file in the same folder, or for one below a
folder that waits already, starts the delay anew. When it has passed, the folder is scanned.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.standin.jellyfin.ids import below, split


@dataclass
class _Waiting:
    path: str  # a file, or from the second notice on its folder
    due: float


@dataclass
class Notices:
    """The notices that wait."""

    waiting: list[_Waiting] = field(default_factory=list)

    def take(self, path: str, due: float) -> None:
        """Takes a notice of a path.

        Args:
            due: when the folder is scanned if no other notice follows.
        """
        folder = split(path)[0]
        for one in self.waiting:
            if path == one.path or below(path, one.path):
                one.due = due
                return
            if below(one.path, path) or split(one.path)[0] == folder:
                one.path, one.due = (path if below(one.path, path) else folder), due
                return
        self.waiting.append(_Waiting(path, due))

    def due(self, now: float) -> list[str]:
        """The paths whose delay has passed. They no longer wait."""
        passed = [one.path for one in self.waiting if one.due <= now]
        self.waiting = [one for one in self.waiting if one.due > now]
        return passed
