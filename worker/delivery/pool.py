"""A pool: one destination's share of the worker, with its own threads, buffer and health.

Whatever one destination does affects no other pool. No policy here: breaker.py decides what may be
sent, retry.py what happens after a failure.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from stash_courier.queue.failures import DeliveryFailed, Failure
from stash_courier.queue.jobs import Delivery, Scene
from stash_courier.worker.delivery.breaker import Health
from stash_courier.worker.destinations import Destination, Prepares

# Jobs submitted for each thread: the one it sends and the next, so that no thread waits while the loop
# makes the last outcome durable.
SUBMITTED = 2


@dataclass(frozen=True, slots=True)
class Job:
    """A delivery that may be sent."""

    delivery: Delivery
    scene: Scene | None  # as Stash has it now; None for a destroy
    cover: bytes = b""  # digest of the cover that the item has from us


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one attempt ended."""

    pool: Pool
    delivery: Delivery
    scene: Scene | None
    probe: bool
    error: DeliveryFailed | None  # None: the destination accepted it
    cover: bytes = b""  # digest of the cover that the item has from us now; b"": as before


class Batch:
    """Jobs that became ready together. The first that runs looks up what all of them need."""

    def __init__(self, destination: Destination, jobs: Sequence[Job]) -> None:
        self.rows = frozenset(job.delivery.row_id for job in jobs)
        self._destination = destination
        self._jobs = jobs if len(jobs) > 1 else ()
        self._lock = threading.Lock()

    def prepare(self) -> None:
        """Returns when the lookup is done, in whichever thread came first."""
        with self._lock:
            jobs, self._jobs = self._jobs, ()
            if jobs and isinstance(self._destination, Prepares):
                self._destination.prepare([(job.delivery, job.scene) for job in jobs])


@dataclass
class Pool:
    """Deliveries of one destination on their way: to be fetched, being fetched, ready, running."""

    destination: Destination
    health: Health
    concurrency: int  # threads
    to_fetch: deque[Delivery] = field(default_factory=deque)
    fetching: dict[int, Delivery] = field(default_factory=dict)  # by row id: Stash is asked for their scenes
    ready: deque[Job] = field(default_factory=deque)
    running: dict[int, tuple[Delivery, Future[None]]] = field(default_factory=dict)  # by row id: submitted
    batch: Batch | None = None  # of the job that was submitted last
    probe: bool = False  # what is on its way is a probe

    def __post_init__(self) -> None:
        self.threads = ThreadPoolExecutor(self.concurrency, thread_name_prefix=self.destination.id)

    @property
    def on_its_way(self) -> int:
        """Claimed deliveries of this destination."""
        return len(self.to_fetch) + len(self.fetching) + len(self.ready) + len(self.running)

    def row_ids(self) -> set[int]:
        """Rows of the claimed deliveries."""
        waiting = (*self.to_fetch, *(job.delivery for job in self.ready))
        return {delivery.row_id for delivery in waiting} | {*self.running, *self.fetching}

    def take_back(self, *, everything: bool = False) -> list[Delivery]:
        """Removes and returns what was claimed but hasn't started; with ``everything`` also what has."""
        cancelled = [row_id for row_id, (_, future) in self.running.items() if future.cancel()]
        taken = [self.running.pop(row_id)[0] for row_id in cancelled]
        taken += [*self.to_fetch, *(job.delivery for job in self.ready)]
        self.to_fetch.clear()
        self.ready.clear()
        if everything:
            taken += [*self.fetching.values(), *(delivery for delivery, _ in self.running.values())]
            self.fetching.clear()
            self.running.clear()
        return taken

    def start_ready(self, finished: Callable[[Outcome], None]) -> None:
        """Submits ready jobs to the threads; each calls ``finished`` from its thread."""
        while self.ready and len(self.running) < SUBMITTED * self.concurrency:
            job = self.ready.popleft()
            row_id = job.delivery.row_id
            if self.batch is None or row_id not in self.batch.rows:
                self.batch = Batch(self.destination, [job, *self.ready])
            future = self.threads.submit(_deliver, self, self.batch, job, self.probe, finished)
            self.running[row_id] = job.delivery, future

    def close(self) -> None:
        """Closes connections and threads; what still runs is not waited for."""
        self.threads.shutdown(wait=False, cancel_futures=True)
        self.destination.close()


def next_batch(pools: Iterable[Pool], most_scenes: int) -> list[Delivery]:
    """Moves deliveries of up to ``most_scenes`` scenes, from the pools in turn, to ``fetching``; returns them."""
    batch: list[Delivery] = []
    scenes: set[int] = set()
    waiting = deque(pools)
    while waiting:
        pool = waiting.popleft()
        if pool.to_fetch and (len(scenes) < most_scenes or pool.to_fetch[0].scene_id in scenes):
            delivery = pool.to_fetch.popleft()
            pool.fetching[delivery.row_id] = delivery
            scenes.add(delivery.scene_id)
            batch.append(delivery)
            waiting.append(pool)
    return batch


def _deliver(pool: Pool, batch: Batch, job: Job, probe: bool, finished: Callable[[Outcome], None]) -> None:
    error = None
    cover = b""
    try:
        batch.prepare()
        cover = pool.destination.deliver(job.delivery, job.scene, job.cover)
    except DeliveryFailed as failed:
        error = failed
    except Exception as bug:  # noqa: BLE001  # the one place that turns a bug into a dead letter
        error = DeliveryFailed(Failure.BUG, f"{type(bug).__name__}: {bug}")
        error.__cause__ = bug
    finished(Outcome(pool, job.delivery, job.scene, probe, error, cover))
