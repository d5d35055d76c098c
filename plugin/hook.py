"""The hook: stores a scene's change as a durable row of the inbox, then wakes the worker.

Stash waits for this process inside the user's request. So it uses the standard library only, reads no settings,
asks Stash nothing, and does nothing whose cost grows with the backlog.
"""

from __future__ import annotations

import os
import sys
import time

from stash_courier.plugin.errors import BadInputError
from stash_courier.queue.inbox import files, lean, locks
from stash_courier.queue.inbox.events import EVENTS
from stash_courier.worker import process

TYPE_CHECKING = False  # importing typing is expensive for a hook
if TYPE_CHECKING:
    from typing import Any, NoReturn

BY_TRIGGER = {trigger: event for event, (trigger, _) in EVENTS.items()}
NOT_CHANGES = {"id", "ids", "clientMutationId"}  # fields of the input that select scenes
# Key in stash.json → Stash's name for it. They say where Stash is.
PLACE = {"scheme": "Scheme", "host": "Host", "port": "Port", "dir": "Dir", "plugin_dir": "PluginDir"}
MOST_CHANGES = 64  # Stash's inputs have about 25 fields
LONGEST_NAME = 64
LONGEST_ID = 19  # digits of SQLite's largest id
# stash.json holds a session cookie, which expires after the owner's max_session_age: an hour, or seconds. A
# worker that starts needs a valid one, but a bulk edit need not write the file with every scene.
ADDRESS_AGE_SECONDS = 1
TELL_SECONDS = 3600.0  # between two lines in Stash's log that say why no worker can run
NO_WORKER = (process.NoWorkerHere, locks.LocksUnavailable)  # lasting reasons, each with a message for the owner


def main(raw: bytes, root: str) -> int:
    """Carries out the request that Stash wrote to standard input (``raw``).

    Returns:
        The exit code: 0, or 1 after an error that is on stdout and in Stash's log.
    """
    try:
        request = _object(_parsed(raw), "standard input")
        args = _object(request.get("args"), "args")
        mode = args.get("mode")
        if mode == "hook":
            return _answer(_hook(request, args, root))
        folder = data_folder(request)
        keep_address(request, folder, force=True)
        if mode == "wake":
            if os.path.exists(os.path.join(folder, files.NOTICES)):
                from stash_courier.plugin import notices

                notices.show(folder)
            return _answer(_wake_for_page(folder, root))
        return _answer(_press(mode, args, folder, root))
    except BadInputError as error:
        if not error.silent:
            from stash_courier.plugin import log

            log.error(str(error))
        sys.stdout.write(lean.dumps({"error": str(error)}))
        return 1


def end_process(code: int) -> NoReturn:
    """Ends the process without the interpreter's cleanup: everything that must be durable already is."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def data_folder(request: dict[str, Any]) -> str:
    """The data folder, created with mode 0700 if it is missing.

    Raises:
        BadInputError: Stash named no folder, or it can't be created.
    """
    folder = os.environ.get("STASH_COURIER_DATA")
    if not folder:
        config = _object(request.get("server_connection"), "server_connection").get("Dir")
        if not isinstance(config, str) or not config:
            raise BadInputError("Stash named no configuration folder (server_connection.Dir). Nothing was queued.")
        folder = os.path.join(config, "stash_courier")
    folder = os.path.abspath(folder)
    if not os.path.isdir(folder):
        try:
            os.makedirs(folder, mode=0o700, exist_ok=True)
            files.sync_folder(os.path.dirname(folder))
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "the name is not possible"
            raise BadInputError(
                f"The data folder {folder} can't be created ({reason}). Check the folder above it and the free "
                "disk space. Nothing was queued."
            ) from error
    return folder


def _parsed(raw: bytes) -> object:
    try:
        return lean.loads(raw)
    except (ValueError, RecursionError) as error:
        raise BadInputError(
            "Standard input isn't JSON. Stash starts this program for hooks and buttons. To run the worker by "
            "hand, start: main.py worker"
        ) from error


def _object(value: object, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BadInputError(f"{name} isn't a JSON object. This program must be started by Stash.")
    return value


def _hook(request: dict[str, Any], args: dict[str, Any], root: str) -> str:
    from stash_courier.queue.inbox import (
        store,  # only here: the other modes need no database, or need all of sqlite3
    )

    at = time.time()
    event = _event(_object(args.get("hookContext"), "args.hookContext"), at)
    folder = data_folder(request)
    data = store.encode(event)
    try:
        store.put(folder, data, at)
    except (store.QueueUnavailable, OSError) as error:
        _spool(folder, data, error)
    keep_address(request, folder)
    try:
        _wake(folder, root)
    except NO_WORKER:
        pass  # the next page load or button says why; a bulk edit would say it a thousand times
    except BadInputError as error:  # the event is stored, so the hook succeeded
        from stash_courier.plugin import log

        log.warning(str(error))
    return "queued"


def _press(mode: object, args: dict[str, Any], folder: str, root: str) -> object:
    """Presses a button. The code of the buttons needs a newer Python than this module."""
    from stash_courier.plugin import vendored
    from stash_courier.worker import requirements

    if unmet := requirements.unmet():
        raise BadInputError(unmet)
    vendored.add(root)
    try:
        from stash_courier.plugin import tasks

        return tasks.run(mode, args, folder, root)
    except ImportError as error:
        raise BadInputError(
            f"The plugin can't start ({error}). Install it again with everything that belongs to its folder. "
            f"Changes are kept in {folder} and delivered then."
        ) from error
    except BadInputError as error:
        error.silent = mode in tuple(tasks.MODES) and not tasks.pressed(args)
        raise


def _wake_for_page(folder: str, root: str) -> str:
    """Wakes the worker for a page load. If no worker can run here, Stash's log says so once an hour."""
    try:
        return _wake(folder, root)
    except NO_WORKER as error:
        _tell(folder, str(error))
        return "off"


