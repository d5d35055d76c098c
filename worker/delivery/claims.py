"""What is claimed next, by each destination's health and room, and when that will be.

Of the deliveries that the last worker was sending when it was killed, each destination sends one at a time, in
its turn and beside others. One that was sent when two workers were killed runs alone in the process. If the worker
dies again, the culprit is known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from stash_courier.queue.deliveries.scene_queue import SceneQueue
from stash_courier.queue.jobs import EDIT, CorruptRow, Delivery, row_id_of
from stash_courier.worker.delivery import breaker
from stash_courier.worker.delivery.pool import Pool
from stash_courier.worker.delivery.registry import Registry
from stash_courier.worker.stash.pace import MOST_SCENES

# Edits per destination, and as many others: one batch is delivered, one is fetched, and two are ready or recorded.
CLAIM_AHEAD = 4 * MOST_SCENES
NORMAL_SECONDS = 1.0  # at least, before a delivery runs alone and between two of them
FOREVER = 1e12  # as a wall time, later than anything is due; as seconds, longer than anything waits
SUSPECT, ALONE = 1, 2  # what the column ``suspect`` says

Claimed = list[Delivery | CorruptRow]


class Claims:
    """Claims deliveries for the registry's pools. ``monotonic`` gives seconds."""

    def __init__(self, queue: SceneQueue, registry: Registry, monotonic: Callable[[], float]) -> None:
        self._queue = queue
        self._registry = registry
        self._monotonic = monotonic
        self._alone: int | None = None  # row id of the delivery that runs alone
        self._wanted_at: float | None = None  # monotonic time since which one is to run alone
        self._normal_until = monotonic() + NORMAL_SECONDS  # monotonic time

    def take(self, now: float) -> Iterator[tuple[Pool, Claimed]]:
        """Claims what may be sent at the wall time ``now``. Take over each result before asking for the next."""
        if (name := self._to_run_alone(now)) is not None:
            pool = self._registry.pools[name]
            claimed = self._queue.claim_suspect(name, ALONE, FOREVER)
            self._alone = next(map(row_id_of, claimed), None)
            pool.probe = self._alone if breaker.may_send(pool.health, now) == "probe" else None
            yield pool, claimed
        if self._alone is not None:
            return
        for name, pool in self._registry.pools.items():
            if now < breaker.opens_at(pool.health, self._untried_edit(pool, now)):
                continue
            if breaker.may_send(pool.health, now) != "all":
                if not pool.on_its_way:
                    yield pool, self._probe(name, pool, now)
                continue
            yield from ((pool, claimed) for claimed in self._due(name, pool, now))

    def _probe(self, name: str, pool: Pool, now: float) -> Claimed:
        claimed = self._queue.claim_probe(name, now) or self._queue.claim_suspect(name, SUSPECT, FOREVER)
        pool.probe = next(map(row_id_of, claimed), None)
        return claimed

    def _due(self, name: str, pool: Pool, now: float) -> Iterator[Claimed]:
        if pool.suspect is not None and not pool.holds(pool.suspect):
            pool.suspect = None
        if pool.suspect is None and _is_due(self._queue.suspect_due(name, SUSPECT), now):
            claimed = self._queue.claim_suspect(name, SUSPECT, now)
            pool.suspect = next(map(row_id_of, claimed), None)
            yield claimed
        edit, rest = self._queue.next_due(name)
        edits_room, rest_room = _room(pool)
        if edits_room and _is_due(edit, now):
            yield self._queue.claim(name, edits_room, now, edits=True)
        if rest_room and _is_due(rest, now):
            yield self._queue.claim(name, rest_room, now, edits=False)

    # One that runs alone

    def clears_the_way(self, now: float) -> bool:
        """Whether nothing may begin, because a delivery runs alone as soon as what runs has ended."""
        if self._runs_alone():
            return False
        if self._alone is not None:  # it has ended
            took = self._monotonic() - (self._wanted_at or 0.0)
            self._normal_until = self._monotonic() + max(took, NORMAL_SECONDS)
            self._alone = self._wanted_at = None
        if self._alone_in(now) > 0.0:
            self._wanted_at = None
            return False
        if self._wanted_at is None:
            self._wanted_at = self._monotonic()
        return self._on_its_way()

    def _runs_alone(self) -> bool:
        return any(pool.holds(self._alone) for pool in self._registry.all_pools())

    def _to_run_alone(self, now: float) -> str | None:
        """The destination whose strongly suspect delivery may be claimed now."""
        if self._wanted_at is None or self._alone is not None or self._on_its_way():
            return None
        return next((name for name in self._registry.pools if self._alone_at(name) <= now), None)

    def _on_its_way(self) -> bool:
        return any(pool.on_its_way for pool in self._registry.all_pools())

    def _alone_in(self, now: float) -> float:
        """Seconds until a delivery may run alone."""
        due = min((self._alone_at(name) for name in self._registry.pools), default=FOREVER)
        return max(due - now, self._normal_until - self._monotonic())

    def _alone_at(self, name: str) -> float:
        """Wall time at which a destination's strongly suspect delivery may be sent."""
        due = self._queue.suspect_due(name, ALONE)
        health = self._registry.pools[name].health
        if due is None:
            return FOREVER
        if health.state != "well" and self._first_due(name) is not None:
            return FOREVER  # others are better probes
        return max(due if health.state == "well" else 0.0, min(breaker.opens_at(health), FOREVER))

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
                for suspect in (SUSPECT, ALONE):
                    claimed += self._queue.claim_suspect(name, suspect, FOREVER)
        return claimed

    # When

    def due_in(self, now: float) -> float:
        """Seconds from the wall time ``now`` until there is something to claim, unless an outcome comes first."""
        if self._alone is not None:
            return FOREVER if self._runs_alone() else 0.0
        if self._wanted_at is not None:
            return FOREVER
        waits = [self._due_in(pool, now) for pool in self._registry.pools.values()]
        return min([*waits, self._alone_in(now)])

    def _due_in(self, pool: Pool, now: float) -> float:
        name = pool.destination.id
        opens_in = breaker.opens_at(pool.health, self._untried_edit(pool, now)) - now
        if pool.health.state != "well" or pool.health.forced:
            waits = not pool.on_its_way and self._first_due(name) is not None
            return min(max(opens_in, 0.0), FOREVER) if waits else FOREVER
        dues = []
        if not pool.holds(pool.suspect):
            dues.append(self._queue.suspect_due(name, SUSPECT))
        dues += (due for due, room in zip(self._queue.next_due(name), _room(pool), strict=True) if room)
        due = min((due for due in dues if due is not None), default=FOREVER)
        return max(due - now, opens_in)

    def _first_due(self, name: str) -> float | None:
        """When the first delivery of a destination is due, except those that run alone."""
        dues = *self._queue.next_due(name), self._queue.suspect_due(name, SUSPECT)
        return min((due for due in dues if due is not None), default=None)

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
