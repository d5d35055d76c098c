"""The button "Deliver now": makes every delivery due, and shows the progress of what waits.

It ends when nothing moves any more, or when what waited at its start has ended, however many edits arrive
meanwhile. Other tasks in Stash wait for it.

With a running worker it asks the worker and watches. Without one it is the worker, in the foreground, under the
worker's lock.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Set
from dataclasses import dataclass, replace
from typing import Literal

from stash_courier.plugin import log
from stash_courier.plugin.arguments import Arguments
from stash_courier.plugin.buttons.foreground import as_worker
from stash_courier.plugin.context import Context
from stash_courier.plugin.snapshot import Snapshot, named, read
from stash_courier.plugin.text import banners
from stash_courier.plugin.text.standings import NONE_SET_UP, standings
from stash_courier.plugin.text.words import problem_line, sentence
from stash_courier.queue import control
from stash_courier.queue.deliveries.scene_queue import SceneQueue
from stash_courier.queue.inbox import files
from stash_courier.worker import heartbeat, main, process
from stash_courier.worker.destinations import Loaded
from stash_courier.worker.runtime import Runtime
from stash_courier.worker.stash.address import StashUnavailable

LOOK_SECONDS = 0.25  # between two looks
LOOK_ROWS = 100_000  # a look reads every delivery: with this many, wait a second longer
# The button ends when this time has passed and:
CALM_SECONDS = 1.0  # nothing moved; what is left waits for something
EMPTY_SECONDS = 0.5  # nothing was left
STILL_SECONDS = 30.0  # nothing changed although something should have moved
# However many edits arrive meanwhile, it also ends when this time has passed since something ended that waited at
# its start: while some of that is left, and when all of it has ended.
SLOW_SECONDS = 60.0
NEWER_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Look:
    """What the button sees at one moment. Destinations that were removed from the settings don't count."""

    snapshot: Snapshot
    left: int  # events and deliveries that wait or are in flight
    older: int  # those of them that waited when the button was pressed
    coming: bool  # something that isn't in the queue yet is still to come


@dataclass(frozen=True, slots=True)
class _Course:
    """What happened while the button ran."""

    first: Look
    last: Look
    stuck: bool = False  # something should have moved and didn't

    @property
    def ended(self) -> int:
        """Deliveries that left the queue."""
        first, last = self.first.snapshot, self.last.snapshot
        return max(0, first.deliveries + last.added - first.added - last.deliveries)


class Patience:
    """Decides when the button ends. ``usable`` are ids of destinations, times are in monotonic seconds."""

    def __init__(self, first: Look, usable: Set[str], now: float) -> None:
        self._last = first
        self._usable = usable
        self._changed = self._moved = self._older = now  # when there was a change last

    def look(self, seen: Look, now: float) -> Literal["goes on", "ended", "stuck"]:
        """What the next look means."""
        if _marks(seen.snapshot) != _marks(self._last.snapshot):
            self._changed = now
        if seen.older != self._last.older:
            self._older = now
        if seen.snapshot.moves(self._usable) or seen.coming:
            self._moved = now
        self._last = seen
        calm = now - self._moved > (CALM_SECONDS if seen.left else EMPTY_SECONDS)
        if calm or now - self._older > (SLOW_SECONDS if seen.older else NEWER_SECONDS):
            return "ended"
        return "stuck" if now - self._changed > STILL_SECONDS else "goes on"


class Watcher:
    """Looks at the queue for what waited when the button was pressed, at the wall time ``began``."""

    def __init__(self, context: Context, loaded: Loaded | None, began: float) -> None:
        self._context = context
        self._loaded = loaded
        self._began = began
        self._newest_seq: int | None = None  # of the newest event at the first look

    def look(self, queue: SceneQueue, *, coming: bool = False) -> Look:
        """What is in the queue now; ``coming`` is whether something else is still to come."""
        if self._newest_seq is None:
            self._newest_seq = queue.newest_seq()
        now = read(queue.connection, self._context.folder, time.time())
        left = [waits.total for name, waits in now.backlog.items() if named(now, name, self._loaded)]
        deliveries, events = queue.waiting_since(self._began, self._newest_seq)
        older = [number for name, number in deliveries.items() if named(now, name, self._loaded)]
        coming = coming or self._context.spooled() > 0
        return Look(now, left=sum(left) + now.inbox, older=sum(older) + events, coming=coming)


def deliver_now(context: Context, _: Arguments) -> dict[str, object]:
    """Delivers everything that waits, also what waits for a retry or a held destination."""
    began = time.time()
    loaded = _loaded(context)
    usable = loaded.destinations.keys() if loaded else frozenset()
    lock = process.hold(str(context.folder)) if usable else None
    watcher = Watcher(context, loaded, began)
    if not usable:
        with context.queue() as queue:
            seen = watcher.look(queue)
        course = _Course(seen, seen)
    elif lock is None:
        course = _watch(context, watcher, usable)
    else:
        course = _work(context, watcher, usable, lock)
    with context.dead_letters() as dlq:
        dead = dlq.count_since(began)
    done = max(0, course.ended - dead)
    _say_outcome(context, course, done, dead)
    return {
        "worker": "foreground" if lock is not None else "background",
        "done": done,
        "waiting": course.last.left,
        "dead_letters": dead,
        "destinations": _say_what_waits(context, course.last.snapshot, loaded),
    }


