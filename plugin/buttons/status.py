"""The task "Show status": the worker, what waits, each connection and what to do, dead letters, bad settings.

It works whatever is broken: for a part that can't be read a line says why, and the rest is shown.
"""

from __future__ import annotations

from stash_courier.plugin import snapshot
from stash_courier.plugin.arguments import Arguments
from stash_courier.plugin.context import Context
from stash_courier.plugin.snapshot import Snapshot
from stash_courier.plugin.text import banners
from stash_courier.plugin.text.standings import NONE_SET_UP, standings
from stash_courier.plugin.text.words import joined, problem_line
from stash_courier.queue.inbox import files


def status(context: Context, _: Arguments) -> dict[str, object]:
    """Reports the state of everything."""
    now = snapshot.read(context)
    shown = standings(now)
    _say_what_concerns_all(context, now)
    for one in shown:
        (context.warn if one.troubled else context.say)(one.line(now.at))
    for problem in now.problems:
        if problem.connection:  # the others are among what concerns all
            context.warn(problem_line(problem))
    unread = {name: banners.unreadable(name, error).text for name, error in now.unreadable.items()}
    total = sum(now.dead_letters.values())
    if files.DLQ_DB not in unread:
        _say_dead_letters(context, now, total)
    last = now.heartbeat
    here = last if now.running else None
    return {
        "worker": {
            "running": now.running,
            "pid": here.pid if here else None,
            "version": here.version if here else None,
            "started_at": here.started_at if here else None,
            "heartbeat_at": last.heartbeat_at if last else None,
        },
        "stash": now.stash_error,
        "stash_slow": now.stash_slow if now.running else None,
        "queue": unread.get(files.QUEUE_DB, ""),
        "paused_since": now.paused_since,
        "destinations": [one.facts() for one in shown],
        "inbox": now.inbox,
        "notices": list(now.notices),
        "spool": now.spooled,
        "dead_letters": {"total": None if files.DLQ_DB in unread else total},
        "problems": [
            {"connection": one.connection, "field": one.field, "message": one.message} for one in now.problems
        ],
    }


def _say_what_concerns_all(context: Context, now: Snapshot) -> None:
    if now.loaded.empty:
        context.warn(NONE_SET_UP)
    by_hand = "" if context.may_start else context.start_by_hand
    if banners.worker(now, by_hand) is None:  # else it is among what concerns all
        known = now.heartbeat if now.running else None
        more = f"Version: {known.version}. Process: {known.pid}." if known else ""
        context.say(joined(banners.worker_line(now), more))
    for one in banners.concerns(now, by_hand):
        context.warn(one.line(now.at))
    if not now.has_queue and not now.unreadable:
        context.say("Queue: empty, no change of a scene has arrived yet. Save a scene to try it.")
    elif now.inbox:
        context.say(f"New changes: {now.inbox:,}. The worker assigns them to the connections next.")


def _say_dead_letters(context: Context, now: Snapshot, total: int) -> None:
    if not total:
        context.say("Dead letters: 0.")
        return
    names = {"": "no connection", **context.names()}
    listed = ", ".join(f"{names.get(name, name)}: {count:,}" for name, count in now.dead_letters.items())
    context.warn(f'Dead letters: {total:,} ({listed}). Press "Review dead letters".')