def _tell(folder: str, sentence: str) -> None:
    from stash_courier.plugin import log

    told = os.path.join(folder, files.TOLD)
    try:
        age = time.time() - os.path.getmtime(told)
    except OSError:
        age = TELL_SECONDS  # never told
    if 0 <= age < TELL_SECONDS:
        return
    log.warning(sentence)
    try:
        os.close(os.open(told, os.O_WRONLY | os.O_CREAT, 0o600))
        os.utime(told)
    except OSError:
        pass  # then the next page load says it again


def _wake(folder: str, root: str) -> str:
    try:
        return "awake" if process.wake(folder) or process.start(folder, root) else "off"
    except locks.LocksUnavailable:
        raise
    except OSError as error:
        raise BadInputError(
            f"The worker can't be started ({error.strerror}). Check the owner of {folder} and the disk space. "
            "Changes are kept there and delivered when the worker runs."
        ) from error


def _spool(folder: str, data: bytes, reason: Exception) -> None:
    from stash_courier.queue.inbox import spool  # only here: each import costs every hook

    try:
        spool.put(folder, data)
    except OSError as error:
        raise BadInputError(
            f"This change could not be kept: {reason}; and {folder}/{files.SPOOL} can't be written "
            f"({error.strerror}). Free disk space or correct the folder's permissions, then save the scene again."
        ) from error


def _event(context: dict[str, Any], at: float) -> dict[str, object]:
    """The event as the inbox holds it. Never the whole input, which may contain a cover of megabytes."""
    trigger = str(context.get("type"))
    kind = BY_TRIGGER.get(trigger)
    if kind is None:
        raise BadInputError(
            f"args.hookContext.type is {trigger[:80]!r}. Known: {', '.join(BY_TRIGGER)}. Nothing was queued."
        )
    event: dict[str, object] = {
        "scene": _scene_id(context.get("id")),
        "event": kind,
        "changed": _changed(context.get("inputFields")),
        "at": at,
    }
    source = context.get("input")
    if kind == "destroy" and isinstance(source, dict):
        event.update((k, source[k]) for k in ("path", "oshash", "checksum") if isinstance(source.get(k), str))
    return event


def _scene_id(value: object) -> int:
    """A scene's id, as a number or as Stash's GraphQL writes it, in quotes."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= LONGEST_ID:
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value < 2**63:
        raise BadInputError("args.hookContext.id isn't a scene's id. Nothing was queued.")
    return value


def _changed(fields: object) -> list[str]:
    """The names of the changed fields, sorted, without those that can't be names."""
    named = fields if isinstance(fields, list) else []
    names = {f for f in named if isinstance(f, str) and f.isidentifier() and len(f) <= LONGEST_NAME}
    return sorted(names - NOT_CHANGES)[:MOST_CHANGES]


def keep_address(request: dict[str, Any], folder: str, *, force: bool = False) -> None:
    """Writes stash.json, which tells the worker how to reach Stash, if it is old or names another Stash.

    A file that can't be written is only logged: the event is stored, and the next hook tries again. ``force``
    writes even if the file is new, because a button uses it at once.
    """
    server = request.get("server_connection")
    if not isinstance(server, dict):
        return
    place = {key: server.get(name) for key, name in PLACE.items()}
    path = os.path.join(folder, files.STASH)
    now = time.time()
    if not force and _is_fresh(path, place, now):
        return
    cookie = server.get("SessionCookie")
    value = cookie.get("Value") if isinstance(cookie, dict) else ""
    draft = f"{path}.{os.getpid()}"
    try:
        fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(fd, "wb") as file:
            file.write(lean.dumps({**place, "cookie": value or "", "at": now}).encode("ascii"))
        os.replace(draft, path)
    except OSError as error:
        from stash_courier.plugin import log

        try:
            os.remove(draft)
        except OSError:
            pass  # it was never created
        log.warning(f"{path} can't be written ({error.strerror}), so the worker may not reach Stash.")


def _is_fresh(path: str, place: dict[str, Any], now: float) -> bool:
    """Whether stash.json names this place and is less than a second old."""
    try:
        with open(path, "rb") as file:
            known = lean.loads(file.read())
        young: bool = 0 <= now - known["at"] < ADDRESS_AGE_SECONDS
        return young and all(known[k] == place[k] for k in place)
    except (OSError, ValueError, LookupError, TypeError, OverflowError, RecursionError):
        return False  # missing or damaged


def _answer(output: object) -> int:
    sys.stdout.write(lean.dumps({"output": output}))
    return 0
