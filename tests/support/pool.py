"""Delivers to a destination through its pool, without a dispatcher."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import partial

from stash_courier.queue.jobs import Delivery, Scene
from stash_courier.worker.delivery.breaker import Health
from stash_courier.worker.delivery.pool import Job, Outcome, Pool
from stash_courier.worker.destinations import Destination
from tests.support.connections import connection

ANY = connection("webhook", {"url": "http://127.0.0.1/", "concurrency": 4})  # only its number of threads counts


def run_pool(destination: Destination, jobs: Sequence[tuple[Delivery, Scene | None]]) -> list[Outcome]:
    """Delivers as the worker does: in batches of 50, in the destination's threads."""
    outcomes: list[Outcome] = []
    changed = threading.Condition()

    def finished(outcome: Outcome) -> None:
        assert isinstance(outcome, Outcome)
        with changed:
            outcomes.append(outcome)
            changed.notify()

    pool = Pool(destination, ANY, Health(), finished)
    pool.start(allowed=True)
    for first in range(0, len(jobs), 50):
        batch = [Job(*job) for job in jobs[first : first + 50]]
        pool.make_ready(batch)
        taken = first
        while taken < first + len(batch):
            with changed:
                assert changed.wait_for(partial(_exceeds, outcomes, taken), 30)
            for outcome in outcomes[taken:]:
                pool.end(outcome)
                pool.recorded(outcome)
                taken += 1
            pool.start(allowed=True)
    pool.end_threads()
    return outcomes


def _exceeds(outcomes: Sequence[Outcome], count: int) -> bool:
    return len(outcomes) > count
