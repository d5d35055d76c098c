"""What a button reports: lines for the button's answer and, if a person pressed it, for Stash's log.

Stash's page of logs shows the newest thirty lines, latest first, with other plugins' lines between them. So the
lines are written when the button has ended, the last one first: there they read from top to bottom. Until then a
progress bar shows that it works. Each line must make sense alone. Secrets are removed before a text gets here, by
the code that stores or raises it. Titles are shown whatever they contain.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from stash_courier.plugin import log
from stash_courier.plugin.text.words import one_line


class Report:
    """Keeps the lines of a button, in the order in which they are to be read."""

    def __init__(self) -> None:
        self._lines: list[tuple[Callable[[str], None], str]] = []  # each with its level's function

    @property
    def lines(self) -> list[str]:
        """The lines without their levels."""
        return [line for _, line in self._lines]

    def say(self, line: str) -> None:
        """Reports something the owner asked for."""
        self._lines.append((log.info, one_line(line)))

    def warn(self, line: str) -> None:
        """Reports something the owner should act on."""
        self._lines.append((log.warning, one_line(line)))

    def conclude(self, line: str, *, failed: bool) -> None:
        """Puts a result above all other lines, as an error if what the owner asked for has failed."""
        self._lines.insert(0, (log.error if failed else log.info, one_line(line)))

    def write(self) -> None:
        """Writes all lines to Stash's log and gives Stash time to read them before the process ends."""
        for write, line in reversed(self._lines):
            write(line)
        # Without it, 19 of 30 runs lost some of 300 lines; none did after 50 ms.
        if self._lines:
            time.sleep(0.05 if len(self._lines) < 100 else 0.1)
