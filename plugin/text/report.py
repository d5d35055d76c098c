"""What a button says: sentences that go to Stash's log and, the same, into its answer. And the words for them.

Stash's page of logs shows the newest line first, thirty in all and lines of others between: each sentence must
make sense alone. Nothing here knows what a button does. How a line travels to Stash is log.py's; secrets were
removed by those who store or raise what is said here, and titles are shown whatever they hold.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from stash_courier.plugin import log

LONGEST = 1000  # characters of a line; log.py's limit is never reached, so log and answer stay equal
LONGEST_TITLE = 80  # characters of a scene's title inside a sentence
LONGEST_TEXT = 400  # characters of another program's or an error's text inside a sentence
# Stash may lose the last lines of a process that ends right after them (19 of 30 runs lost some of
# 300; none did after 50 ms).
LINGER_SECONDS = 0.05
LINGER_SECONDS_LONG = 0.1
MANY_LINES = 100

_MINUTE, _HOUR, _DAY = 60.0, 3600.0, 86_400.0


class Report:
    """Logs each sentence at once and keeps it for the answer."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, sentence: str) -> None:
        """Something the owner asked for."""
        self._add(log.info, sentence)

    def warn(self, sentence: str) -> None:
        """Something the owner should act on."""
        self._add(log.warning, sentence)

    def linger(self) -> None:
        """Lets Stash read the last lines before the process ends."""
        if self.lines:
            time.sleep(LINGER_SECONDS if len(self.lines) < MANY_LINES else LINGER_SECONDS_LONG)

    def _add(self, write: Callable[[str], None], sentence: str) -> None:
        line = one_line(sentence)
        self.lines.append(line)
        write(line)


def one_line(text: str) -> str:
    """The text as the log shows it: without what would end the line, and no longer than a line may be."""
    text = cut(text.strip(), LONGEST).translate(log.ESCAPES)
    return cut(text.encode("utf-8", "backslashreplace").decode(), LONGEST)


def cut(text: str, length: int) -> str:
    """The text, cut to so many characters."""
    return text if len(text) <= length else text[: length - 1] + "…"


def flat(text: str, length: int = LONGEST_TEXT) -> str:
    """Somebody else's text inside a sentence: white space as single blanks, cut."""
    return cut(" ".join(text[: 4 * length].split()), length)


def scene(scene_id: int, title: str) -> str:
    """``scene 45 «Film»``; without a title only the id."""
    title = flat(title, LONGEST_TITLE)
    return f"scene {scene_id} «{title}»" if title else f"scene {scene_id}"


def count(number: int, noun: str) -> str:
    """``1 dead letter``, ``2 deliveries``."""
    if number != 1:
        noun = f"{noun[:-1]}ies" if noun.endswith("ry") else f"{noun}s"
    return f"{number:,} {noun}"


def span(seconds: float) -> str:
    """A duration in one unit: ``40 s``, ``3 min``, ``5 h``, ``2 days``."""
    seconds = max(seconds, 0.0)
    if 0.0 < seconds < 0.95:
        return f"{max(seconds, 0.1):.1f} s"
    if seconds < 1.5 * _MINUTE:
        return f"{seconds:.0f} s"
    if seconds < 1.5 * _HOUR:
        return f"{seconds / _MINUTE:.0f} min"
    if seconds < 1.5 * _DAY:
        return f"{seconds / _HOUR:.0f} h"
    return f"{seconds / _DAY:.0f} days"


def ago(seconds: float) -> str:
    """How long ago something was."""
    return "just now" if seconds < 1.5 else f"{span(seconds)} ago"


def ahead(seconds: float) -> str:
    """When something will be."""
    return "now" if seconds < 0.5 else f"in {span(seconds)}"
