"""What is claimed next, by each destination's health and suspects one at a time, and when that will be."""

from __future__ import annotations

from collections.abc import Iterator

from stash_courier.queue.jobs import CorruptRow, Delivery
from stash_courier.queue.scene_queue import SceneQueue
from stash_courier.worker.delivery import breaker
from stash_courier.worker.delivery.pool import Pool
from stash_courier.worker.delivery.registry import Registry
from stash_courier.worker.stash.pace import MOST_SCENES

FETCH_SCENES = MOST_SCENES  # in one request to Stash, unless Stash is slow
CLAIM_AHEAD = 2 * FETCH_SCENES  # per destination: one batch is fetched while the other is delivered
REMOVED_SECONDS = 30 * 86_400.0  # how long deliveries to a removed destination are kept
FOREVER = 1e12  # as a wall time, later than anything is due; as seconds, longer than anything waits

Claimed = list[Delivery | CorruptRow]


def row_id(job: Delivery | CorruptRow) -> int:
    """The delivery's row."""
    return job.row_id if isinstance(job, Delivery) else job.seq


class Claims:
    """Claims deliveries for the registry's pools."""

    def __init__(self, queue: SceneQueue, registry: Registry) -> None:
        self._queue = queue
        self._registry = registry
        self._watched: int | None = None  # row id of the suspect that was claimed last

    def take(self, now: float) -> Iterator[tuple[Pool, Claimed]]:
        """Claims what may be sent at the wall time ``now``. Take over each result before asking for the next."""
        for name, pool in self._registry.pools.items():
            may = breaker.may_send(pool.health, now)
            pool.probe = may == "probe"
            if may == "probe" and not pool.on_its_way:
                yield pool, self._queue.claim_probe(name)
            elif may == "all" and _has_room(pool):
                due = self._queue.next_due(name)
                if due is not None and due <= now:
                    # Only whole batches: each costs one request to Stash, even for a single scene.
                    batches = (CLAIM_AHEAD - pool.on_its_way) // FETCH_SCENES
                    yield pool, self._queue.claim(name, batches * FETCH_SCENES, now)
        if (suspected := self._suspected(now)) is not None:
            pool = self._registry.pools[suspected]
            claimed = self._queue.claim(suspected, 1, FOREVER if pool.probe else now, suspects=True)
            self._watched = next(map(row_id, claimed), None)
            yield pool, claimed

    def _suspected(self, now: float) -> str | None:
        """The destination whose suspect is next, if one may be claimed.

        Of all deliveries that may have killed the last worker, one is on its way at a time. If the worker dies
        again, the culprit is known. Deliveries that aren't suspect continue beside it.
        """
        if self._watching():
            return None
        found = {}
        for name, pool in self._registry.pools.items():
            may = breaker.may_send(pool.health, now)
            # An ill destination is probed with a suspect only if nothing else can serve as the probe.
            if may == "all" or (may == "probe" and not pool.on_its_way):
                found[name] = self._queue.next_suspect(name, FOREVER if may == "probe" else now)
        return min((n for n in found if found[n] is not None), key=lambda n: found[n] or (), default=None)

    def _watching(self) -> bool:
        """Whether a suspect is on its way."""
        held = (pool.row_ids() for pool in self._registry.all_pools())
        if self._watched is not None and not any(self._watched in rows for rows in held):
            self._watched = None
        return self._watched is not None

    def take_removed(self, now: float) -> Claimed:
        """Claims what has waited too long for removed destinations, and forgets those for which nothing waits."""
        claimed: Claimed = []
        for name, since in list(self._registry.removed.items()):
            if not self._queue.holds(name):
                self._registry.forget(name)
            elif now - since >= REMOVED_SECONDS:
                claimed += self._queue.claim(name, CLAIM_AHEAD, FOREVER)
                claimed += self._queue.claim(name, 1, FOREVER, suspects=True)
        return claimed

    def due_in(self, now: float) -> float:
        """Seconds from the wall time ``now`` until there is something to claim, unless an outcome comes first."""
        watching = self._watching()
        return min((self._due_in(pool, now, watching) for pool in self._registry.pools.values()), default=FOREVER)

    def _due_in(self, pool: Pool, now: float, watching: bool) -> float:
        name = pool.destination.id
        dues = [self._queue.next_due(name), None if watching else self._queue.suspect_due(name)]
        due = min((due for due in dues if due is not None), default=None)
        if due is None or pool.health.state == "gone" or not _has_room(pool):
            return FOREVER
        if pool.health.state == "ill":
            return FOREVER if pool.on_its_way else pool.health.until - now
        return max(due, pool.health.until) - now


def _has_room(pool: Pool) -> bool:
    return pool.on_its_way <= CLAIM_AHEAD - FETCH_SCENES
