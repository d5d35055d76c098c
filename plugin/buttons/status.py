"""The button "Show status": the worker, Stash, each destination, dead letters, and problems with settings.

It works whatever is broken: for a part that can't be read a line says why, and the rest is shown.
"""

from __future__ import annotations

import sqlite3
import time
from typing import Any

from stash_courier.plugin import seen
from stash_courier.plugin.arguments import Arguments
from stash_courier.plugin.buttons.dead_letters import group_facts
from stash_courier.plugin.context import Context
from stash_courier.plugin.snapshot import NO_QUEUE, Snapshot
from stash_courier.plugin.text import banners
from stash_courier.plugin.text.standings import NONE_SET_UP, standings
from stash_courier.plugin.text.words import ago, flat, joined, scene, since
from stash_courier.queue import failures
from stash_courier.queue.inbox import files, store
from stash_courier.worker import VERSION, heartbeat, process
from stash_courier.worker.destinations import Loaded
from stash_courier.worker.fields import Problem
from stash_courier.worker.stash.address import StashUnavailable

GROUPS = 5  # groups of dead letters that are listed; "Review dead letters" lists more


def status(context: Context, _: Arguments) -> dict[str, object]:
    """Reports the state of everything. The order of the answer is the order of the lines."""
    report = context.report
    loaded, problems, stash_error = _settings(context)
    context.warn_of_copies()
    snapshot, queue_banner = seen.queue(context, time.time())
    queue_error = "" if queue_banner is None else queue_banner.text
    moment = snapshot or NO_QUEUE
    if loaded is None:
        problems = moment.problems
    if loaded is not None and loaded.empty:
        report.warn(NONE_SET_UP)
    waits = context.spooled() > 0 or moment.waits(loaded)
    worker = _worker(context, None if queue_error else waits)
    if stash_error:
        report.warn(banners.stash_unknown(stash_error).line(time.time()))
    if queue_error:
        report.warn(queue_error)
    elif snapshot is None:
        report.say("Queue: empty, no change of a scene has arrived yet. Save a scene to try it.")
    elif held := banners.blocked(moment, running=bool(worker["running"])):
        report.warn(held.line(moment.at))
    slow = moment.stash_slow if worker["running"] else None
    if slow is not None:
        report.warn(banners.slow(slow).line(time.time()))
    return {
        "worker": worker,
        "stash": stash_error,
        "stash_slow": slow,
        "queue": queue_error,
        "paused_since": moment.paused_since,
        "destinations": [] if snapshot is None else _destinations(context, snapshot, loaded),
        "inbox": moment.inbox,
        "notices": list(moment.notices),
        "spool": _spool(context),
        "dead_letters": _dead_letters(context),
        "problems": context.warn_of_settings(problems),
        "last_delivery": None if snapshot is None else _last_delivery(context, snapshot),
    }


def _settings(context: Context) -> tuple[Loaded | None, tuple[Problem, ...], str]:
    """What is set up (None: unknown), problems with settings, and why Stash can't be asked."""
    try:
        with context.setup() as setup:
            return setup.loaded, setup.problems, ""
    except StashUnavailable as error:
        return None, (), str(error)


def _worker(context: Context, waits: bool | None) -> dict[str, object]:
    """The worker; ``waits`` is whether something waits for it, or None if the queue can't be read."""
    running = process.running(str(context.folder))
    last = heartbeat.read(context.folder)
    if running:
        _say_running(context, last)
    else:
        state = {None: "", True: ", but deliveries wait", False: ", nothing waits"}[waits]
        start = 'It starts with the next change of a scene, the next page load in Stash, or "Restart the worker".'
        say = context.report.say if waits is False else context.report.warn
        say(f"Worker: not running{state}. {start if context.may_start else context.start_by_hand}")
    known = last if running else None
    return {
        "running": running,
        "pid": known.pid if known else None,
        "version": known.version if known else None,
        "started_at": known.started_at if known else None,
        "heartbeat_at": last.heartbeat_at if last else None,
    }


def _say_running(context: Context, last: heartbeat.Heartbeat | None) -> None:
    if last is None:
        context.report.say("Worker: running. It has not reported yet.")
        return
    now = time.time()
    late = last.is_late(now)
    (context.report.warn if late else context.report.say)(
        joined(
            f"Worker: running {since(last.started_at, now)}. Version: {last.version}. Process: {last.pid}. "
            f"Last heartbeat: {ago(now - last.heartbeat_at)}.",
            'The heartbeat is late. If this persists, press "Restart the worker".' if late else "",
            "" if last.version == VERSION else f"Version on disk: {VERSION}; the worker switches to it by itself.",
        )
    )


def _destinations(context: Context, snapshot: Snapshot, loaded: Loaded | None) -> list[dict[str, object]]:
    """Reports each destination, new changes, and the worker's notices; returns facts about the destinations."""
    report = context.report
    found = standings(snapshot, loaded)
    for one in found:
        (report.warn if one.troubled else report.say)(one.line(snapshot))
        for remark in one.remarks:
            report.say(f"{one.name}: {remark.sentence()}")
    if waiting := banners.undecided(snapshot, loaded):
        report.warn(waiting.line(snapshot.at))
    elif snapshot.inbox:
        report.say(f"New changes: {snapshot.inbox:,}. The worker assigns them to the connections next.")
    for notice in snapshot.notices:
        report.warn(notice)
    return [one.facts() for one in found]


def _spool(context: Context) -> int:
    spooled = context.spooled()
    if spooled:
        context.report.warn(banners.outside_the_queue(spooled).line(time.time()))
    return spooled


def _dead_letters(context: Context) -> dict[str, object]:
    report = context.report
    try:
        with context.dead_letters() as dlq:
            total, groups = dlq.get_count(), dlq.count_by_error()
    except (store.QueueUnavailable, sqlite3.Error) as error:
        report.warn(seen.unreadable(files.DLQ_DB, error).text)
        return {"total": None, "groups": []}
    if total:
        shown = groups[:GROUPS]
        names = {"": "no connection", **context.names()}
        listed = [f"{names.get(where, where)}, {failures.label(kind)}: {n:,}" for kind, where, n in shown]
        more = "; …" if len(groups) > GROUPS else ""
        report.warn(f'Dead letters: {total:,} ({"; ".join(listed)}{more}). Press "Review dead letters".')
    else:
        report.say("Dead letters: 0.")
    return {"total": total, "groups": group_facts(groups)}


def _last_delivery(context: Context, snapshot: Snapshot) -> dict[str, Any] | None:
    last = snapshot.last_success
    if last is None:
        context.report.say("Last delivery: none yet.")
        return None
    scene_id = int(last["scene_id"])
    title = context.titles({scene_id}).get(scene_id, "")
    name = str(last["destination"])
    where, when = context.names().get(name, flat(name)), ago(snapshot.at - float(last["at"]))
    context.report.say(f"Last delivery: {scene(scene_id, title)} to {where}, {when}.")
    return {**last, "title": title}
