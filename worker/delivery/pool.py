"""A pool: one destination's share of the worker. Its own threads, its own buffer, its own health.

What one destination does, or fails to do, is felt in no other pool. No policy here: what may be sent
is breaker.py's, what becomes of a failure retry.py's.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from stash_courier.queue.failures import DeliveryFailed, Failure
from stash_courier.queue.jobs import Delivery, Scene
from stash_courier.worker.delivery.breaker import Health
from stash_courier.worker.destinations import Destination, Prepares

# Deliveries handed over for each thread: the one it sends and the next, so that no thread waits while
# the loop makes the end of the last one durable.
HANDED = 2


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one try ended."""

    pool: Pool
    delivery: Delivery
    scene: Scene | None
    probe: bool
    error: DeliveryFailed | None  # None: the destination took it


class Batch:
    """Deliveries that became ready together; the first that runs looks up what all of them need."""

    def __init__(self, destination: Destination, jobs: Sequence[tuple[Delivery, Scene | None]]) -> None:
        self.rows = frozenset(delivery.row_id for delivery, _ in jobs)
        self._destination = destination
        self._jobs = jobs if len(jobs) > 1 else ()
        self._lock = threading.Lock()

    def prepare(self) -> None:
        """Returns when the lookup is done, by whichever thread was first."""
        with self._lock:
            jobs, self._jobs = self._jobs, ()
            if jobs and isinstance(self._destination, Prepares):
                self._destination.prepare(jobs)


@dataclass
class Pool:
    """Deliveries of one destination on their way: to be fetched, ready, running."""

    destination: Destination
    health: Health
    threads: ThreadPoolExecutor
    concurrency: int
    to_fetch: deque[Delivery] = field(default_factory=deque)
    ready: deque[tuple[Delivery, Scene | None]] = field(default_factory=deque)
    running: dict[int, Delivery] = field(default_factory=dict)  # by row id: handed to the threads
    handed: dict[int, Future[None]] = field(default_factory=dict)  # the same, and some that have ended
    fetching: dict[int, Delivery] = field(default_factory=dict)  # by row id: Stash is being asked
    batch: Batch | None = None  # what was started last belongs to it
    probe: bool = False  # what is on its way is a probe

    @property
    def on_its_way(self) -> int:
        """Claimed deliveries of this destination."""
        return len(self.to_fetch) + len(self.ready) + len(self.running) + len(self.fetching)

    def row_ids(self) -> set[int]:
        """Rows of the claimed deliveries."""
        return {d.row_id for d in (*self.to_fetch, *(d for d, _ in self.ready))} | {*self.running, *self.fetching}

    def take_back(self, *, everything: bool = False) -> list[Delivery]:
        """Gives up what was claimed but not started; with ``everything`` also what was."""
        given = [self.running.pop(row_id) for row_id in [*self.running] if self.handed[row_id].cancel()]
        given += [*self.to_fetch, *(delivery for delivery, _ in self.ready)]
        self.to_fetch.clear()
        self.ready.clear()
        if everything:
            given += [*self.fetching.values(), *self.running.values()]
            self.fetching.clear()
            self.running.clear()
        return given

    def start_ready(self, finished: Callable[[Outcome], None]) -> None:
        """Hands ready deliveries to the threads; each calls ``finished`` from its thread."""
        if self.ready:
            self.handed = {row_id: self.handed[row_id] for row_id in self.running}
        while self.ready and len(self.running) < HANDED * self.concurrency:
            delivery, scene = self.ready.popleft()
            if self.batch is None or delivery.row_id not in self.batch.rows:
                self.batch = Batch(self.destination, [(delivery, scene), *self.ready])
            self.running[delivery.row_id] = delivery
            self.handed[delivery.row_id] = self.threads.submit(
                _deliver, self, self.batch, (delivery, scene), self.probe, finished
            )

    def close(self) -> None:
        """Lets go of connections and threads; what still runs is not waited for."""
        self.threads.shutdown(wait=False, cancel_futures=True)
        self.destination.close()


def open_pool(destination: Destination, health: Health, concurrency: int) -> Pool:
    """A pool with its threads."""
    threads = ThreadPoolExecutor(max_workers=concurrency, thread_name_prefix=destination.id)
    return Pool(destination, health, threads, concurrency)


def _deliver(
    pool: Pool,
    batch: Batch,
    job: tuple[Delivery, Scene | None],
    probe: bool,
    finished: Callable[[Outcome], None],
) -> None:
    delivery, scene = job
    error: DeliveryFailed | None = None
    try:
        batch.prepare()
        pool.destination.deliver(delivery, scene)
    except DeliveryFailed as failed:
        error = failed
    except Exception as bug:  # noqa: BLE001  # the one place that turns a bug into a dead letter
        error = DeliveryFailed(Failure.BUG, f"{type(bug).__name__}: {bug}")
        error.__cause__ = bug
    finished(Outcome(pool, delivery, scene, probe, error))
