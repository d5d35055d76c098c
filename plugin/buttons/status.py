"""The button «Show status»: the worker, each destination, what waits, what is dead, what is wrong.

It works whatever is broken: each part that can't be read is said in a sentence, and the rest is shown.
"""

from __future__ import annotations

import sqlite3
import time
from dataclasses import replace
from typing import Any

from stash_courier.plugin.arguments import Arguments
from stash_courier.plugin.context import NONE_SET_UP, Context
from stash_courier.plugin.text.report import ago, count, flat, scene, span
from stash_courier.plugin.text.snapshot import Named, Snapshot, Standing, read, standings, undecided
from stash_courier.queue import failures, files, repair, store
from stash_courier.worker import VERSION, process
from stash_courier.worker.heartbeat import HEARTBEAT_SECONDS
from stash_courier.worker.stash.client import StashUnavailable

LATE_SECONDS = 6 * HEARTBEAT_SECONDS  # a heartbeat older than this is worth a word
GROUPS = 5  # kinds of dead letters that are named; «Review dead letters» names all


def status(context: Context, _: Arguments) -> dict[str, object]:
    """Shows how things stand."""
    report = context.report
    now = time.time()
    named, problems, stash = _settings(context)
    snapshot, trouble = _snapshot(context, now)
    if snapshot is not None and named is None:
        problems = list(snapshot.problems)
    found = [] if snapshot is None else standings(snapshot, named)
    if named is not None and named.nobody:
        report.warn(NONE_SET_UP)
    spooled = context.spooled()
    waiting = None if trouble else bool(spooled or (snapshot and (snapshot.inbox or snapshot.deliveries)))
    worker = _worker(context, now, waiting)
    if stash:
        report.warn(
            f"{stash.rstrip('.')}. Until Stash answers, «Show status» tells of destinations and settings what the "
            "worker knew last."
        )
    if trouble:
        report.warn(trouble)
    elif snapshot is None:
        report.say("The queue is empty: no change of a scene has come in yet. Save any scene to try it.")
    if snapshot is not None:
        held_back = undecided(snapshot, named, found)
        _say_queue(context, snapshot, found, held_back, worker_runs=bool(worker["running"]))
    if spooled:
        report.warn(
            f"{count(spooled, 'change')} could not be put into the queue and {'is' if spooled == 1 else 'are'} "
            f"kept in {files.SPOOL}/: the worker takes them in when it runs."
        )
    dead = _dead_letters(context)
    context.warn_of(problems)
    last = None if snapshot is None else _last_delivery(context, snapshot)
    return {
        "worker": worker,
        "stash": stash,
        "queue": trouble,
        "paused_since": None if snapshot is None else snapshot.paused_since,
        "destinations": [one.facts() for one in found],
        "inbox": 0 if snapshot is None else snapshot.inbox,
        "spool": spooled,
        "dead_letters": dead,
        "problems": [{"setting": setting, "message": message} for setting, message in problems],
        "notices": [] if snapshot is None else list(snapshot.notices),
        "last_delivery": last,
    }


def _settings(context: Context) -> tuple[Named | None, list[tuple[str, str]], str]:
    """The destinations that are set up (None: not known), problems, and why Stash can't be asked."""
    try:
        with context.setup() as setup:
            return setup.named, [(problem.setting, problem.message) for problem in setup.problems], ""
    except StashUnavailable as error:
        return None, [], str(error)


def _snapshot(context: Context, now: float) -> tuple[Snapshot | None, str]:
    """The queue, and why it can't be read; neither if there is none yet."""
    if not (context.folder / files.QUEUE_DB).exists():
        return None, ""
    try:
        with context.queue() as queue:
            return read(queue, now), ""
    except store.QueueUnavailable as error:
        return None, f"The queue can't be read: {error}."
    except sqlite3.DatabaseError as error:
        if repair.is_damage(error):
            return None, (
                f"{files.QUEUE_DB} is damaged ({error}): the worker sets it aside and saves what can be read "
                "when it starts, so press «Restart the worker»."
            )
        return None, f"{files.QUEUE_DB} can't be read now ({error}): nothing is lost, try again."


