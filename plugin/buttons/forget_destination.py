"""The mode that forgets a destination which the owner has removed from the settings.

Without it, what waits for that destination is kept for 30 days. It asks the worker, or is the worker if none runs.
"""

from __future__ import annotations

import time

from stash_courier.plugin.arguments import Arguments
from stash_courier.plugin.buttons.foreground import as_worker
from stash_courier.plugin.context import Context
from stash_courier.plugin.errors import BadInputError
from stash_courier.plugin.snapshot import named, read
from stash_courier.plugin.text.words import flat
from stash_courier.queue import control
from stash_courier.queue.history import ledger
from stash_courier.worker import main, process

LOOK_SECONDS = 0.1
WAIT_SECONDS = 60.0  # what is left then is done by the worker later
NOTHING = "Nothing was done."


def forget_destination(context: Context, arguments: Arguments) -> dict[str, object]:
    """Drops a removed destination with its state, its ledger, and what waits for it."""
    name = arguments.destination
    if name is None:
        raise BadInputError(f"forget_destination needs the argument destination. {NOTHING}")
    waiting = _allowed(context, name, arguments.waiting)
    return {"destination": name, **forget(context, name, arguments.waiting or "dead_letter"), "waiting": waiting}


def forget(context: Context, name: str, waiting: str) -> dict[str, object]:
    """Drops what is known of a destination that is no longer set up. The worker does later what is left.

    ``waiting``: what becomes of what waits for it, dead_letter or discard.
    """
    with context.queue() as queue, queue.transaction():
        wanted = control.get(queue.connection, control.FORGET) or {}
        control.put(queue.connection, control.FORGET, {**wanted, name: waiting})
    lock = process.hold(str(context.folder))
    if lock is None:
        _wait(context, name)
    else:
        _work(context, name, lock)
    forgotten = not _wanted(context, name)
    if forgotten:
        done = "was discarded" if waiting == "discard" else "became dead letters"
        context.report.say(f"{name}: forgotten. What waited {done}.")
    else:
        context.report.warn(f"{name}: not forgotten yet. The worker continues; a request may still be running.")
    return {"forgotten": forgotten}


def _allowed(context: Context, name: str, waiting: str | None) -> int:
    """How many deliveries wait for the destination; refuses one that can't be forgotten."""
    with context.setup() as setup:
        loaded = setup.loaded
    with context.queue() as queue:
        seen = read(queue.connection, context.folder, time.time())
        sent = ledger.highest(queue.connection, name)
    removed = sorted(one for one in {*seen.healths, *seen.backlog} if not named(seen, one, loaded))
    if named(seen, name, loaded):
        raise BadInputError(f"{flat(name)} is set up. Delete it first. {NOTHING}")
    if name not in removed and not sent:
        known = ", ".join(removed) or "none"
        raise BadInputError(f"There is no removed connection {flat(name)!r}. Removed: {known}. {NOTHING}")
    total = seen.backlog[name].total if name in seen.backlog else 0
    if total and waiting is None:
        raise BadInputError(
            f"Waiting for {flat(name)}: {total:,}. Say what becomes of it: waiting must be dead_letter or "
            f"discard. {NOTHING}"
        )
    return total


def _wanted(context: Context, name: str) -> bool:
    with context.queue() as queue:
        return name in (control.get(queue.connection, control.FORGET) or {})


def _wait(context: Context, name: str) -> None:
    """Waits until the running worker has carried it out."""
    process.wake(str(context.folder))
    give_up = time.monotonic() + WAIT_SECONDS
    while _wanted(context, name) and time.monotonic() < give_up:
        time.sleep(LOOK_SECONDS)


def _work(context: Context, name: str, lock: int) -> None:
    """Carries it out as the worker, then starts one in the background."""
    give_up = time.monotonic() + WAIT_SECONDS
    with as_worker(context, lock) as session:
        while _wanted(context, name) and time.monotonic() < give_up and not session.stop_wanted():
            session.sleep(min(session.dispatcher.step(), LOOK_SECONDS))
            session.attend()
        session.finish(lambda: main.GRACE_SECONDS)
