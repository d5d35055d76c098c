"""The task buttons: their modes, the arguments of each, and the message for an error that stops one."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from stash_courier.plugin import notices
from stash_courier.plugin.arguments import Arguments, parse
from stash_courier.plugin.buttons import (
    check_destinations,
    connections,
    controls,
    convert,
    dead_letters,
    deliver_now,
    enqueue,
    forget_destination,
    library_report,
    skipped,
    status,
)
from stash_courier.plugin.context import Context
from stash_courier.plugin.errors import BadInputError
from stash_courier.plugin.text.words import LONGEST, one_line, sentence, unreadable
from stash_courier.queue import locks, store
from stash_courier.worker.stash.client import StashUnavailable

DRAFT = ("id", "kind", "name", "state", "values")  # a connection, or a change of one
CHOICE = ("ids", "error_type", "destination", "group", "limit")  # how a caller selects dead letters


# Mode → its function, and the fields of ``Arguments`` that it takes.
MODES: Mapping[str, tuple[Callable[[Context, Arguments], dict[str, object]], Collection[str]]] = {
    "status": (status.status, ()),
    "deliver_now": (deliver_now.deliver_now, ()),
    "review_dead_letters": (dead_letters.review, CHOICE),
    "retry_dead_letters": (dead_letters.retry, CHOICE),
    "purge_dead_letters": (dead_letters.purge, ("days",)),
    "discard_dead_letters": (dead_letters.discard, CHOICE),
    "test_destinations": (check_destinations.run, ("destination",)),
    "library_report": (library_report.library_report, ("connection",)),
    "forget_destination": (forget_destination.forget_destination, ("destination", "waiting")),
    "convert_settings": (convert.convert_settings, ()),
    "enqueue_all": (enqueue.enqueue_all, ("connection",)),
    "enqueue_recent": (enqueue.enqueue_recent, ("days", "connection")),
    "send_existing": (enqueue.send_existing, ("connection", "days", "since", "all", "count")),
    "connections": (connections.connections, ()),
    "connection_kinds": (connections.connection_kinds, ()),
    "save_connection": (connections.save_connection, (*DRAFT, "revision")),
    "test_connection": (connections.test_connection, (*DRAFT, "show_scene")),
    "delete_connection": (connections.delete_connection, ("id", "waiting", "revision")),
    "send_skipped": (skipped.send_skipped, ("connection",)),
    "pause": (controls.pause, ()),
    "resume": (controls.resume, ()),
    "restart_worker": (controls.restart_worker, ()),
    "stop_worker": (controls.stop_worker, ()),
}

TELLS_OF_DEAD_LETTERS = ("status", "review_dead_letters")  # modes whose report says how many there are


def pressed(args: Mapping[str, object]) -> bool:
    """Whether a person pressed the mode's button: only the manifest's tasks have this argument by default."""
    return args.get("log") == "yes"


def run(mode: object, args: dict[str, Any], folder: str, root: str) -> dict[str, object]:
    """Runs a mode. If a person pressed its button, what it reports goes to Stash's log too.

    Args:
        mode: its name in the manifest's ``defaultArgs``.
        args: the caller's arguments, including ``mode``. Buttons also give ``log``; callers of
            ``runPluginOperation`` don't, or every call would leave its lines in Stash's log.
        folder: the data folder, which exists.
        root: the plugin's folder.

    Returns:
        The mode's answer, as JSON can hold it; ``lines`` is the report.

    Raises:
        BadInputError: the button couldn't do its work; the message is one line.
    """
    if not isinstance(mode, str) or mode not in MODES:
        wrong = f"The mode {mode[:40]!r} is unknown." if isinstance(mode, str) else "No mode was given."
        raise BadInputError(f"{wrong} Modes: {', '.join(sorted([*MODES, 'wake']))}.")
    press, takes = MODES[mode]
    arguments = parse(mode, args, takes)
    # Without a handler Python prints log records to stderr, bypassing Stash's log protocol.
    logging.getLogger().addHandler(logging.NullHandler())
    if pressed(args):
        notices.show(folder, notices.DEAD_LETTERS if mode in TELLS_OF_DEAD_LETTERS else ())
    context = Context(Path(folder), root)
    try:
        result = press(context, arguments)
    except (StashUnavailable, store.QueueUnavailable, sqlite3.Error, OSError) as error:
        raise BadInputError(one_line(_explained(error, context.folder))) from error
    except BadInputError as error:
        raise BadInputError(one_line(str(error))) from error
    finally:
        context.stash.close()
        if pressed(args):
            context.report.write()
    return {**result, "lines": context.report.lines}


def _explained(error: Exception, folder: Path) -> str:
    """What is wrong and what to do, for an error that stops a button."""
    if isinstance(error, sqlite3.Error):
        return unreadable(f"A database in {folder}", error)
    if isinstance(error, locks.LocksUnavailable):
        return str(error)
    if isinstance(error, OSError):
        where, reason = error.filename or folder, error.strerror or error
        return f"{where} can't be used ({reason}). Check its owner and the free disk space."
    return sentence(str(error), LONGEST)
