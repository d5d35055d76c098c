"""A pool: one destination's share of the worker, with its own threads, buffer and health.

A thread that is free takes the best job that is ready, so nothing is handed out ahead: an edit starts with the
next free request. Whatever one destination does affects no other pool. No policy here: breaker.py decides what may
be sent, retry.py what happens after a failure.
"""

from __future__ import annotations

import heapq
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import TypeVar

from stash_courier.queue.failures import CLASSES, DeliveryFailed, Failure
from stash_courier.queue.jobs import BULK, EDIT, Delivery, Scene
from stash_courier.queue.troubles import NOTICE
from stash_courier.worker.connections.model import Connection
from stash_courier.worker.delivery.breaker import Health
from stash_courier.worker.destinations import Delivered, Destination, Digests, Prepares

# Jobs that threads take until the loop looks again, for one thread and for each more: so many requests still start
# after a person pressed "Pause", and so many outcomes are not recorded at a kill. At a receiver that takes longer
# than the loop for a look, that is one for each thread.
AHEAD, AHEAD_MORE = 3, 6
MOST_TOGETHER = 200  # deliveries in one message

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Job:
    """A delivery that may be sent."""

    delivery: Delivery
    scene: Scene | None  # as Stash has it now; None for a destroy and a notice
    record: bytes = b""  # what the scene's last delivery returned as its record
    probe: bool = False  # it probes a destination that is held


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one attempt ended."""

    pool: Pool
    delivery: Delivery
    scene: Scene | None
    probe: bool
    error: DeliveryFailed | None  # None: the destination did what ``done`` says
    done: Delivered = field(default_factory=Delivered)
    digest: bool = False  # it was sent in one message with others

    @property
    def stops(self) -> bool:
        """Whether it shows at once that no other request may start."""
        return self.error is not None and (
            self.error.retry_after is not None or CLASSES[self.error.failure].hold_after == 1
        )


class Batch:
    """Jobs that became ready together. The first that runs looks up what all of them need."""

    def __init__(self, destination: Destination, jobs: Sequence[Job]) -> None:
        self._destination = destination
        self._jobs = jobs
        self._prepared = len(jobs) < 2 or not isinstance(destination, Prepares)
        self._lock = threading.Lock()

    def prepare(self) -> None:
        """Returns when the lookup is done, in whichever thread came first."""
        if self._prepared:
            return
        with self._lock:
            jobs, self._jobs = self._jobs, ()
            if jobs and isinstance(self._destination, Prepares):
                self._destination.prepare([(job.delivery, job.scene) for job in jobs])
            self._prepared = True


_Ready = tuple[int, float, int, Job, Batch]  # priority, due time, a number, and what is sorted by them


class Pool:
    """Deliveries of one destination on their way: to be fetched, being fetched, ready, running.

    Its methods are called by the loop's thread; its own threads take jobs by themselves while it is ``open``.

    Args:
        connection: its policy says how many threads there are.
        health: what is known of the destination.
        finished: called from a thread with each outcome.
    """

    def __init__(
        self,
        destination: Destination,
        connection: Connection,
        health: Health,
        finished: Callable[[Outcome], None],
    ) -> None:
        concurrency = connection.policy.concurrency
        self.destination = destination
        self.connection = connection
        self.health = health
        self.probe: int | None = None  # row id of the delivery that was claimed as a probe
        self.fetching: dict[int, Delivery] = {}  # by row id: Stash is asked for their scenes
        self._concurrency = concurrency
        self._finished = finished
        self._to_fetch: tuple[deque[Delivery], deque[Delivery]] = deque(), deque()  # edits, and the rest
        self._numbers = count()
        self._changed = threading.Condition()  # guards what follows
        self._ready: list[_Ready] = []  # a heap
        self._running: dict[int, Delivery] = {}  # by row id, until the loop has taken the outcome
        self._open = False
        self._most_ahead = AHEAD + AHEAD_MORE * (concurrency - 1)
        self._ahead = 0  # jobs that were taken since the loop looked, and those that it saw running
        self._stops = 0  # outcomes that stop all further requests until the loop has recorded them
        self._closed = False
        self._threads = self._idle = 0

    # On its way

    @property
    def claimed(self) -> list[Delivery]:
        """Deliveries of this destination that are on their way."""
        with self._changed:
            started = [*(job.delivery for *_, job, _ in self._ready), *self._running.values()]
        return [*self._to_fetch[0], *self._to_fetch[1], *self.fetching.values(), *started]

    @property
    def on_its_way(self) -> int:
        """How many deliveries of this destination are on their way."""
        with self._changed:
            return sum(map(len, (*self._to_fetch, self.fetching, self._ready, self._running)))

    @property
    def ready(self) -> int:
        """How many jobs wait for a thread."""
        return len(self._ready)

    @property
    def starves(self) -> bool:
        """Whether threads will have nothing to do soon, although deliveries are on their way."""
        return len(self._ready) < self._concurrency and any(
            map(len, (*self._to_fetch, self.fetching, self._running))
        )

    def holds(self, row_id: int | None) -> bool:
        """Whether this delivery is on its way."""
        return row_id is not None and any(delivery.row_id == row_id for delivery in self.claimed)

    def add(self, deliveries: Iterable[Delivery]) -> None:
        """Takes over claimed deliveries, whose scenes must be fetched."""
        for delivery in deliveries:
            self._to_fetch[delivery.priority != EDIT].append(delivery)

    def wants_scenes(self) -> bool:
        """Whether claimed deliveries wait for their scenes."""
        return any(self._to_fetch)

    def next_to_fetch(self, *, edits: bool) -> deque[Delivery]:
        """What is fetched next, of the edits or of the rest."""
        return self._to_fetch[not edits]

    def take_back_unfetched(self) -> list[Delivery]:
        """Removes and returns what was claimed and waits for its scenes."""
        taken = [*self._to_fetch[0], *self._to_fetch[1]]
        for waiting in self._to_fetch:
            waiting.clear()
        return taken

    def make_ready(self, jobs: Sequence[Job]) -> None:
        """Hands over jobs whose scenes were fetched together."""
        batch = Batch(self.destination, jobs)
        with self._changed:
            for job in jobs:
                entry = job.delivery.priority, job.delivery.due, next(self._numbers), job, batch
                heapq.heappush(self._ready, entry)
        self._wake()

    def start(self, *, allowed: bool) -> None:
        """Lets the threads take jobs, or keeps them from taking another one."""
        with self._changed:
            self._open = allowed
            self._ahead = len(self._running)
        self._wake()

    def take_back(self, *, everything: bool = False) -> list[Delivery]:
        """Removes and returns what was claimed but hasn't started; with ``everything`` also what has."""
        taken = self.take_back_unfetched()
        with self._changed:
            taken += [job.delivery for *_, job, _ in self._ready]
            self._ready.clear()
            if everything:
                taken += [*self.fetching.values(), *self._running.values()]
                self.fetching.clear()
                self._running.clear()
        return taken

    def end(self, outcome: Outcome) -> None:
        """Takes an outcome that a thread reported."""
        with self._changed:
            self._running.pop(outcome.delivery.row_id, None)

    def recorded(self, outcome: Outcome) -> None:
        """Notes that an outcome is in ``health`` now."""
        if outcome.stops:
            with self._changed:
                self._stops -= 1
            self._wake()

    def end_threads(self) -> None:
        """Ends the threads as soon as they are done."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def close(self) -> None:
        """Closes connections and threads; what still runs is not waited for."""
        self.end_threads()
        self.destination.close()

    # The threads

    def _wake(self) -> None:
        with self._changed:
            if not self._may_take():
                return
            wanted = len(self._ready) - self._idle
            self._changed.notify(len(self._ready))
            new = max(0, min(wanted, self._concurrency - self._threads))
            self._threads += new
        for _ in range(new):
            threading.Thread(target=self._work, name=self.destination.id, daemon=True).start()

    def _may_take(self) -> bool:
        allowed = self._open and not self._stops and self._ahead < self._most_ahead
        return bool(self._ready) and allowed and not self._gathers()

    def _gathers(self) -> bool:
        """Whether scenes that a person asked for, and that are one message, wait for the rest of them."""
        return self._digest_above() == 1 and bool(self._to_fetch[1] or self.fetching)

    def _digest_above(self) -> int | None:
        """How many of what is ready are still sent singly; None: all."""
        above = self.destination.digest_above if isinstance(self.destination, Digests) else None
        asked_for = above is not None and self._ready[0][0] == BULK  # then the rest is too: edits come first
        return 1 if asked_for else above

    def _work(self) -> None:
        while (taken := self._take()) is not None:
            for outcome in self._attempts(taken):
                if outcome.stops:
                    with self._changed:
                        self._stops += 1
                self._finished(outcome)

    def _take(self) -> list[tuple[Job, Batch]] | None:
        """Waits for the next job, or for several that are sent as one message. None if the pool is closed."""
        with self._changed:
            while not self._closed:
                if self._may_take():
                    self._ahead += 1
                    taken = [heapq.heappop(self._ready)[-2:] for _ in range(self._together())]
                    self._running.update((job.delivery.row_id, job.delivery) for job, _ in taken)
                    return taken
                self._idle += 1
                self._changed.wait()
                self._idle -= 1
        return None

    def _together(self) -> int:
        """How many jobs the next request sends."""
        above = self._digest_above()
        alone = above is None or len(self._ready) <= above or self.health.state != "well"
        return 1 if alone else min(len(self._ready), MOST_TOGETHER)

    def _attempts(self, taken: Sequence[tuple[Job, Batch]]) -> Iterator[Outcome]:
        """The outcomes of jobs. Singly is sent what was refused as one message, and each message about trouble."""
        jobs = [job for job, _ in taken if job.delivery.event != NOTICE]
        if len(jobs) > 1 and isinstance(self.destination, Digests):
            digest = partial(self.destination.deliver_digest, [(job.delivery, job.scene) for job in jobs])
            _, error = _tried(digest)
            if error is None or CLASSES[error.failure].delivery != "bury":
                yield from (Outcome(self, job.delivery, job.scene, job.probe, error, digest=True) for job in jobs)
                taken = [(job, batch) for job, batch in taken if job.delivery.event == NOTICE]
        yield from (self._attempt(job, batch) for job, batch in taken)

    def _attempt(self, job: Job, batch: Batch) -> Outcome:
        def deliver() -> Delivered:
            batch.prepare()
            return self.destination.deliver(job.delivery, job.scene, job.record)

        done, error = _tried(deliver)
        return Outcome(self, job.delivery, job.scene, job.probe, error, done or Delivered())


def _tried(send: Callable[[], _T]) -> tuple[_T | None, DeliveryFailed | None]:
    """What a call returned, and how it failed."""
    try:
        return send(), None
    except DeliveryFailed as failed:
        return None, failed
    except Exception as bug:  # noqa: BLE001  # the one place that turns a bug into a dead letter
        error = DeliveryFailed(Failure.BUG, f"{type(bug).__name__}: {bug}")
        error.__cause__ = bug
        return None, error


def next_batch(pools: Iterable[Pool], most_scenes: int) -> list[Delivery]:
    """Moves deliveries of up to ``most_scenes`` scenes to ``fetching``, and returns them.

    Edits come first; among edits, and among the rest, the pools take turns.
    """
    batch: list[Delivery] = []
    scenes: set[int] = set()
    for edits in (True, False):
        waiting = deque(pools)
        while waiting:
            pool = waiting.popleft()
            found = pool.next_to_fetch(edits=edits)
            if found and (len(scenes) < most_scenes or found[0].scene_id in scenes):
                delivery = found.popleft()
                pool.fetching[delivery.row_id] = delivery
                scenes.add(delivery.scene_id)
                batch.append(delivery)
                waiting.append(pool)
    return batch
