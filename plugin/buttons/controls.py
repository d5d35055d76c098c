"""The buttons that steer the worker: pause, resume, restart, stop. It is asked, never killed."""

from __future__ import annotations

import time

from stash_courier.plugin.arguments import Arguments
from stash_courier.plugin.context import Context
from stash_courier.plugin.text.report import count, span
from stash_courier.queue import control, files
from stash_courier.worker import process
from stash_courier.worker.main import GRACE_SECONDS

STOP_SECONDS = 15.0  # more than the worker's own grace
START_SECONDS = 10.0
LOOK_SECONDS = 0.1
assert STOP_SECONDS > GRACE_SECONDS


def pause(context: Context, _: Arguments) -> dict[str, object]:
    """Holds all deliveries until they are resumed."""
    now = time.time()
    with context.queue() as queue:
        since = control.get(queue.connection, control.PAUSED)
        if since is None:
            control.put(queue.connection, control.PAUSED, now)
    if since is None:
        context.report.say(
            "Deliveries are paused: what is on its way ends, changes still go into the queue, also across "
            "restarts. Press «Resume deliveries» to go on."
        )
    else:
        context.report.say(f"Deliveries have been paused for {span(now - since)} already.")
    return {"paused_since": now if since is None else since}


def resume(context: Context, _: Arguments) -> dict[str, object]:
    """Goes on delivering."""
    with context.queue() as queue:
        since = control.get(queue.connection, control.PAUSED)
        control.put(queue.connection, control.PAUSED, None)
        waiting = queue.size
    if since is None:
        context.report.say(f"Deliveries were not paused; {_waits(waiting)}.")
    else:
        context.report.say(f"Deliveries go on after {span(time.time() - since)}; {_waits(waiting)}.")
    context.set_to_work()
    return {"was_paused_since": since, "waiting": waiting}


def stop_worker(context: Context, _: Arguments) -> dict[str, object]:
    """Ends the worker once it has finished what it is sending."""
    stopped = False
    if not process.running(str(context.folder)):
        context.report.say("No worker runs.")
    elif stopped := _stop(context):
        context.report.say(
            "The worker starts again with the next change of a scene or the next page of Stash; to keep it from "
            "delivering, press «Pause deliveries»."
            if context.may_start
            else "This plugin starts no worker again: STASH_COURIER_WORKER=off."
        )
    return {"stopped": stopped, "running": process.running(str(context.folder))}


def restart_worker(context: Context, _: Arguments) -> dict[str, object]:
    """Ends the worker and starts it afresh; starts it if none ran."""
    folder = str(context.folder)
    ran = process.running(folder)
    if ran:
        _stop(context)
    began = time.time()
    if not context.may_start:
        context.report.warn(f"No worker was started: {context.kept_off()}")
        return {"started": False, "pid": None}
    process.start(folder, context.root)
    give_up = time.monotonic() + START_SECONDS
    while time.monotonic() < give_up:
        note = context.worker_note()
        if note is not None and note.heartbeat_at >= began and process.running(folder):
            begun = "The worker runs afresh" if ran else "No worker ran; one runs now"
            context.report.say(f"{begun}: version {note.version}, process {note.pid}.")
            return {"started": True, "pid": note.pid}
        time.sleep(LOOK_SECONDS)
    context.report.warn(
        f"The worker was started but has given no sign of life within {START_SECONDS:.0f} s: the end of "
        f"{context.folder / files.WORKER_LOG} says why."
    )
    return {"started": False, "pid": None}


def _stop(context: Context) -> bool:
    """Asks the worker to end and waits for that; says what came of it."""
    folder, report = str(context.folder), context.report
    ending = "The worker"
    give_up = time.monotonic() + STOP_SECONDS
    while time.monotonic() < give_up:
        # One that has just begun forgets what its forerunner was told, so this is repeated.
        note = context.worker_note()
        if note is not None:
            ending = f"The worker (process {note.pid})"
            with context.queue() as queue:
                if control.get(queue.connection, control.STOP) != note.pid:
                    control.put(queue.connection, control.STOP, note.pid)
        process.wake(folder)
        time.sleep(LOOK_SECONDS)
        if not process.running(folder):
            report.say(f"{ending} has finished what it was sending and ended.")
            return True
    report.warn(
        f"{ending} was asked to end and has not after {STOP_SECONDS:.0f} s: it "
        "does when its last request is over. «Show status» tells."
    )
    return False


def _waits(number: int) -> str:
    if not number:
        return "nothing waits"
    return f"{count(number, 'delivery')} {'waits' if number == 1 else 'wait'}"
