"""The task buttons: which there are, what arguments each takes, and how their errors become one sentence.

What a button does stands in the module beside this one that its name leads to.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stash_courier.plugin.arguments import Arguments, parse
from stash_courier.plugin.buttons import check_destinations, controls, dead_letters, deliver_now, enqueue, status
from stash_courier.plugin.context import Context
from stash_courier.plugin.errors import BadInputError
from stash_courier.plugin.text.report import one_line
from stash_courier.queue import repair, store
from stash_courier.worker.stash.client import StashUnavailable

CHOICE = ("ids", "error_type", "destination", "limit")


@dataclass(frozen=True, slots=True)
class Mode:
    """One task button."""

    do: Callable[[Context, Arguments], dict[str, object]]
    takes: tuple[str, ...] = ()  # fields of Arguments


MODES = {
    "status": Mode(status.status),
    "deliver_now": Mode(deliver_now.deliver_now),
    "review_dead_letters": Mode(dead_letters.review, CHOICE),
    "retry_dead_letters": Mode(dead_letters.retry, CHOICE),
    "purge_dead_letters": Mode(dead_letters.purge, ("days",)),
    "discard_dead_letters": Mode(dead_letters.discard, CHOICE),
    "test_destinations": Mode(check_destinations.run, ("destination",)),
    "enqueue_all": Mode(enqueue.enqueue_all),
    "enqueue_recent": Mode(enqueue.enqueue_recent, ("days",)),
    "pause": Mode(controls.pause),
    "resume": Mode(controls.resume),
    "restart_worker": Mode(controls.restart_worker),
    "stop_worker": Mode(controls.stop_worker),
}


def run(mode: object, args: dict[str, Any], folder: str, root: str) -> dict[str, object]:
    """Does what a button is for, and logs it.

    Args:
        mode: its name in the manifest's ``defaultArgs``.
        args: the mode and what else the caller gave.
        folder: the data folder; it exists.
        root: the plugin's folder.

    Returns:
        What was found and done, as JSON can hold it, and in ``lines`` what the log got.

    Raises:
        BadInputError: it could not be done; the message is one sentence.
    """
    chosen = MODES.get(mode) if isinstance(mode, str) else None
    if chosen is None:
        said = f"the mode {mode[:40]!r} is unknown" if isinstance(mode, str) else "no mode was given"
        raise BadInputError(f"{said}: there are {', '.join(sorted([*MODES, 'wake']))}")
    arguments = parse(str(mode), args, chosen.takes)
    # Python prints what nobody handles to stderr, past Stash's log protocol.
    logging.getLogger().addHandler(logging.NullHandler())
    context = Context(Path(folder), root)
    try:
        result = chosen.do(context, arguments)
    except (StashUnavailable, store.QueueUnavailable, sqlite3.Error, OSError) as error:
        raise BadInputError(one_line(_explained(error, context.folder))) from error
    except BadInputError as error:
        raise BadInputError(one_line(str(error))) from error
    finally:
        context.stash.close()
        context.report.linger()
    return {**result, "lines": context.report.lines}


def _explained(error: Exception, folder: Path) -> str:
    """What the owner can do about an error that stops a button."""
    if isinstance(error, sqlite3.Error):
        if repair.is_damage(error):
            return (
                f"a database in {folder} is damaged ({error}): press «Restart the worker», which sets it aside "
                "and saves what can be read, then press this again"
            )
        return f"a database in {folder} can't be used now ({error}): nothing is lost, press this again"
    if isinstance(error, OSError):
        return (
            f"{error.filename or folder} can't be used ({error.strerror or error}): check its owner and the disk"
        )
    return str(error)
