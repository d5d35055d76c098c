"""What is claimed next, by each destination's health and room, and when that will be.

A delivery that was in flight when a worker died has a count of deaths. Those with a count are sent beside the
others: at each destination one of those with a single death, and in the whole process one of those with more, when
no other with a count is left to be sent. So the third death finds its culprit and no neighbor.
"""

from __future__ import annotations

from collections.abc import Iterator

from stash_courier.queue.deliveries.scene_queue import SceneQueue
from stash_courier.queue.jobs import EDIT, CorruptRow, Delivery, row_id_of
from stash_courier.worker.delivery import breaker
from stash_courier.worker.delivery.pool import Pool
from stash_courier.worker.delivery.registry import Registry
from stash_courier.worker.stash.pace import MOST_SCENES

# Edits per destination, and as many others: one batch is delivered, one is fetched, and two are ready or recorded.
CLAIM_AHEAD = 4 * MOST_SCENES
FOREVER = 1e12  # as a wall time, later than anything is due; as seconds, longer than anything waits

Claimed = list[Delivery | CorruptRow]


class Claims:
    """Claims deliveries for the registry's pools."""

    def __init__(self, queue: SceneQueue, registry: Registry) -> None:
        self._queue = queue
        self._registry = registry
        self._counted: dict[str, Delivery] = {}  # by destination: the last one claimed with a count of deaths

    def take(self, now: float) -> Iterator[tuple[Pool, Claimed]]:
        """Claims what may be sent at the wall time ``now``. Take over each result before asking for the next."""
        turns = self._turns_of_counted(now)
        for name, pool in self._registry.pools.items():
            if now < breaker.opens_at(pool.health, self._untried_edit(pool, now)):
                continue
            if breaker.may_send(pool.health, now) != "all":
                if not pool.on_its_way:
                    yield pool, self._probe(name, pool, now)
                continue
            if name in turns:
                yield pool, self._claim_counted(name)
            yield from ((pool, claimed) for claimed in self._due(name, pool, now))

    def _probe(self, name: str, pool: Pool, now: float) -> Claimed:
        claimed = self._queue.claim_probe(name, now)
        if not claimed and self._counted_may_join(self._queue.fewest_deaths(name)):
            claimed = self._claim_counted(name)
        pool.probe = next(map(row_id_of, claimed), None)
        return claimed

    def _due(self, name: str, pool: Pool, now: float) -> Iterator[Claimed]:
        edit, rest = self._queue.next_due(name)
        edits_room, rest_room = _room(pool)
        if edits_room and _is_due(edit, now):
            yield self._queue.claim(name, edits_room, now, edits=True)
        if rest_room and _is_due(rest, now):
            yield self._queue.claim(name, rest_room, now, edits=False)

    # Those with a count of deaths

    def _claim_counted(self, name: str) -> Claimed:
        claimed = self._queue.claim_counted(name)
        for delivery in claimed:
            if isinstance(delivery, Delivery):
                self._counted[name] = delivery
        return claimed

    def _turns_of_counted(self, now: float) -> list[str]:
        """The destinations that may be sent one with a count now."""
        waiting = {
            name: deaths
            for name, pool in self._registry.pools.items()
            if (deaths := self._queue.fewest_deaths(name))
            and breaker.may_send(pool.health, now) == "all"
            and now >= breaker.opens_at(pool.health)
        }
        if not waiting:
            return []
        turns = [name for name, deaths in waiting.items() if deaths == 1 and self._counted_may_join(1, name)]
        if not turns and self._counted_may_join(2):
            turns = sorted(waiting, key=waiting.__getitem__)[:1]
        return turns

    def _counted_may_join(self, deaths: int, name: str = "") -> bool:
        """Whether one with so many deaths may be sent beside those that are on their way."""
        for other, delivery in list(self._counted.items()):
            if not any(pool.holds(delivery.row_id) for pool in self._registry.all_pools()):
                del self._counted[other]
        if deaths > 1:
            return not self._counted
        return name not in self._counted and all(delivery.deaths == 1 for delivery in self._counted.values())

    # Removed destinations

    def take_removed(self, now: float) -> Claimed:
        """Claims what has waited too long for removed destinations, and forgets those for which nothing waits."""
        claimed: Claimed = []
        for name, since in list(self._registry.removed.items()):
            if not self._queue.holds(name):
                self._registry.forget(name)
            elif now - since >= breaker.REMOVED_SECONDS:
                for edits in (True, False):
                    claimed += self._queue.claim(name, CLAIM_AHEAD, FOREVER, edits=edits)
                claimed += self._queue.claim_counted(name, CLAIM_AHEAD)
        return claimed

    # When

    def due_in(self, now: float) -> float:
        """Seconds from the wall time ``now`` until there is something to claim, unless an outcome comes first."""
        if self._turns_of_counted(now):
            return 0.0
        waits = (self._due_in(name, pool, now) for name, pool in self._registry.pools.items())
        return min(waits, default=FOREVER)

    def _due_in(self, name: str, pool: Pool, now: float) -> float:
        opens_in = breaker.opens_at(pool.health, self._untried_edit(pool, now)) - now
        dues = self._queue.next_due(name)
        if pool.health.state != "well" or pool.health.forced:
            waits = not pool.on_its_way and (any(due is not None for due in dues) or self._counted_probes(name))
            return min(max(opens_in, 0.0), FOREVER) if waits else FOREVER
        with_room = (due for due, room in zip(dues, _room(pool), strict=True) if room and due is not None)
        return max(min(with_room, default=FOREVER) - now, opens_in)

    def _counted_probes(self, name: str) -> bool:
        """Whether one with a count of deaths may probe a destination that is held."""
        deaths = self._queue.fewest_deaths(name)
        return deaths > 0 and self._counted_may_join(deaths)

    def _untried_edit(self, pool: Pool, now: float) -> float | None:
        if pool.health.state == "well":
            return None
        return self._queue.newest_untried_edit(pool.destination.id, now)


def _is_due(due: float | None, now: float) -> bool:
    return due is not None and due <= now


def _room(pool: Pool) -> tuple[int, int]:
    """How many edits and how many others may be claimed: whole batches, as each costs a request to Stash."""
    claimed = pool.claimed
    edits = sum(delivery.priority == EDIT for delivery in claimed)
    free = CLAIM_AHEAD - edits, CLAIM_AHEAD - (len(claimed) - edits)
    return free[0] // MOST_SCENES * MOST_SCENES, free[1] // MOST_SCENES * MOST_SCENES
