"""Words for facts: durations, times, titles, and other programs' texts on one line."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable

from stash_courier.plugin import log
from stash_courier.worker.fields import Problem

LONGEST = 1000  # characters of a line; below log.py's limit, so log and answer stay equal
LONGEST_TITLE = 80  # characters of a scene's title
LONGEST_ANSWER = 200  # characters of a destination's answer
LONGEST_TEXT = 400  # characters of another program's text
LATEST_CLOCK = 32e9  # unix seconds; Windows has no local time after the year 3000

BEING_REPLACED = "The queue is being made or repaired."

MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0  # seconds


def one_line(text: str) -> str:
    """The text as the log shows it: at most ``LONGEST`` characters, without any that would end the line."""
    text = cut(text.strip(), LONGEST).translate(log.ESCAPES)
    return cut(text.encode("utf-8", "backslashreplace").decode(), LONGEST)


def cut(text: str, length: int) -> str:
    """The text, cut to this many characters."""
    return text if len(text) <= length else text[: length - 1] + "…"


def flat(text: str, length: int = LONGEST_TEXT) -> str:
    """Another program's text for use in a sentence: white space as single blanks, cut."""
    return cut(" ".join(text[: 4 * length].split()), length)


def sentence(text: str, length: int = LONGEST_TEXT) -> str:
    """As ``flat``, with a full stop at its end if it has none; "" for an empty text."""
    text = flat(text, length)
    return text if not text or text[-1] in ".!?…" else f"{text}."


def joined(*sentences: str) -> str:
    """The sentences as one line; empty ones are left out."""
    return " ".join(filter(None, sentences))


def scene(scene_id: int, title: str) -> str:
    """``scene 45 "Film"``; without a title only the id. Or a message about trouble, with what it says."""
    from stash_courier.queue import troubles

    what, title = troubles.subject(scene_id), flat(title, LONGEST_TITLE)
    return f'{what} "{title}"' if title else what


def unreadable(name: str, error: sqlite3.Error) -> str:
    """Why a database can't be read, and what to do."""
    from stash_courier.queue import repair

    if repair.is_damage(error):
        return (
            f'{name} is damaged ({error}). Press "Restart": it sets the file aside and saves what can '
            "be read. Then try again."
        )
    return f"{name} can't be read now ({error}). Nothing is lost. Try again."


def to_correct(labels: Iterable[str]) -> str:
    """``To correct: "Address".``, for quoted labels of fields and settings."""
    return f"To correct: {', '.join(dict.fromkeys(labels))}."


def problem_line(problem: Problem) -> str:
    """A problem in a line of its own."""
    name = problem.name or problem.connection
    return f"{name}: {problem.message}" if name else problem.message


def span(seconds: float) -> str:
    """A duration in one unit: ``40 s``, ``3 min``, ``5 h``, ``2 days``."""
    seconds = max(seconds, 0.0)
    if 0.0 < seconds < 0.95:
        return f"{max(seconds, 0.1):.1f} s"
    if seconds < 1.5 * MINUTE:
        return f"{seconds:.0f} s"
    if seconds < 1.5 * HOUR:
        return f"{seconds / MINUTE:.0f} min"
    if seconds < 1.5 * DAY:
        return f"{seconds / HOUR:.0f} h"
    return f"{seconds / DAY:.0f} days"


def since(at: float, now: float) -> str:
    """``since 14:02 (2 h)`` in local time, with the date if that is another day. Takes unix seconds."""
    then, today = (time.localtime(min(moment, LATEST_CLOCK)) for moment in (at, now))
    layout = "%H:%M" if then[:3] == today[:3] else "%Y-%m-%d %H:%M"
    return f"since {time.strftime(layout, then)} ({span(now - at)})"


def ago(seconds: float) -> str:
    """How long ago something was."""
    return "just now" if seconds < 1.5 else f"{span(seconds)} ago"


def ahead(seconds: float) -> str:
    """When something will be."""
    return "now" if seconds < 0.5 else f"in {span(seconds)}"