def _worker(context: Context, now: float, waiting: bool | None) -> dict[str, object]:
    """What the worker does; ``waiting`` is None where nobody can tell whether anything waits."""
    report = context.report
    note = context.worker_note()
    running = process.running(str(context.folder))
    if not running:
        if waiting is None:
            report.warn(f"The worker doesn't run: {_how_to_start(context)}")
        elif waiting:
            report.warn(f"The worker doesn't run and deliveries wait: {_how_to_start(context)}")
        else:
            report.say(f"The worker doesn't run, and nothing waits: {_how_to_start(context)}")
    elif note is None:
        report.say("The worker runs and has just begun.")
    elif now - note.heartbeat_at > LATE_SECONDS:
        report.warn(
            f"The worker (process {note.pid}) runs, but its last sign of life came {ago(now - note.heartbeat_at)}"
            ": if that stays so, press «Restart the worker»."
        )
    else:
        other = "" if note.version == VERSION else f" This plugin is {VERSION}; the worker changes over by itself."
        report.say(
            f"The worker runs: version {note.version}, process {note.pid}, for {span(now - note.started_at)}, "
            f"last sign of life {ago(now - note.heartbeat_at)}.{other}"
        )
    known = running and note is not None
    return {
        "running": running,
        "pid": note.pid if known and note else None,
        "version": note.version if known and note else None,
        "started_at": note.started_at if known and note else None,
        "heartbeat_at": note.heartbeat_at if note else None,
    }


def _how_to_start(context: Context) -> str:
    if context.may_start:
        return "it starts with the next change of a scene, the next page of Stash, or «Restart the worker»."
    return context.kept_off()


def _say_queue(
    context: Context, snapshot: Snapshot, found: list[Standing], held_back: str, *, worker_runs: bool
) -> None:
    report = context.report
    # What a worker that is gone thought of Stash says nothing about now.
    blocked = snapshot.blocked if worker_runs else replace(snapshot, stash_away=None).blocked
    if blocked:
        report.warn(blocked)
    for one in found:
        (report.say if one.state == "well" else report.warn)(one.sentence)
    if held_back:
        report.warn(held_back)
    elif snapshot.inbox:
        report.say(f"{count(snapshot.inbox, 'change')} came in and will be sorted to the destinations.")
    for notice in snapshot.notices:
        report.warn(notice)


def _dead_letters(context: Context) -> dict[str, object]:
    report = context.report
    try:
        with context.dead_letters() as dlq:
            total, groups = dlq.get_count(), dlq.count_by_error()
    except (store.QueueUnavailable, sqlite3.Error) as error:
        mend = isinstance(error, sqlite3.Error) and repair.is_damage(error)
        how = (
            f"{files.DLQ_DB} is damaged ({error}): the worker sets it aside and saves what can be read when it "
            "starts, so press «Restart the worker»."
        )
        report.warn(how if mend else f"The dead letters can't be read: {error}.")
        return {"total": None, "groups": []}
    if total:
        kinds = [
            f"{n:,} {failures.label(kind)} at {where or 'no destination'}" for kind, where, n in groups[:GROUPS]
        ]
        more = ", …" if len(groups) > GROUPS else ""
        report.warn(f"{count(total, 'dead letter')} ({', '.join(kinds)}{more}): press «Review dead letters».")
    else:
        report.say("There are no dead letters.")
    return {
        "total": total,
        "groups": [{"error_type": kind, "destination": where, "count": n} for kind, where, n in groups],
    }


def _last_delivery(context: Context, snapshot: Snapshot) -> dict[str, Any] | None:
    last = snapshot.last_success
    if last is None:
        context.report.say("Nothing has been delivered yet.")
        return None
    scene_id = int(last["scene_id"])
    title = context.titles({scene_id}).get(scene_id, "")
    context.report.say(
        f"The last delivery was {scene(scene_id, title)} to {flat(str(last['destination']))}, "
        f"{ago(snapshot.at - float(last['at']))}."
    )
    return {**last, "title": title}
