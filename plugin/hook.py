"""The hot path: a scene hook becomes a durable row of the inbox, then the worker is woken.

Stash waits for this process inside the user's request, so: standard library only, no request to
Stash, no settings, nothing that grows with backlog or history.
"""

from __future__ import annotations

import os
import sys
import time

from stash_courier.plugin.errors import BadInputError
from stash_courier.queue import files, lean_json, store
from stash_courier.queue.events import EVENTS
from stash_courier.worker import process

TYPE_CHECKING = False  # typing costs each hook a fifth of a bare interpreter's start
if TYPE_CHECKING:
    from typing import Any, NoReturn

BY_TRIGGER = {trigger: event for event, (trigger, _) in EVENTS.items()}
# Names of the input that say which scenes, not what changed.
NOT_CHANGES = {"id", "ids", "clientMutationId"}
MOST_CHANGES = 64  # Stash's inputs have about 25 fields
LONGEST_NAME = 64
LONGEST_ID = 19  # digits of SQLite's largest id
# The session cookie in the note lives as long as the owner's max_session_age, an hour or seconds; a
# worker that starts must find one that is good, and a bulk edit need not write it with every scene.
CONNECTION_AGE_SECONDS = 1


def main(raw: bytes, root: str) -> int:
    """Acts on what Stash wrote to standard input.

    Args:
        raw: standard input, whole.
        root: the plugin's folder.

    Returns:
        The exit code: 0, or 1 after an error that was said on stdout and in Stash's log.
    """
    try:
        request = _object(_parsed(raw), "standard input")
        args = _object(request.get("args"), "args")
        mode = args.get("mode")
        if mode == "hook":
            return _answer(_hook(request, args, root))
        folder = data_folder(request)
        keep_connection(request, folder, anyway=True)
        if mode == "wake":
            return _answer(_wake(folder, root))
        from stash_courier.plugin import vendored

        vendored.add(root)
        from stash_courier.plugin import tasks

        return _answer(tasks.run(mode, args, folder, root))
    except BadInputError as error:
        from stash_courier.plugin import log

        log.error(str(error))
        sys.stdout.write(lean_json.dumps({"error": str(error)}))
        return 1


