"""The views of all connections: one card each with its state and counts, and the badge of the navigation bar."""

from __future__ import annotations

from stash_courier.plugin import snapshot
from stash_courier.plugin.arguments import Arguments
from stash_courier.plugin.context import Context
from stash_courier.plugin.text import banners
from stash_courier.plugin.text.standings import standings
from stash_courier.plugin.text.words import flat, joined
from stash_courier.queue import control


def overview(context: Context, _: Arguments) -> dict[str, object]:
    """All connections with their states, the worker, and what concerns all of them."""
    now = snapshot.read(context)
    by_hand = "" if context.may_start else context.start_by_hand
    held = banners.blocked(now) or (None if now.running else banners.worker(now, by_hand))
    shown = now.heartbeat if now.running else None
    return {
        "at": now.at,
        "revision": now.stored.revision,
        "worker": {
            "running": now.running,
            "version": shown.version if shown else None,
            "since": shown.started_at if shown else None,
            "text": banners.worker_line(now),
        },
        "banners": [one.facts() for one in banners.concerns(now, by_hand)],
        "paused_since": now.paused_since,
        "inbox": now.inbox,
        "dead_letters": sum(now.dead_letters.values()),
        "connections": [one.card(held.text if held else "") for one in standings(now)],
    }


def badge(context: Context, _: Arguments) -> dict[str, object]:
    """What the badge shows: open dead letters, and connections that are down. Makes no request."""
    now = snapshot.read(context, ask=False)
    total = sum(now.dead_letters.values())
    down = [one.name for one in standings(now) if one.is_down] if now.has_queue else []
    unread = dict.fromkeys(banners.unreadable(name, error) for name, error in now.unreadable.items())
    wrong = [one for one in unread if one.status == "fail"]
    text = joined(
        f"Dead letters: {total:,}." if total else "",
        f"Held up: {', '.join(down)}." if down else "",
        *(one.text for one in unread),
    )
    count, passes = total + len(down) + len(wrong), len(unread) > len(wrong)
    return {"count": count, "dead_letters": total, "down": down, "text": text, "passes": passes}


def expedite(context: Context, arguments: Arguments) -> dict[str, object]:
    """Has what waits for a connection, or for all, tried now, even if it was gone. Returns at once."""
    name = arguments.connection
    with context.queue() as queue:
        there = name is None or name in control.states(queue.connection) or queue.holds(name)
        if name is not None and not there and context.store.read().find(name) is None:
            return {"problem": f"There is no connection {flat(name)!r}. Reload this page."}
        with queue.transaction():
            control.expedite(queue.connection, name)
    if not context.wake_worker():
        return {"problem": f"Worker: not running. {context.start_by_hand}"}
    return {}
