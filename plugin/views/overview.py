"""The views of all connections: one card each with its state and counts, and the badge of the navigation bar."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace

from stash_courier.plugin import seen
from stash_courier.plugin.arguments import Arguments
from stash_courier.plugin.context import Context
from stash_courier.plugin.snapshot import NO_QUEUE
from stash_courier.plugin.text import actions, banners
from stash_courier.plugin.text.banners import Banner
from stash_courier.plugin.text.standings import Standing, standings
from stash_courier.plugin.text.words import joined, problem_line
from stash_courier.plugin.views import cards
from stash_courier.worker import VERSION, heartbeat, process
from stash_courier.worker.connections.model import Connection
from stash_courier.worker.fields import Problem
from stash_courier.worker.settings import MANIFEST


def overview(context: Context, _: Arguments) -> dict[str, object]:
    """All connections with their states, the worker, and what concerns all of them."""
    now = time.time()
    known = seen.connections(context)
    snapshot, queue_banner = seen.queue(context, now)
    letters, letters_banner = seen.dead_letters(context)
    moment = snapshot or replace(NO_QUEUE, at=now)
    if known.state.enabled:  # the worker hasn't asked Stash since it was enabled
        moment = replace(moment, disabled=False)
    found = standings(moment, known.loaded)
    spooled = context.spooled()
    worker, worker_banner = _worker(context, now, waits=spooled > 0 or moment.waits(known.loaded))
    held = banners.blocked(moment, running=bool(worker["running"]))
    stopped = next((one.text for one in (held, None if worker["running"] else worker_banner) if one), "")
    concerns = [
        known.banner,
        *banners.copies(known.state),
        queue_banner,
        letters_banner,
        *(_of_settings(one) for one in known.problems if not one.connection),  # the others are on their cards
        held,
        worker_banner,
        banners.slow(moment.stash_slow) if moment.stash_slow is not None and worker["running"] else None,
        banners.undecided(moment, known.loaded),
        banners.outside_the_queue(spooled) if spooled else None,
        *map(Banner, moment.notices),
    ]
    return {
        "at": now,
        "revision": known.stored.revision,
        "worker": worker,
        # Both databases may wait for the same.
        "banners": [one.facts() for one in dict.fromkeys(concerns) if one is not None],
        "paused_since": moment.paused_since,
        "inbox": moment.inbox,
        "dead_letters": sum(letters.values()),
        "connections": [
            cards.card(one, moment, known.loaded, letters.get(one.destination, 0), stopped) for one in found
        ],
    }


def badge(context: Context, _: Arguments) -> dict[str, object]:
    """What the badge shows: open dead letters, and connections that are down. Makes no request."""
    known = seen.connections(context, ask=False)
    snapshot, queue_banner = seen.queue(context, time.time())
    letters, letters_banner = seen.dead_letters(context)
    total = sum(letters.values())
    found = [] if snapshot is None else standings(snapshot, known.loaded)
    down = [one.name for one in found if _is_down(one, known.loaded.connections.get(one.destination))]
    unread = [one for one in dict.fromkeys((queue_banner, letters_banner)) if one is not None]
    wrong = [one for one in unread if one.status == "fail"]
    text = joined(
        f"Dead letters: {total:,}." if total else "",
        f"Held up: {', '.join(down)}." if down else "",
        *(one.text for one in unread),
    )
    count, passes = total + len(down) + len(wrong), len(unread) > len(wrong)
    return {"count": count, "dead_letters": total, "down": down, "text": text, "passes": passes}


def _is_down(one: Standing, connection: Connection | None) -> bool:
    """Whether the badge shows a connection. One that asked for a wait, or is often off, isn't down."""
    if one.state == "held":
        return connection is None or not connection.shared.often_off
    return one.state in {"gone", "broken"}


def _worker(context: Context, now: float, *, waits: bool) -> tuple[Mapping[str, object], Banner | None]:
    """The worker, and a banner if it should run and doesn't, or hangs. ``waits``: something waits for it."""
    running, last = process.running(str(context.folder)), heartbeat.read(context.folder)
    late = running and last is not None and last.is_late(now)
    text, banner = "Worker: running.", None
    if not running:
        text = "Worker: not running" + (", but deliveries wait." if waits else ", nothing waits.")
        start = "It starts with the next change of a scene or the next page load in Stash."
        said, action = (start, actions.START) if context.may_start else (context.start_by_hand, None)
        banner = Banner(text, said, action=action) if waits else None
    elif late:
        text = "Worker: running, but its heartbeat is late."
        banner = Banner(text, "If this persists, restart it.", action=actions.RESTART)
    elif last is not None and last.version != VERSION:
        text = f"Worker: running, in version {last.version}. It switches to version {VERSION} by itself."
    shown = last if running else None
    facts = {
        "running": running,
        "version": shown.version if shown else None,
        "since": shown.started_at if shown else None,
        "text": text,
    }
    return facts, banner


def _of_settings(problem: Problem) -> Banner:
    """What is wrong with settings that belong to no single connection."""
    there = any(entry.key == problem.field for entry in MANIFEST)
    return Banner(problem_line(problem), action=actions.OPEN_SETTINGS if there else None, status="fail")