def _loaded(context: Context) -> Loaded | None:
    """The connections, with a warning if there are none; None if Stash can't be asked."""
    try:
        with context.setup() as setup:
            for problem in setup.problems:
                context.report.warn(problem_line(problem))
            if setup.loaded.empty:
                context.report.warn(NONE_SET_UP)
            return setup.loaded
    except StashUnavailable as error:
        context.report.warn(f"Stash: not available, so nothing can be delivered now. {sentence(str(error))}")
        return None


def _watch(context: Context, watcher: Watcher, usable: Set[str]) -> _Course:
    """Asks the running worker, and watches it."""

    def look() -> Look:
        with context.queue() as queue:
            return watcher.look(queue)

    def turn(seen: Look) -> bool:
        time.sleep(_look_seconds(seen))
        return True

    first = look()
    with context.queue() as queue, queue.transaction():
        control.expedite(queue.connection)
    process.wake(str(context.folder))
    return _follow(first, usable, turn, look)


def _work(context: Context, watcher: Watcher, usable: Set[str], lock: int) -> _Course:
    """Works as the worker, then releases the lock and starts a worker in the background."""
    with as_worker(context, lock) as session:
        worker = _Foreground(context, session, time.time())
        first = watcher.look(session.queue)
        course = _follow(first, usable, worker.turn, lambda: watcher.look(session.queue, coming=worker.begins()))
        session.finish(lambda: main.GRACE_SECONDS)
        # The worker in the background delivers what arrived after this look and what is due later.
        return _Course(first, watcher.look(session.queue), course.stuck)


class _Foreground:
    """The worker's loop, one turn at a time."""

    def __init__(self, context: Context, session: Runtime, began: float) -> None:
        self._context = context
        self._session = session
        self._began = began  # wall time
        self._beat_at = 0.0  # monotonic
        self._expedited = False

    def begins(self) -> bool:
        """Whether Stash's first answer is still to come."""
        return not self._expedited and self._session.dispatcher.poller.available

    def turn(self, seen: Look) -> bool:
        """Works until the next look is due; False if the worker was asked to stop."""
        session = self._session
        now = time.monotonic()
        if now - self._beat_at > heartbeat.HEARTBEAT_SECONDS:
            self._beat_at = now
            heartbeat.beat(self._context.folder, self._began)
        session.attend()
        if session.moved:
            return False
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


def _follow(first: Look, usable: Set[str], turn: Callable[[Look], bool], look: Callable[[], Look]) -> _Course:
    """Watches until there is nothing more to wait for. ``turn`` lets time pass; False ends the watch."""
    patience = Patience(first, usable, time.monotonic())
    course = _Course(first, first)
    while turn(course.last):
        course = _Course(first, look())
        left = course.last.left
        log.progress(course.ended / (course.ended + left) if left else 1.0)
        verdict = patience.look(course.last, time.monotonic())
        if verdict != "goes on":
            return replace(course, stuck=verdict == "stuck")
    return course


def _look_seconds(seen: Look) -> float:
    return LOOK_SECONDS + seen.snapshot.deliveries / LOOK_ROWS


def _marks(seen: Snapshot) -> tuple[object, ...]:
    """A value that changes whenever something happens in the queue."""
    waits = sum(one.retrying + one.in_flight for one in seen.backlog.values())
    return seen.inbox, seen.deliveries, seen.added, seen.expedite, waits, seen.healths, seen.stash_away is None


def _say_outcome(context: Context, course: _Course, done: int, dead: int) -> None:
    report = context.report
    line = f"Delivered: {done:,}. Waiting: {course.last.left:,}."
    if dead:
        report.warn(f'{line} New dead letters: {dead:,}. Press "Review dead letters".')
    else:
        report.say(line)
    if course.stuck:
        log_file = context.folder / files.WORKER_LOG
        report.warn(f'No progress for {STILL_SECONDS:.0f} s. Press "Show status", or read {log_file}.')


def _say_what_waits(context: Context, last: Snapshot, loaded: Loaded | None) -> list[dict[str, object]]:
    """Reports why something still waits; returns the facts about each destination that it waits for."""
    report = context.report
    held = banners.blocked(last)
    if held and (last.deliveries or last.inbox):
        report.warn(held.line(last.at))
    found = standings(last, loaded)
    if hidden := banners.undecided(last, loaded):
        report.warn(hidden.line(last.at))
    waiting = [one for one in found if one.backlog.total]
    for one in waiting:
        (report.warn if one.troubled else report.say)(one.line(last))
    return [one.facts() for one in waiting]
