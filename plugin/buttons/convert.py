"""The button "Convert settings": makes connections from the settings on Stash's page.

connections.json is written first. If the settings in Stash can't be emptied then, their values are known as
converted and are ignored, and the button can be pressed again.
"""

from __future__ import annotations

from stash_courier.plugin.arguments import Arguments
from stash_courier.plugin.context import Context
from stash_courier.plugin.errors import BadInputError
from stash_courier.plugin.text.words import joined
from stash_courier.queue.inbox import files
from stash_courier.worker.connections import quick_start
from stash_courier.worker.connections.store import Conflict


def convert_settings(context: Context, _: Arguments) -> dict[str, object]:
    """Makes a connection of each set of quick start settings, with the filters of earlier versions."""
    state = context.plugin_state()
    raw = state.settings
    stored = context.store.read()
    implicit = quick_start.read(raw, stored)
    if problems := implicit.bad_urls:
        raise BadInputError(f"{problems[0].message} Nothing was converted.")
    wanted, left = quick_start.converted(raw, stored)
    made = [entry.id for entry in wanted.entries[len(stored.entries) :]]
    if left == raw:
        why = (
            "Enter the address of a receiver first; the filters are for it."
            if implicit.former
            else "There is nothing to convert."
        )
        context.report.say(f"Settings converted: 0. {why}")
        return {"connections": [], "emptied": []}
    try:
        context.store.change(stored.revision, lambda _: wanted)
    except Conflict as error:
        raise BadInputError("The connections were changed at the same time. Press this button again.") from error
    emptied = sorted(raw.keys() - left.keys())
    context.empty_settings(left)
    context.start_work()
    if unclaimed := quick_start.unclaimed(implicit, stored):
        context.report.warn(f"These belong to no connection and apply to none: {', '.join(unclaimed)}.")
    context.report.say(
        joined(
            f"Connections made: {len(made)}{': ' if made else ''}{', '.join(made)}.",
            f"Settings emptied on Stash's page: {', '.join(emptied)}." if emptied else "",
            f"The values are in {files.CONNECTIONS} in the data folder now." if made else "",
            "Reload Stash's pages.",
        )
    )
    return {"connections": made, "emptied": emptied}
