"""Makes outcomes durable: what was delivered, what waits for another try, what is buried.

It asks retry.py and breaker.py what an outcome means. Everything that fits one transaction of
queue.db is in one; dead letters are written before their delivery goes.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from stash_courier.queue import control, ledger, transfer
from stash_courier.queue.dlq import DeadLetterQueue
from stash_courier.queue.failures import DeliveryFailed, Failure
from stash_courier.queue.jobs import Attempt, CorruptRow, Delivery, Scene
from stash_courier.queue.ledger import Sent
from stash_courier.queue.scene_queue import SceneQueue
from stash_courier.worker.delivery import breaker, retry
from stash_courier.worker.delivery.breaker import Health
from stash_courier.worker.delivery.claims import row_id
from stash_courier.worker.delivery.pool import Outcome, Pool
from stash_courier.worker.delivery.registry import Registry
from stash_courier.worker.http.redact import redact

LONGEST_BUG = 2048  # characters of a bug's message; its dead letter has the whole

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Burial:
    """A delivery that is to become a dead letter."""

    delivery: Delivery | CorruptRow
    error: BaseException
    title: str = ""


class Completer:
    """Records for one dispatcher, in its thread.

    Args:
        queue: the deliveries.
        dlq: the dead letters.
        registry: whose pools' health changes.
        clock: wall time, unix seconds.
        rng: numbers in [0, 1), for jitter.
    """

    def __init__(
        self,
        queue: SceneQueue,
        dlq: DeadLetterQueue,
        registry: Registry,
        clock: Callable[[], float],
        rng: Callable[[], float],
    ) -> None:
        self._queue = queue
        self._dlq = dlq
        self._registry = registry
        self._clock = clock
        self._rng = rng
        self._burials: list[Burial] = []  # of deliveries that are in flight until these are carried out

    def burying(self) -> set[int]:
        """Row ids of deliveries whose dead letters could not be written so far."""
        return {row_id(burial.delivery) for burial in self._burials}

    @property
    def burials_wait(self) -> bool:
        """Whether dead letters could not be written so far."""
        return bool(self._burials)

    def record(self, outcomes: Iterable[Outcome]) -> None:
        """Records how tries ended.

        Raises:
            sqlite3.Error: nothing was recorded; try again with the same outcomes.
        """
        now = self._clock()
        healths: dict[str, Health] = {}
        burials: list[Burial] = []
        recalls: list[tuple[str, tuple[int, ...], float]] = []
        delivered: list[Delivery] = []
        with self._queue.transaction():
            for outcome in outcomes:
                name = outcome.delivery.destination
                before = healths.get(name, outcome.pool.health)
                if outcome.error is None:
                    self._delivered(outcome)
                    delivered.append(outcome.delivery)
                    health = breaker.after_success(before, now)
                else:
                    health, took = self._failed(outcome, outcome.error, before, now, burials)
                    if took:
                        self._queue.give_back(name, took)
                        recalls.append((name, took, before.streak_since or now))
                if self._registry.pools.get(name) is outcome.pool:  # else the settings have changed since
                    healths[name] = self._turned(outcome.pool, before, health, now)
            if delivered:
                last = {"at": now, "destination": delivered[-1].destination, "scene_id": delivered[-1].scene_id}
                control.put(self._queue.connection, control.LAST_SUCCESS, last)
        for name, health in healths.items():
            self._registry.pools[name].health = health
        self._burials += burials
        self._tell_dlq(delivered, recalls)

    def _turned(self, pool: Pool, before: Health, health: Health, now: float) -> Health:
        """Stores a pool's health; one that fell ill gives back its claims, one that got well sends at once."""
        name = pool.destination.id
        if before.state != "well" and health.state == "well":
            log.info("%s takes deliveries again", name)
            self._queue.make_due(now, name, only_failed=True)
        if before.state == "well" and health.state != "well":
            log.warning("%s gets nothing for now: %s", name, health.reason)
            for delivery in pool.take_back():
                self._queue.back(delivery, None)
        if health != before:
            control.put_state(self._queue.connection, name, breaker.to_json(health))
        return health

    def _tell_dlq(
        self, delivered: Iterable[Delivery], recalls: Iterable[tuple[str, tuple[int, ...], float]] = ()
    ) -> None:
        """What a success, or a destination that is ill after all, means for dead letters."""
        self.bury(())
        try:
            for delivery in delivered:
                self._dlq.resolve(delivery.destination, delivery.scene_id)
            for name, scenes, since in recalls:
                self._dlq.recall(name, scenes, since)
        except sqlite3.OperationalError as error:
            log.warning("dead letters can't be brought up to date (%s): a redrive will find them delivered", error)

    def _delivered(self, outcome: Outcome) -> None:
        delivery, scene = outcome.delivery, outcome.scene
        conn = self._queue.connection
        self._queue.done(delivery)
        if scene is None:
            ledger.forget(conn, delivery.destination, delivery.scene_id)
        else:
            ledger.write(conn, sent(delivery, scene, "sent"))

    def _failed(
        self, outcome: Outcome, error: DeliveryFailed, before: Health, now: float, burials: list[Burial]
    ) -> tuple[Health, tuple[int, ...]]:
        delivery = outcome.delivery
        settings = self._registry.settings
        if error.failure is Failure.BUG:  # nobody took care of what it says
            error.message = redact(error.message, self._registry.secrets)[:LONGEST_BUG]
        health, took = breaker.after_failure(
            before, error, delivery.scene_id, now, probe=outcome.probe, rng=self._rng
        )
        decision = retry.decide(
            delivery,
            error,
            now,
            held=health.state != "well",
            schedule=settings.delivery_retry_schedule,
            max_attempts=settings.delivery_max_attempts,
            rng=self._rng,
        )
        attempt = Attempt(now, error.failure.value, error.message, error.status, error.answer)
        log.info(
            "scene %d (%s) to %s failed: %s",
            delivery.scene_id,
            delivery.event,
            delivery.destination,
            error.message,
        )
        if decision.bury:
            buried = replace(decision.delivery, history=(*delivery.history, attempt))
            title = outcome.scene.title_or_stem() if outcome.scene else ""
            burials.append(Burial(buried, error, title))
        else:
            self._queue.back(decision.delivery, decision.due, attempt)
        return health, took

    def settle(self, ended: Sequence[tuple[Delivery, Scene | None, Literal["filtered", "superseded"]]]) -> None:
        """Records deliveries that ended without being sent."""
        with self._queue.transaction():
            for delivery, scene, how in ended:
                self._queue.done(delivery)
                if scene is None:  # it is gone, and nobody is to be told
                    ledger.forget(self._queue.connection, delivery.destination, delivery.scene_id)
                elif how == "filtered":
                    ledger.write(self._queue.connection, sent(delivery, scene, "filtered"))
        self._tell_dlq(delivery for delivery, _, _ in ended)

    def bury(self, burials: Iterable[Burial]) -> None:
        """Makes dead letters of these and of those that could not be written before.

        A file that is damaged is for the service to set aside, so that error is raised.
        """
        self._burials += burials
        while self._burials:
            burial = self._burials[0]
            try:
                dead_letter = transfer.bury(
                    self._queue, self._dlq, burial.delivery, burial.error, title=burial.title
                )
            except sqlite3.OperationalError as error:
                log.error("dead letters can't be written (%s): they stay in the queue until they can", error)
                return
            del self._burials[0]
            if dead_letter is not None:
                log.warning(
                    "dead letter %d: scene %d to %s: %s",
                    *(
                        dead_letter,
                        burial.delivery.scene_id,
                        burial.delivery.destination or "nobody yet",
                        burial.error,
                    ),
                )


def sent(delivery: Delivery, scene: Scene, outcome: Literal["sent", "filtered"]) -> Sent:
    """The ledger's row for a delivery that ended."""
    return Sent(
        delivery.destination,
        delivery.scene_id,
        delivery.seq,
        scene.updated_at,
        scene.fetched_at,
        scene.path,
        outcome,
    )
