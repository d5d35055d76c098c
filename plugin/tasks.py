"""The modes and the seven tasks: their arguments, a task's lines in Stash's log, and the message for an error.

Stash's page of logs shows the newest thirty lines, latest first, with other plugins' lines between them. So a
task's lines are written when it has ended, the last one first: there they read from top to bottom. Until then a
progress bar shows that it works.
"""

from __future__ import annotations

import importlib
import logging
import sqlite3
import time
import traceback
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stash_courier.plugin import notices
from stash_courier.plugin.arguments import Arguments, parse
from stash_courier.plugin.context import Context
from stash_courier.plugin.errors import BadInputError
from stash_courier.plugin.text.words import BEING_REPLACED, LONGEST, one_line, sentence, unreadable
from stash_courier.queue import codec
from stash_courier.queue.inbox import files, locks, store
from stash_courier.worker import VERSION, process
from stash_courier.worker.stash.address import StashUnavailable

# What stops a mode although the plugin has no bug. codec.DAMAGE is what a stored value of the wrong form raises.
EXPECTED = (StashUnavailable, store.QueueUnavailable, process.NoWorkerHere, sqlite3.Error, OSError)
DRAFT = ("id", "kind", "name", "state", "values")  # a connection, or a change of one
CHOICE = ("ids", "error_type", "destination", "group", "limit")  # how a caller selects dead letters
LISTED = (*CHOICE, "text", "as_of")  # all that a list shows


@dataclass(frozen=True, slots=True)
class Mode:
    """One mode. Its module is imported when it is called, because each import takes time."""

    module: str  # below stash_courier.plugin; its function has the mode's name
    takes: Collection[str] = ()  # the fields of Arguments that it takes

    @property
    def is_view(self) -> bool:
        """Whether it serves the page: its answer has the plugin's version, and its error as ``problem``."""
        return self.module.startswith("views.")

    def load(self, name: str) -> Callable[[Context, Arguments], dict[str, object]]:
        """The mode's function; ``name`` is the mode's."""
        module = importlib.import_module(f"stash_courier.plugin.{self.module}")
        function: Callable[[Context, Arguments], dict[str, object]] = getattr(module, name)
        return function


TASKS: Mapping[str, Mode] = {
    "review_dead_letters": Mode("buttons.dead_letters", CHOICE),
    "retry_dead_letters": Mode("buttons.dead_letters", (*LISTED, "careful")),
    "discard_dead_letters": Mode("buttons.dead_letters", LISTED),
    "deliver_now": Mode("buttons.deliver_now"),
    "enqueue_all": Mode("buttons.enqueue", ("connection",)),
    "status": Mode("buttons.status"),
    "restart_worker": Mode("buttons.controls"),
}
MODES: Mapping[str, Mode] = {
    **TASKS,
    "purge_dead_letters": Mode("buttons.dead_letters", ("days",)),
    "test_destinations": Mode("buttons.check_destinations", ("destination",)),
    "library_report": Mode("buttons.library_report", ("connection",)),
    "forget_destination": Mode("buttons.forget_destination", ("destination", "waiting")),
    "enqueue_recent": Mode("buttons.enqueue", ("days", "connection")),
    "send_existing": Mode("buttons.enqueue", ("connection", "days", "since", "all", "count")),
    "send_skipped": Mode("buttons.enqueue", ("connection",)),
    "connections": Mode("buttons.connections"),
    "connection_kinds": Mode("buttons.connections"),
    "save_connection": Mode("buttons.connections", (*DRAFT, "copy_of", "revision")),
    "test_connection": Mode("buttons.connections", (*DRAFT, "copy_of", "show_scene")),
    "delete_connection": Mode("buttons.connections", ("id", "waiting", "revision")),
    "pause": Mode("buttons.controls"),
    "resume": Mode("buttons.controls"),
    "stop_worker": Mode("buttons.controls"),
    "preview": Mode("views.preview", (*DRAFT, "copy_of", "destination", "scene")),
    "bug_report": Mode("views.bug_report"),
    "overview": Mode("views.overview"),
    "badge": Mode("views.overview"),
    "expedite": Mode("views.overview", ("connection",)),
    "outcomes": Mode("views.outcomes", ("text", "connection", "page")),
    "receipt": Mode("views.outcomes", ("scene", "connection")),
    "send_scene": Mode("views.outcomes", ("scene", "connection")),
    "first_delivery": Mode("views.outcomes", ("connection", "since")),
    "dead_letters": Mode(
        "views.dead_letters", ("destination", "error_type", "group", "text", "as_of", "page", "limit")
    ),
    "dead_letter": Mode("views.dead_letters", ("ids",)),
    "restore_dead_letters": Mode("views.dead_letters", ("batch",)),
}

