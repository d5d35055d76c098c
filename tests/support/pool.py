"""Delivers to a destination through its pool, without a dispatcher."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from stash_courier.queue.jobs import Delivery, Scene
from stash_courier.worker.delivery.breaker import Health
from stash_courier.worker.delivery.pool import Job, Outcome, Pool
from stash_courier.worker.destinations import Destination


def run_pool(destination: Destination, jobs: Sequence[tuple[Delivery, Scene | None]]) -> list[Outcome]:
    """Delivers as the worker does: in batches of 50, in the destination's threads."""
    pool = Pool(destination, Health(), 4)
    outcomes: list[Outcome] = []
    changed = threading.Condition()

    def finished(outcome: Outcome) -> None:
        with changed:
            outcomes.append(outcome)
            changed.notify()

    done = 0
    while done < len(jobs):
        if not pool.ready and not pool.running:
            pool.ready.extend(Job(*job) for job in jobs[done : done + 50])
        pool.start_ready(finished)
        with changed:
            while len(outcomes) == done:
                assert changed.wait(30)
            for outcome in outcomes[done:]:
                del pool.running[outcome.delivery.row_id]
            done = len(outcomes)
    pool.threads.shutdown()
    return outcomes
