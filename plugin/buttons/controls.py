"""The task "Restart", and the modes pause, resume and stop_worker. A worker that hangs is killed."""

from __future__ import annotations

import sqlite3
import time

from stash_courier.plugin.arguments import Arguments
from stash_courier.plugin.context import Context
from stash_courier.queue import control
from stash_courier.queue.inbox import files, store
from stash_courier.worker import heartbeat, process
from stash_courier.worker.main import GRACE_SECONDS

STOP_SECONDS = 15.0  # longer than the worker's own grace period
KILLED_SECONDS = 5.0  # until the system has ended a process
START_SECONDS = 10.0
LOOK_SECONDS = 0.1
assert STOP_SECONDS > GRACE_SECONDS


def pause(context: Context, _: Arguments) -> dict[str, object]:
    """Holds all deliveries until they are resumed."""
    now = time.time()
    with context.queue() as queue:
        paused_since = control.get(queue.connection, control.PAUSED)
        if paused_since is None:
            control.put(queue.connection, control.PAUSED, now)
    return {"paused_since": now if paused_since is None else paused_since}


def resume(context: Context, _: Arguments) -> dict[str, object]:
    """Ends a pause."""
    with context.queue() as queue:
        control.put(queue.connection, control.PAUSED, None)
        waiting = queue.size
    context.start_work()
    return {"waiting": waiting}


def stop_worker(context: Context, _: Arguments) -> dict[str, object]:
    """Ends the worker once it has finished its requests in flight."""
    stopped = process.running(str(context.folder)) and _stop(context)
    return {"stopped": stopped, "running": process.running(str(context.folder))}


def restart_worker(context: Context, _: Arguments) -> dict[str, object]:
    """Stops the worker if it runs, then starts it."""
    folder, began = str(context.folder), time.time()
    ran = process.running(folder)
    if ran and not _stop(context):
        return {"started": False, "pid": None}
    if context.may_start:
        process.start(folder, context.root)
    # Where this plugin may not start one, a service manager may do it.
    status = _new_worker(context, began) if ran or context.may_start else None
    if status is not None:
        done = "restarted" if ran else "started (it was not running)"
        context.say(f"Worker: {done}. Version: {status.version}. Process: {status.pid}.")
        return {"started": True, "pid": status.pid}
    if context.may_start:
        context.warn(
            f"Worker: started, but without a heartbeat after {START_SECONDS:.0f} s. "
            f"The end of {context.folder / files.WORKER_LOG} says why."
        )
    else:
        context.warn(f"Worker: not started. {context.start_by_hand}")
    return {"started": False, "pid": None}


def _new_worker(context: Context, began: float) -> heartbeat.Heartbeat | None:
    """Waits for the heartbeat of a worker that started after ``began``; None if there is none in time."""
    give_up = time.monotonic() + START_SECONDS
    while time.monotonic() < give_up:
        status = heartbeat.read(context.folder)
        if status is not None and status.started_at >= began and process.running(str(context.folder)):
            return status
        time.sleep(LOOK_SECONDS)
    return None


def _stop(context: Context) -> bool:
    """Asks the worker to stop and waits for its end; ends it if it hangs. False if it still runs."""
    folder = str(context.folder)
    asked: heartbeat.Heartbeat | None = None
    give_up = time.monotonic() + STOP_SECONDS
    while time.monotonic() < give_up:
        # None for a worker that is starting: it is asked after its first heartbeat.
        status = heartbeat.read(context.folder)
        replaced = asked is not None and status is not None and status.pid != asked.pid
        if status is not None and not replaced:
            asked = status
            _ask(context, status.pid)  # again and again: new code in the same process drops earlier requests
        process.wake(folder)
        time.sleep(LOOK_SECONDS)
        if replaced or not process.running(folder):  # replaced: a hook has started the next one
            context.say(f"Worker: stopped, with its requests in flight finished.{_named(asked)}")
            return True
    return _end_hanging(context, _named(asked))


def _named(worker: heartbeat.Heartbeat | None) -> str:
    return "" if worker is None else f" Process: {worker.pid}."


def _ask(context: Context, pid: int) -> None:
    try:
        with context.queue() as queue:
            if control.get(queue.connection, control.STOP) != pid:
                control.put(queue.connection, control.STOP, pid)
    except (store.QueueUnavailable, sqlite3.Error):
        pass  # a worker that hangs may keep queue.db locked


def _end_hanging(context: Context, who: str) -> bool:
    """Kills the worker if this process is sure which one it is; whether it has ended."""
    late = f"{STOP_SECONDS:.0f} s after it was asked to stop"
    try:
        pid = heartbeat.kill(context.folder)
    except OSError:
        pid = None  # another user's
    give_up = time.monotonic() + KILLED_SECONDS
    while pid is not None and time.monotonic() < give_up:
        if not process.running(str(context.folder)):
            context.warn(
                f"Worker: ended by force, because it was still running {late}. Process: {pid}. What it was "
                "sending is sent again."
            )
            return True
        time.sleep(LOOK_SECONDS)
    context.warn(
        f"Worker: still running {late}.{who} It can't be ended from here. If it runs in another container or as "
        "another user, end it there."
    )
    return False
