"""The button "Deliver now": makes every delivery due, and shows the progress until nothing moves any more.

With a running worker it asks the worker and watches. Without one it is the worker, in the foreground, under the
worker's lock.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Set
from dataclasses import dataclass

from stash_courier.plugin import log
from stash_courier.plugin.arguments import Arguments
from stash_courier.plugin.context import Context
from stash_courier.plugin.snapshot import Configured, Snapshot, read
from stash_courier.plugin.text.standings import NONE_SET_UP, blocked, standings, undecided
from stash_courier.plugin.text.words import sentence
from stash_courier.queue import control, files
from stash_courier.worker import heartbeat, main, process
from stash_courier.worker.log_file import set_up_log
from stash_courier.worker.runtime import Runtime
from stash_courier.worker.stash.client import StashUnavailable

LOOK_SECONDS = 0.25  # between two snapshots
LOOK_ROWS = 100_000  # a snapshot reads every delivery: with this many, wait a second longer
# The button ends when this time has passed and:
CALM_SECONDS = 1.0  # nothing moved; what is left waits for something
EMPTY_SECONDS = 0.5  # nothing was left
STILL_SECONDS = 30.0  # nothing changed although something should have moved


@dataclass(frozen=True, slots=True)
class _Course:
    """What happened while the button ran."""

    first: Snapshot
    last: Snapshot
    stuck: bool = False  # something should have moved and didn't

    @property
    def ended(self) -> int:
        """Deliveries that left the queue."""
        return max(0, self.first.deliveries + self.last.added - self.first.added - self.last.deliveries)


def deliver_now(context: Context, _: Arguments) -> dict[str, object]:
    """Delivers everything that waits, also what waits for a retry or a held destination."""
    began = time.time()
    configured = _configured(context)
    usable = configured.usable if configured else frozenset()
    lock = process.hold(str(context.folder)) if usable else None
    if not usable:
        with context.queue() as queue:
            now = read(queue, began)
        course = _Course(now, now)
    elif lock is None:
        course = _watch(context, usable)
    else:
        course = _work(context, usable, lock)
    with context.dead_letters() as dlq:
        dead = dlq.count_since(began)
    done = max(0, course.ended - dead)
    _say_outcome(context, course, done, dead)
    return {
        "worker": "foreground" if lock is not None else "background",
        "done": done,
        "waiting": course.last.deliveries,
        "dead_letters": dead,
        "destinations": _say_what_waits(context, course.last, configured),
    }


def _configured(context: Context) -> Configured | None:
    """The configured destinations, with a warning if there are none; None if Stash can't be asked."""
    try:
        with context.setup() as setup:
            for _, message in setup.problems:
                context.report.warn(message)
            if setup.configured.empty:
                context.report.warn(NONE_SET_UP)
            return setup.configured
    except StashUnavailable as error:
        context.report.warn(f"Stash: not available, so nothing can be delivered now. {sentence(str(error))}")
        return None


def _watch(context: Context, usable: Set[str]) -> _Course:
    """Asks the running worker, and watches it."""

    def look() -> Snapshot:
        with context.queue() as queue:
            return read(queue, time.time())

    def turn(seen: Snapshot) -> bool:
        time.sleep(_look_seconds(seen))
        return True

    first = look()
    with context.queue() as queue, queue.transaction():
        control.expedite(queue.connection)
    process.wake(str(context.folder))
    return _follow(first, usable, turn, look, lambda: context.spooled() > 0)


def _work(context: Context, usable: Set[str], lock: int) -> _Course:
    """Works as the worker, then releases the lock and starts a worker in the background."""
    opened: list[Runtime] = []
    set_up_log(context.folder, lambda: opened[0].dispatcher.registry.secrets if opened else ())
    began = time.time()
    try:
        with Runtime(context.folder) as session:
            opened.append(session)
            worker = _Foreground(context, session, began)
            first = read(session.queue, began)
            course = _follow(first, usable, worker.turn, lambda: read(session.queue, time.time()), worker.begins)
            session.finish(main.GRACE_SECONDS)
            course = _Course(first, read(session.queue, time.time()), course.stuck)
    finally:
        os.close(lock)
    # It delivers what arrived after the last snapshot and what is due later.
    process.start(str(context.folder), context.root)
    return course


