"""The task buttons: their modes, the arguments of each, and the message for an error that stops one."""

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
from stash_courier.plugin.text.words import LONGEST, one_line, sentence
from stash_courier.queue import repair, store
from stash_courier.worker.stash.client import StashUnavailable

CHOICE = ("ids", "error_type", "destination", "limit")  # how a caller selects dead letters


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
    """Runs a button and logs what it reports.

    Args:
        mode: its name in the manifest's ``defaultArgs``.
        args: the mode and the caller's other arguments.
        folder: the data folder; it exists.
        root: the plugin's folder.

    Returns:
        The button's answer, as JSON can hold it; ``lines`` is what was logged.

    Raises:
        BadInputError: the button couldn't do its work; the message is one line.
    """
    chosen = MODES.get(mode) if isinstance(mode, str) else None
    if chosen is None:
        wrong = f"The mode {mode[:40]!r} is unknown." if isinstance(mode, str) else "No mode was given."
        raise BadInputError(f"{wrong} Modes: {', '.join(sorted([*MODES, 'wake']))}.")
    arguments = parse(str(mode), args, chosen.takes)
    # Without a handler Python prints log records to stderr, bypassing Stash's log protocol.
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
    """What is wrong and what to do, for an error that stops a button."""
    if isinstance(error, sqlite3.Error):
        if repair.is_damage(error):
            return (
                f'A database in {folder} is damaged ({error}). Press "Restart the worker": it sets the file aside '
                "and saves what can be read. Then press this button again."
            )
        return f"A database in {folder} can't be used now ({error}). Nothing is lost. Press this button again."
    if isinstance(error, OSError):
        where, reason = error.filename or folder, error.strerror or error
        return f"{where} can't be used ({reason}). Check its owner and the free disk space."
    return sentence(str(error), LONGEST)