TELLS_OF_DEAD_LETTERS = ("status", "review_dead_letters")  # tasks whose report says how many there are


def pressed(args: Mapping[str, object]) -> bool:
    """Whether a person runs a task: only the manifest's tasks have this argument by default."""
    return args.get("log") == "yes" and args.get("mode") in TASKS


def run(mode: object, args: dict[str, Any], folder: str, root: str) -> dict[str, object]:
    """Runs a mode. If a person runs it as a task, its lines go to Stash's log.

    Args:
        mode: its name in the manifest's ``defaultArgs``.
        args: the caller's arguments, including ``mode``. Tasks also give ``log``; callers of
            ``runPluginOperation`` don't, or every call would leave its lines in Stash's log.
        folder: the data folder, which exists.
        root: the plugin's folder.

    Returns:
        The mode's answer, as JSON can hold it; a task's has its ``lines``.

    Raises:
        BadInputError: the mode couldn't do its work; the message is one line.
    """
    if not isinstance(mode, str) or mode not in MODES:
        wrong = f"The mode {mode[:40]!r} is unknown." if isinstance(mode, str) else "No mode was given."
        raise BadInputError(f"{wrong} Modes: {', '.join(sorted([*MODES, 'wake']))}.")
    arguments = parse(mode, args, MODES[mode].takes)
    answer = MODES[mode].load(mode)
    # Without a handler Python prints log records to stderr, bypassing Stash's log protocol.
    logging.getLogger().addHandler(logging.NullHandler())
    if pressed(args):
        notices.show(folder, notices.DEAD_LETTERS if mode in TELLS_OF_DEAD_LETTERS else ())
    context = Context(Path(folder), root)
    try:
        result = answer(context, arguments)
    except (BadInputError, *EXPECTED, *codec.DAMAGE) as error:
        said = one_line(str(error) if isinstance(error, BadInputError) else _explained(error, context))
        if not MODES[mode].is_view:
            raise BadInputError(said) from error
        result = {"problem": said}  # Stash would log an error at each call
    finally:
        context.close()
        if pressed(args):
            _write(context)
    # A page that is older than the plugin notices it by the version.
    if MODES[mode].is_view:
        return {**result, "version": VERSION}
    return {**result, "lines": [one_line(line) for _, line in context.report]} if mode in TASKS else result


def _write(context: Context) -> None:
    """Writes a task's lines to Stash's log, and gives Stash time to read them before the process ends."""
    for write, line in reversed(context.report):
        write(one_line(line))
    # Without it, 19 of 30 runs lost some of 300 lines; none did after 50 ms.
    if context.report:
        time.sleep(0.05 if len(context.report) < 100 else 0.1)


def _explained(error: Exception, context: Context) -> str:
    """What is wrong and what to do, for an error that stops a mode."""
    if isinstance(error, store.BeingReplaced):
        return f"{BEING_REPLACED} Try again in a moment."
    if isinstance(error, sqlite3.Error):
        return unreadable(f"A database in {context.folder}", error)
    if isinstance(error, locks.LocksUnavailable):
        return str(error)
    if isinstance(error, OSError):
        where, reason = error.filename or context.folder, error.strerror or error
        return f"{where} can't be used ({reason}). Check its owner and the free disk space."
    if isinstance(error, EXPECTED):
        return sentence(str(error), LONGEST)
    where = traceback.extract_tb(error.__traceback__)[-1]
    return (
        f"A value in {files.QUEUE_DB} or {files.WORKER_STATUS} in {context.folder} has the wrong form "
        f"({type(error).__name__}: {error}; {Path(where.filename).name}, line {where.lineno}). "
        'Press "Restart". If this stays, report it with this line.'
    )
