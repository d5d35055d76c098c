"""Writes the worker's notices to Stash's log. Cheap, because each page load runs it. See worker/troubles.py."""

from __future__ import annotations

import os
import time
from collections.abc import Collection

from stash_courier.plugin import log
from stash_courier.queue.inbox import files, lean

DEAD_LETTERS = ("begins dead letters", "ends dead letters")  # ids of lines


def show(folder: str, told: Collection[str] = ()) -> None:
    """Takes the notices from a data folder, if there are any, and writes them. One program gets them.

    ``told`` has the ids of lines that the caller writes in its own words. They count as shown.
    """
    shown = os.path.join(folder, files.NOTICES_SHOWN)  # tells the worker which were shown
    try:
        os.replace(os.path.join(folder, files.NOTICES), shown)
        with open(shown, "rb") as file:
            lines = lean.loads(file.read())
    except (OSError, ValueError, RecursionError):
        return  # there are none, or another program has just taken them
    for name, line in lines.items() if isinstance(lines, dict) else ():
        if name not in told:
            log.warning(str(line))
    time.sleep(0.05)  # or Stash may lose the last lines; see report.py
