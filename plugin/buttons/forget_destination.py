"""The mode that forgets a destination which the owner has removed from the settings.

Without it, what waits for that destination is kept for 30 days. The wish is recorded; the worker carries it out.
"""

from __future__ import annotations

from stash_courier.plugin import snapshot
from stash_courier.plugin.arguments import Arguments
from stash_courier.plugin.context import Context
from stash_courier.plugin.errors import BadInputError
from stash_courier.plugin.text.words import flat, sentence
from stash_courier.queue import control
from stash_courier.queue.history import ledger

NOTHING = "Nothing was done."


def forget_destination(context: Context, arguments: Arguments) -> dict[str, object]:
    """Has a removed destination dropped with its state, its ledger, and what waits for it."""
    name = arguments.destination
    if name is None:
        raise BadInputError(f"forget_destination needs the argument destination. {NOTHING}")
    waiting = _waiting(context, name, arguments.waiting)
    forget(context, name, arguments.waiting or "dead_letter")
    context.start_work()
    return {"destination": name, "waiting": waiting}


def forget(context: Context, name: str, waiting: str) -> None:
    """Asks the worker to drop what is known of a destination that is no longer set up.

    ``waiting``: what becomes of what waits for it, dead_letter or discard.
    """
    with context.queue() as queue, queue.transaction():
        wanted = control.get(queue.connection, control.FORGET, dict) or {}
        control.put(queue.connection, control.FORGET, {**wanted, name: waiting})


def _waiting(context: Context, name: str, waiting: str | None) -> int:
    """How many deliveries wait for the destination; refuses one that can't be forgotten."""
    seen = snapshot.read(context)
    if seen.stash_error:  # then what is set up isn't known
        raise BadInputError(f"{sentence(seen.stash_error)} {NOTHING}")
    with context.queue() as queue:
        sent = ledger.highest(queue.connection, name)
    removed = sorted(one for one in {*seen.healths, *seen.backlog} if not seen.names(one))
    if seen.names(name):
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
