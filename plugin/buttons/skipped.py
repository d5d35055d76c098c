"""The mode that queues again what a connection skipped because its media server didn't have it."""

from __future__ import annotations

import time

from stash_courier.plugin import log
from stash_courier.plugin.arguments import Arguments
from stash_courier.plugin.context import Context
from stash_courier.plugin.errors import BadInputError
from stash_courier.plugin.text.words import flat
from stash_courier.queue.history import ledger
from stash_courier.queue.inbox import store
from stash_courier.queue.jobs import BULK

PAGE_SCENES = 2500  # in one transaction
NOTHING = "Nothing was queued."


def send_skipped(context: Context, arguments: Arguments) -> dict[str, object]:
    """Queues a connection's skipped scenes, for this connection only and behind all edits."""
    name = arguments.connection
    if name is None:
        raise BadInputError(f"send_skipped needs the argument connection. {NOTHING}")
    with context.setup() as setup:
        entries = setup.loaded.entries
    if name not in entries:
        known = ", ".join(sorted(entries)) or "none"
        raise BadInputError(f"There is no connection {flat(name)!r}. Connections: {known}. {NOTHING}")
    if entries[name].state not in {"on", "paused"}:
        raise BadInputError(f"{entries[name].name} is switched off. Switch it on first. {NOTHING}")
    queued = _queue(context, name)
    order = "Edits are delivered before them." if queued else ""
    context.report.say(f"{entries[name].name}: skipped scenes queued: {queued:,}. {order}".rstrip())
    if queued:
        context.start_work()
    return {"connection": name, "queued": queued}


def _queue(context: Context, name: str) -> int:
    queued = last = 0
    at = time.time()
    with context.queue() as queue:
        total = ledger.count_absent(queue.connection).get(name, 0)
        while scene_ids := ledger.absent(queue.connection, name, last, PAGE_SCENES):
            event = {"event": "update", "changed": [], "at": at, "priority": BULK, "to": [name]}
            queue.put_many(store.encode({"scene": scene_id, **event}) for scene_id in scene_ids)
            queued, last = queued + len(scene_ids), scene_ids[-1]
            log.progress(min(1.0, queued / max(total, 1)))
    return queued