def end_process(code: int) -> NoReturn:
    """Ends the process without the interpreter's clean-up: everything durable is durable by now."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def data_folder(request: dict[str, Any]) -> str:
    """The data folder, made with mode 0700 if it is missing.

    Raises:
        BadInputError: Stash named no folder, or it can't be made.
    """
    folder = os.environ.get("STASH_COURIER_DATA")
    if not folder:
        config = _object(request.get("server_connection"), "server_connection").get("Dir")
        if not isinstance(config, str) or not config:
            raise BadInputError("Stash named no configuration folder (server_connection.Dir): nothing was queued")
        folder = os.path.join(config, "stash_courier")
    folder = os.path.abspath(folder)
    if not os.path.isdir(folder):
        try:
            os.makedirs(folder, mode=0o700, exist_ok=True)
            files.sync_folder(os.path.dirname(folder))
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "no such name is possible"
            raise BadInputError(
                f"the data folder {folder} can't be made ({reason}): check its owner and the disk. "
                "Nothing was queued"
            ) from error
    return folder


def _parsed(raw: bytes) -> object:
    try:
        return lean_json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise BadInputError(
            "standard input isn't JSON: Stash starts this program with a task button or a hook, "
            "and `main.py worker` runs the worker by hand"
        ) from error


def _object(value: object, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BadInputError(f"{name} isn't a JSON object: this plugin must be started by Stash")
    return value


def _hook(request: dict[str, Any], args: dict[str, Any], root: str) -> str:
    at = time.time()
    event = _event(_object(args.get("hookContext"), "args.hookContext"), at)
    folder = data_folder(request)
    data = store.encode(event)
    try:
        store.put(folder, data, at)
    except (store.QueueUnavailable, OSError) as error:
        _spool(folder, data, error)
    keep_connection(request, folder)
    _rouse(folder, root)
    return "queued"


def _wake(folder: str, root: str) -> str:
    try:
        return "awake" if process.wake(folder) or process.start(folder, root) else "off"
    except OSError as error:
        raise BadInputError(
            f"the worker can't be started ({error.strerror}): changes wait in {folder} and are delivered "
            "when it can; check the disk and the folder's owner"
        ) from error


def _rouse(folder: str, root: str) -> None:
    """Wakes the worker or starts one. The event is safe, so that what keeps it from that is only said."""
    try:
        _wake(folder, root)
    except BadInputError as error:
        from stash_courier.plugin import log

        log.warning(str(error))


def _spool(folder: str, data: bytes, reason: Exception) -> None:
    from stash_courier.queue import spool  # only here: each import costs every hook

    try:
        spool.put(folder, data)
    except OSError as error:
        raise BadInputError(
            f"this change could not be kept: {reason}; and {folder}/{files.SPOOL} can't be written "
            f"({error.strerror}). Free disk space or mend the folder's permissions, then save the scene again"
        ) from error


def _event(context: dict[str, Any], at: float) -> dict[str, object]:
    """The scene job: who, what, when. Never the input itself, which may hold a cover of megabytes."""
    kind = BY_TRIGGER.get(str(context.get("type")))
    if kind is None:
        raise BadInputError(
            f"the hook {str(context.get('type'))[:80]!r} is none of {', '.join(BY_TRIGGER)}: nothing was queued"
        )
    scene_id = context.get("id")
    if isinstance(scene_id, str) and scene_id.isascii() and scene_id.isdigit() and len(scene_id) <= LONGEST_ID:
        scene_id = int(scene_id)
    if not isinstance(scene_id, int) or isinstance(scene_id, bool) or not 0 < scene_id < 2**63:
        raise BadInputError("hookContext.id isn't a scene's id: nothing was queued")
    fields = context.get("inputFields")
    named = fields if isinstance(fields, list) else []
    changed = sorted(
        {f for f in named if isinstance(f, str) and f.isidentifier() and len(f) <= LONGEST_NAME} - NOT_CHANGES
    )
    event: dict[str, object] = {
        "scene": scene_id,
        "event": kind,
        "changed": changed[:MOST_CHANGES],
        "at": at,
    }
    source = context.get("input")
    if kind == "destroy" and isinstance(source, dict):
        event.update((k, source[k]) for k in ("path", "oshash", "checksum") if isinstance(source.get(k), str))
    return event


def keep_connection(request: dict[str, Any], folder: str, *, anyway: bool = False) -> None:
    """Leaves the worker a note how to reach Stash, if the last one is old or of another place.

    A note that can't be written is said and nothing more: the event is safe, and the next hook tries again.

    Args:
        request: what Stash wrote to standard input.
        folder: the data folder.
        anyway: writes it even if the last one is fresh: a button uses it itself.
    """
    server = request.get("server_connection")
    if not isinstance(server, dict):
        return
    cookie = server.get("SessionCookie")
    place = {
        "scheme": server.get("Scheme"),
        "host": server.get("Host"),
        "port": server.get("Port"),
        "dir": server.get("Dir"),
        "plugin_dir": server.get("PluginDir"),
    }
    path = os.path.join(folder, files.CONNECTION)
    now = time.time()
    try:
        with open(path, "rb") as file:
            known = lean_json.loads(file.read())
        fresh = not anyway and 0 <= now - known["at"] < CONNECTION_AGE_SECONDS
        if fresh and all(known[k] == place[k] for k in place):
            return
    except (OSError, ValueError, LookupError, TypeError, OverflowError, RecursionError):
        pass  # none yet, or damaged: write a new one
    value = cookie.get("Value") if isinstance(cookie, dict) else ""
    draft = f"{path}.{os.getpid()}"
    try:
        fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(fd, "wb") as file:
            file.write(lean_json.dumps({**place, "cookie": value or "", "at": now}).encode("ascii"))
        os.replace(draft, path)
    except OSError as error:
        from stash_courier.plugin import log

        try:
            os.remove(draft)
        except OSError:
            pass  # it was never made
        log.warning(f"{path} can't be written ({error.strerror}): the worker may not reach Stash")


def _answer(output: object) -> int:
    sys.stdout.write(lean_json.dumps({"output": output}))
    return 0
