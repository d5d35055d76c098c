"""The task buttons: their modes, the arguments of each, and the message for an error that stops one."""

from __future__ import annotations

import importlib
import logging
import sqlite3
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stash_courier.plugin import notices
from stash_courier.plugin.arguments import Arguments, parse
from stash_courier.plugin.context import Context
from stash_courier.plugin.errors import BadInputError
from stash_courier.plugin.text.words import LONGEST, one_line, sentence, unreadable
from stash_courier.queue.inbox import locks, store
from stash_courier.worker import VERSION
from stash_courier.worker.stash.address import StashUnavailable

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
        """Whether it serves the page: its answer has the plugin's version instead of a report."""
        return self.module.startswith("views.")

    def load(self, name: str) -> Callable[[Context, Arguments], dict[str, object]]:
        """The mode's function; ``name`` is the mode's."""
        module = importlib.import_module(f"stash_courier.plugin.{self.module}")
        found: Callable[[Context, Arguments], dict[str, object]] = getattr(module, name)
        return found


MODES: Mapping[str, Mode] = {
    "status": Mode("buttons.status"),
    "deliver_now": Mode("buttons.deliver_now"),
    "review_dead_letters": Mode("buttons.dead_letters", CHOICE),
    "retry_dead_letters": Mode("buttons.dead_letters", (*LISTED, "careful")),
    "purge_dead_letters": Mode("buttons.dead_letters", ("days",)),
    "discard_dead_letters": Mode("buttons.dead_letters", LISTED),
    "test_destinations": Mode("buttons.check_destinations", ("destination",)),
    "library_report": Mode("buttons.library_report", ("connection",)),
    "forget_destination": Mode("buttons.forget_destination", ("destination", "waiting")),
    "enqueue_all": Mode("buttons.enqueue", ("connection",)),
    "enqueue_recent": Mode("buttons.enqueue", ("days", "connection")),
    "send_existing": Mode("buttons.enqueue", ("connection", "days", "since", "all", "count")),
    "connections": Mode("buttons.connections"),
    "connection_kinds": Mode("buttons.connections"),
    "save_connection": Mode("buttons.connections", (*DRAFT, "copy_of", "revision")),
    "test_connection": Mode("buttons.connections", (*DRAFT, "copy_of", "show_scene")),
    "delete_connection": Mode("buttons.connections", ("id", "waiting", "revision")),
    "send_skipped": Mode("buttons.skipped", ("connection",)),
    "pause": Mode("buttons.controls"),
    "resume": Mode("buttons.controls"),
    "restart_worker": Mode("buttons.controls"),
    "stop_worker": Mode("buttons.controls"),
    "preview": Mode("views.preview", (*DRAFT, "copy_of", "destination", "scene")),
    "bug_report": Mode("views.bug_report"),
    "overview": Mode("views.overview"),
    "badge": Mode("views.overview"),
    "expedite": Mode("views.expedite", ("connection",)),
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
    arguments = parse(mode, args, MODES[mode].takes)
    press = MODES[mode].load(mode)
    # Without a handler Python prints log records to stderr, bypassing Stash's log protocol.
    logging.getLogger().addHandler(logging.NullHandler())
    if pressed(args):
        notices.show(folder, notices.DEAD_LETTERS if mode in TELLS_OF_DEAD_LETTERS else ())
    context = Context(Path(folder), root)
    try:
        result = press(context, arguments)
        if pressed(args) and mode != "status":  # status reports them itself
            _tell_of_copies(context)
    except (StashUnavailable, store.QueueUnavailable, sqlite3.Error, OSError, BadInputError) as error:
        said = str(error) if isinstance(error, BadInputError) else _explained(error, context)
        if not MODES[mode].is_view:
            raise BadInputError(one_line(said)) from error
        result = {"problem": one_line(said)}  # Stash would log an error at each call
    finally:
        context.close()
        if pressed(args):
            context.report.write()
    # A page that is older than the plugin notices it by the version.
    return {**result, "version": VERSION} if MODES[mode].is_view else {**result, "lines": context.report.lines}


def _tell_of_copies(context: Context) -> None:
    """Warns if the plugin is installed more than once, because each change arrives twice then."""
    if context.state is None:
        with suppress(StashUnavailable):
            context.quick_state()
    context.warn_of_copies()


def _explained(error: Exception, context: Context) -> str:
    """What is wrong and what to do, for an error that stops a button."""
    if isinstance(error, store.BeingReplaced):
        return "The queue is being made, repaired or upgraded. Try again in a moment."
    if isinstance(error, sqlite3.Error):
        return unreadable(f"A database in {context.folder}", error)
    if isinstance(error, locks.LocksUnavailable):
        return str(error)
    if isinstance(error, OSError):
        where, reason = error.filename or context.folder, error.strerror or error
        return f"{where} can't be used ({reason}). Check its owner and the free disk space."
    return sentence(str(error), LONGEST)