class _Foreground:
    """The worker's loop, one turn at a time."""

    def __init__(self, context: Context, session: Runtime, began: float) -> None:
        self._context = context
        self._session = session
        self._began = began  # wall time
        self._beat_at = 0.0  # monotonic
        self._expedited = False

    def begins(self) -> bool:
        """Whether Stash's first answer or changes outside the queue are still to come."""
        unanswered = not self._expedited and self._session.dispatcher.poller.available
        return unanswered or self._context.spooled() > 0

    def turn(self, seen: Snapshot) -> bool:
        """Works until the next snapshot is due; False if the worker was asked to stop."""
        session = self._session
        now = time.monotonic()
        if now - self._beat_at > heartbeat.HEARTBEAT_SECONDS:
            self._beat_at = now
            heartbeat.beat(self._context.folder, self._began)
        session.follow_files(main.GRACE_SECONDS)
        end = time.monotonic() + _look_seconds(seen)
        while (left := end - time.monotonic()) > 0:
            session.take_spool()
            if session.dispatcher.registry.pools and not self._expedited:
                # Not before the destinations are loaded: the request is dropped once it was passed on to them.
                with session.queue.transaction():
                    control.expedite(session.queue.connection)
                self._expedited = True
            wait = session.dispatcher.step()
            if session.stop_wanted():
                return False
            session.sleep(min(wait, left))
        return True


def _follow(
    first: Snapshot,
    usable: Set[str],
    turn: Callable[[Snapshot], bool],
    look: Callable[[], Snapshot],
    begins: Callable[[], bool],
) -> _Course:
    """Watches until nothing moves any more, or until what should move doesn't.

    ``turn`` lets some time pass after a snapshot, and False ends the watch. ``begins`` says whether something that
    isn't in the queue yet is still to come.
    """
    course = _Course(first, first)
    changed = moved = time.monotonic()
    while turn(course.last):
        before = course.last
        course = _Course(first, look())
        last, now = course.last, time.monotonic()
        if _marks(before) != _marks(last):
            changed = now
        if last.moves(usable) or begins():
            moved = now
        left = last.deliveries + last.inbox
        log.progress(course.ended / max(1, course.ended + left))
        if now - moved > (CALM_SECONDS if left else EMPTY_SECONDS):
            return course
        if now - changed > STILL_SECONDS:
            return _Course(first, last, stuck=True)
    return course


def _look_seconds(seen: Snapshot) -> float:
    return LOOK_SECONDS + seen.deliveries / LOOK_ROWS


def _marks(seen: Snapshot) -> tuple[object, ...]:
    """A value that changes whenever something happens in the queue."""
    waits = sum(one.retrying + one.in_flight for one in seen.backlog.values())
    return seen.inbox, seen.deliveries, seen.added, seen.expedite, waits, seen.healths, seen.stash_away is None


def _say_outcome(context: Context, course: _Course, done: int, dead: int) -> None:
    report, last = context.report, course.last
    line = f"Delivered: {done:,}. Waiting: {last.deliveries + last.inbox:,}."
    if dead:
        report.warn(f'{line} New dead letters: {dead:,}. Press "Review dead letters".')
    else:
        report.say(line)
    if course.stuck:
        log_file = context.folder / files.WORKER_LOG
        report.warn(f'No progress for {STILL_SECONDS:.0f} s. Press "Show status", or read {log_file}.')


def _say_what_waits(context: Context, last: Snapshot, configured: Configured | None) -> list[dict[str, object]]:
    """Reports why something still waits; returns the facts about each destination that it waits for."""
    report = context.report
    held = blocked(last)
    if held and (last.deliveries or last.inbox):
        report.warn(held)
    found = standings(last, configured)
    if hidden := undecided(last, configured, found):
        report.warn(hidden)
    waiting = [one for one in found if one.backlog.total]
    for one in waiting:
        (report.say if one.state == "well" else report.warn)(one.line(last))
    return [one.facts() for one in waiting]
