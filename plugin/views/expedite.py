"""The page's "Deliver now": what waits is tried at once, and the worker does it."""

from __future__ import annotations

from stash_courier.plugin import seen
from stash_courier.plugin.arguments import Arguments
from stash_courier.plugin.context import Context
from stash_courier.plugin.text.words import flat
from stash_courier.queue import control


def expedite(context: Context, arguments: Arguments) -> dict[str, object]:
    """Has what waits for a connection, or for all, tried now, even if it was gone. Returns at once."""
    name = arguments.connection
    with context.queue() as queue:
        if name is not None and name not in control.states(queue.connection) and not queue.holds(name):
            known = seen.connections(context, ask=False).loaded
            if name not in known.entries:
                return {"problem": f"There is no connection {flat(name)!r}. Reload this page."}
        with queue.transaction():
            control.expedite(queue.connection, name)
    if not context.wake_worker():
        return {"problem": f"Worker: not running. {context.start_by_hand}"}
    return {}
