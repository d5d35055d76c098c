"""The button «Deliver now»: everything is due at once, with a progress bar, until nothing moves any more.

With a live worker it asks and watches; without one it is the worker, in the foreground, under the
worker's own lock. How something is delivered is decided where it always is.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass

from stash_courier.plugin import log
from stash_courier.plugin.arguments import Arguments
from stash_courier.plugin.context import NONE_SET_UP, Context
from stash_courier.plugin.text.report import count
from stash_courier.plugin.text.snapshot import Named, Snapshot, read, standings, undecided
from stash_courier.queue import control, files
from stash_courier.worker import heartbeat, main, process
from stash_courier.worker.log_file import set_up_log
from stash_courier.worker.runtime import Runtime
from stash_courier.worker.stash.client import StashUnavailable

LOOK_SECONDS = 0.25  # between two looks at the queue
LOOK_ROWS = 100_000  # a look reads every delivery: where so many wait, a second more between two
CALM_SECONDS = 1.0  # so long nothing can go: what is left waits for something
EMPTY_SECONDS = 0.5  # so long nothing is left
STILL_SECONDS = 30.0  # so long nothing has changed although something could go


@dataclass(frozen=True, slots=True)
class _Course:
    """What happened between the first look and the last."""

    first: Snapshot
    last: Snapshot
    stuck: bool = False  # something could go and didn't


def deliver_now(context: Context, _: Arguments) -> dict[str, object]:
    """Delivers what waits, whatever it waits for."""
    began = time.time()
    named = _named(context)
    usable = named.usable if named else frozenset()
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
    facts = _tell(context, course, named, dead)
    return {"worker": "foreground" if lock is not None else "background", **facts}


def _named(context: Context) -> Named | None:
    """The destinations that are set up, None if that isn't known; says so if there is none."""
    try:
        with context.setup() as setup:
            for problem in setup.problems:
                context.report.warn(problem.message)
            if setup.named.nobody:
                context.report.warn(NONE_SET_UP)
            return setup.named
    except StashUnavailable as error:
        context.report.warn(f"Nothing can be delivered now: {error}.")
        return None


def _watch(context: Context, usable: Collection[str]) -> _Course:
    """Asks the worker that runs, and watches it."""

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
    return _follow(first, usable, turn, look, begins=lambda: context.spooled() > 0)


def _work(context: Context, usable: Collection[str], lock: int) -> _Course:
    """Works as the worker, then hands the lock back and lets a worker of its own go on."""
    opened: list[Runtime] = []
    set_up_log(context.folder, lambda: opened[0].dispatcher.registry.secrets if opened else ())
    began = time.time()
    try:
        with Runtime(context.folder) as session:
            opened.append(session)
            worker = _Foreground(context, session, began)
            first = read(session.queue, began)
            course = _follow(
                first, usable, worker.turn, lambda: read(session.queue, time.time()), begins=worker.begins
            )
            session.finish(main.GRACE_SECONDS)
            course = _Course(first, read(session.queue, time.time()), course.stuck)
    finally:
        os.close(lock)
    # What came in after the last look, and what is due later, is the worker's.
    process.start(str(context.folder), context.root)
    return course


class _Foreground:
    """The worker's loop, a turn at a time."""

    def __init__(self, context: Context, session: Runtime, began: float) -> None:
        self._context = context
        self._session = session
        self._began = began
        self._beat_at = 0.0  # monotonic
        self._expedited = False

    def begins(self) -> bool:
        """Whether it still waits for Stash's first answer, or hasn't taken in what hooks kept beside the queue."""
        unanswered = not self._expedited and self._session.dispatcher.poller.available
        return unanswered or self._context.spooled() > 0

    def turn(self, seen: Snapshot) -> bool:
        """Works for a moment; False when the stop button was pressed."""
        session = self._session
        self._beat()
        end = time.monotonic() + _look_seconds(seen)
        while (left := end - time.monotonic()) > 0:
            session.take_spool()
            if session.dispatcher.registry.pools and not self._expedited:
                # Only now: the wish is forgotten once it was passed on to the destinations.
                with session.queue.transaction():
                    control.expedite(session.queue.connection)
                self._expedited = True
            wait = session.dispatcher.step()
            if session.stop_wanted():
                return False
            session.sleep(min(wait, left))
        return True

    def _beat(self) -> None:
        now = time.monotonic()
        if now - self._beat_at > heartbeat.HEARTBEAT_SECONDS:
            self._beat_at = now
            heartbeat.beat(self._context.folder, self._began)


def _follow(
    first: Snapshot,
    usable: Collection[str],
    turn: Callable[[Snapshot], bool],
    look: Callable[[], Snapshot],
    *,
    begins: Callable[[], bool],
) -> _Course:
    """Looks on until nothing can go, or nothing does.

    Args:
        first: the queue before.
        usable: the destinations that can be delivered to.
        turn: lets some time go by after a look; False ends it.
        look: the queue now.
        begins: whether something that isn't in the queue yet is still to come.
    """
    last = first
    moved = going = time.monotonic()
    while turn(last):
        before, last = last, look()
        now = time.monotonic()
        if _marks(before) != _marks(last):
            moved = now
        if last.moves(usable) or begins():
            going = now
        ended = _ended(first, last)
        log.progress(ended / max(1, ended + last.deliveries + last.inbox))
        if now - going > (CALM_SECONDS if last.deliveries or last.inbox else EMPTY_SECONDS):
            return _Course(first, last)
        if now - moved > STILL_SECONDS:
            return _Course(first, last, stuck=True)
    return _Course(first, last)


def _look_seconds(seen: Snapshot) -> float:
    return LOOK_SECONDS + seen.deliveries / LOOK_ROWS


def _marks(seen: Snapshot) -> tuple[object, ...]:
    """What changes when anything does."""
    waits = sum(one.retrying + one.in_flight for one in seen.backlog.values())
    return seen.inbox, seen.deliveries, seen.added, seen.expedite, waits, seen.healths, seen.stash_away is None


def _ended(first: Snapshot, last: Snapshot) -> int:
    """Deliveries that have left the queue."""
    return max(0, first.deliveries + last.added - first.added - last.deliveries)


def _tell(context: Context, course: _Course, named: Named | None, dead: int) -> dict[str, object]:
    report = context.report
    first, last = course.first, course.last
    done = max(0, _ended(first, last) - dead)
    if not (first.deliveries or first.inbox or done or dead or last.deliveries):
        report.say("Nothing waits to be delivered.")
    else:
        buried = f"; {count(dead, 'dead letter')} came of it, press «Review dead letters»" if dead else ""
        left = last.deliveries + last.inbox
        still = f"{left:,} still {'waits' if left == 1 else 'wait'}"
        (report.warn if dead else report.say)(f"{count(done, 'delivery')} done, {still}{buried}.")
    if course.stuck:
        report.warn(
            f"Nothing has moved for {STILL_SECONDS:.0f} s: «Show status» says more, and {files.WORKER_LOG} in "
            f"{context.folder}."
        )
    if last.blocked and (last.deliveries or last.inbox):
        report.warn(last.blocked)
    found = standings(last, named)
    if held_back := undecided(last, named, found):
        report.warn(held_back)
    waiting = [one for one in found if one.backlog.total]
    for one in waiting:
        (report.say if one.state == "well" else report.warn)(one.sentence)
    return {
        "done": done,
        "waiting": last.deliveries,
        "dead_letters": dead,
        "destinations": [one.facts() for one in waiting],
    }
