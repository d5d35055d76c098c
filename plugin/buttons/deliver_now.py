"""The task "Deliver now": has the worker try everything that waits, and shows the progress.

It only asks and watches, so stopping it changes nothing. Other tasks in Stash wait for it, so it ends when nothing
moves any more or, however many edits arrive meanwhile, when as many deliveries have ended as waited at its start.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from stash_courier.plugin import log, snapshot
from stash_courier.plugin.arguments import Arguments
from stash_courier.plugin.context import Context
from stash_courier.plugin.errors import BadInputError
from stash_courier.plugin.snapshot import Snapshot
from stash_courier.plugin.text import banners
from stash_courier.plugin.text.standings import NONE_SET_UP, standings
from stash_courier.plugin.text.words import problem_line
from stash_courier.queue import control
from stash_courier.queue.inbox import files

LOOK_SECONDS = 0.25  # between two looks
LOOK_ROWS = 100_000  # a look reads every delivery: with this many, wait a second longer
# The task ends when this time has passed and:
CALM_SECONDS = 1.0  # nothing moved; what is left waits for something
STILL_SECONDS = 30.0  # nothing changed although something should have moved


@dataclass(slots=True)
class Progress:
    """Decides when the task ends. Times are monotonic seconds."""

    first: Snapshot
    last: Snapshot
    changed: float  # when something changed last
    moved: float  # when something moved last, or should have
    target: int | None = None  # how many deliveries were to end when everything from before was a delivery

    @property
    def ended(self) -> int:
        """Deliveries that left the queue since the first snapshot."""
        return max(0, self.first.deliveries + self.last.added - self.first.added - self.last.deliveries)

    def follow(self, seen: Snapshot, now: float) -> Literal["goes on", "ended", "stuck"]:
        """What the next snapshot means."""
        if _marks(seen) != _marks(self.last):
            self.changed = now
        if seen.moves() or not seen.running:  # then it is just starting
            self.moved = now
        self.last = seen
        if self.target is None and seen.running and not seen.inbox and not seen.spooled:
            self.target = self.ended + seen.left
        if now - self.moved > CALM_SECONDS or (self.target and self.ended >= self.target):
            return "ended"
        return "stuck" if now - self.changed > STILL_SECONDS else "goes on"


def deliver_now(context: Context, _: Arguments) -> dict[str, object]:
    """Delivers everything that waits, also what waits for a retry or a held connection."""
    began = time.time()
    first = snapshot.read(context)
    for problem in first.problems:
        context.warn(problem_line(problem))
    if first.loaded.empty:
        context.warn(NONE_SET_UP)
    with context.queue() as queue, queue.transaction():
        control.expedite(queue.connection)
    if not context.wake_worker():
        raise BadInputError(f"Worker: not running, so nothing is delivered. {context.start_by_hand}")
    progress, stuck = _watch(first, lambda before: snapshot.again(context, before))
    with context.dead_letters() as dlq:
        dead = dlq.count_since(began)
    done = max(0, progress.ended - dead)
    _say_outcome(context, progress.last, done, dead, stuck=stuck)
    return {"done": done, "waiting": progress.last.left, "dead_letters": dead}


def _watch(first: Snapshot, look: Callable[[Snapshot], Snapshot]) -> tuple[Progress, bool]:
    """Shows the progress until there is nothing more to wait for; also whether something is stuck."""
    now = time.monotonic()
    progress = Progress(first, first, now, now)
    while True:
        time.sleep(LOOK_SECONDS + progress.last.deliveries / LOOK_ROWS)
        verdict = progress.follow(look(progress.last), time.monotonic())
        left = progress.last.left
        log.progress(progress.ended / (progress.ended + left) if left else 1.0)
        if verdict != "goes on":
            return progress, verdict == "stuck"


def _marks(seen: Snapshot) -> tuple[object, ...]:
    """A value that changes whenever something happens in the queue."""
    waits = sum(one.retrying + one.in_flight for one in seen.backlog.values())
    return seen.inbox, seen.spooled, seen.deliveries, seen.added, seen.expedite, waits, seen.healths


def _say_outcome(context: Context, last: Snapshot, done: int, dead: int, *, stuck: bool) -> None:
    line = f"Delivered: {done:,}. Waiting: {last.left:,}."
    if dead:
        context.warn(f'{line} New dead letters: {dead:,}. Press "Review dead letters".')
    else:
        context.say(line)
    if stuck:
        log_file = context.folder / files.WORKER_LOG
        context.warn(f'No progress for {STILL_SECONDS:.0f} s. Press "Show status", or read {log_file}.')
    for held in (banners.blocked(last), banners.undecided(last)):
        if held is not None and last.left:
            context.warn(held.line(last.at))
    for one in standings(last):
        if one.backlog.total:
            (context.warn if one.troubled else context.say)(one.line(last.at))
