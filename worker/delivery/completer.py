"""Makes outcomes durable: what was delivered, what waits for another attempt, what becomes a dead letter.

It asks retry.py and breaker.py what an outcome means. Everything that belongs together is one transaction
of queue.db. A dead letter is written before its delivery is removed.
"""

from __future__ import annotations

import logging
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, replace
from typing import Literal, NamedTuple

from stash_courier.queue import control, transfer, troubles
from stash_courier.queue.dead_letters.dlq import DeadLetterQueue
from stash_courier.queue.deliveries.scene_queue import SceneQueue
from stash_courier.queue.failures import DeliveryFailed, Failure
from stash_courier.queue.history import ledger, receipts
from stash_courier.queue.history.ledger import Sent
from stash_courier.queue.history.receipts import Receipt
from stash_courier.queue.jobs import Attempt, CorruptRow, Delivery, Scene, row_id_of
from stash_courier.worker.delivery import breaker, retry
from stash_courier.worker.delivery.breaker import Health
from stash_courier.worker.delivery.outcomes import named, receipt_of, receipt_without_sending
from stash_courier.worker.delivery.pool import Outcome, Pool
from stash_courier.worker.delivery.registry import Registry
from stash_courier.worker.destinations import Delivered
from stash_courier.worker.http.redact import redact

LONGEST_BUG = 2048  # characters of a bug's message in the history; its dead letter has all of it
NOTHING = Delivered()
DEADLY = 3  # deaths of the worker that make a delivery a dead letter

log = logging.getLogger(__name__)

End = Literal["sent", "filtered", "absent", "superseded"]
# None: Stash doesn't have the scene, or for a destroy. At last why, in a sentence.
Ended = tuple[Delivery, Scene | None, End, str]


class _Burial(NamedTuple):
    """What is to become a dead letter, and why."""

    job: Delivery | CorruptRow
    cause: BaseException
    title: str = ""  # the scene's, or what a message about trouble says
    path: str = ""  # the scene's
    updated_at: str = ""  # the scene's


class _Ends(NamedTuple):
    """Deliveries that ended without being sent."""

    burials: list[_Burial]
    skipped: list[Delivery]  # not on the server, or not to be written there


class DeadlyDeliveryError(Exception):
    """The worker died repeatedly while it delivered only this."""


class RemovedDestinationError(Exception):
    """The settings have not named this destination for 30 days."""


class Completer:
    """Records outcomes. ``clock`` gives wall time, ``rng`` numbers in [0, 1) for the jitter."""

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
        self._burials: list[_Burial] = []  # not written yet; their deliveries stay in flight until then

    def record(self, outcomes: Sequence[Outcome]) -> None:
        """Records how attempts ended.

        Raises:
            sqlite3.Error: nothing was recorded; try again with the same outcomes.
        """
        now = self._clock()
        healths: dict[str, Health] = {}
        delivered: list[Delivery] = []
        counted: Counter[str] = Counter()  # scenes that were written, by destination
        ends = _Ends([], [])
        with self._queue.transaction():
            for outcome in outcomes:
                name = outcome.delivery.destination
                before = healths.get(name, outcome.pool.health)
                if outcome.error is None:
                    receipt = receipt_of(outcome, now)
                    if receipt is not None and receipt.outcome in receipts.WRITTEN:
                        counted[name] += 1
                    self._end(outcome.delivery, outcome.scene, outcome.done.outcome, receipt, outcome.done)
                    (delivered if outcome.done.outcome == "sent" else ends.skipped).append(outcome.delivery)
                    health = self._succeeded(outcome, before, now)
                else:
                    health, took = self._failed(outcome, outcome.error, before, now, ends)
                    if took:
                        self._give_back(name, took, before.streak_since or now, ends.burials, now)
                if self._registry.pools.get(name) is outcome.pool:  # otherwise the settings have changed since
                    healths[name] = self._store_health(outcome.pool, before, health, now)
            if scenes := [delivery for delivery in delivered if delivery.event != troubles.NOTICE]:
                last = {"at": now, "destination": scenes[-1].destination, "scene_id": scenes[-1].scene_id}
                control.put(self._queue.connection, control.LAST_SUCCESS, last)
                receipts.count(self._queue.connection, counted, now)
        for name, health in healths.items():
            self._registry.pools[name].health = health
        for outcome in outcomes:
            outcome.pool.recorded(outcome)
        self._burials += ends.burials
        self._update_dlq(delivered, ends.skipped)

    def _succeeded(self, outcome: Outcome, before: Health, now: float) -> Health:
        if outcome.done.outcome == "filtered":  # nothing was accepted
            what = troubles.subject(outcome.delivery.scene_id), outcome.delivery.destination
            log.info("%s isn't written to %s: %s", *what, ", ".join(sorted(outcome.done.notes)))
            return breaker.after_answer(before, probe=outcome.probe)
        event = outcome.delivery.event
        notice, gone = event == troubles.NOTICE, event == "destroy"
        return breaker.after_success(before, now, probe=outcome.probe, notice=notice, gone=gone)

    def _give_back(
        self, name: str, scenes: Sequence[int], since: float, burials: list[_Burial], now: float
    ) -> None:
        """Takes back what counted against these scenes: their destination was at fault since a wall time.

        Their dead letters are recalled before the transaction is committed. If the worker dies in between, that is
        done once more.
        """
        self._queue.give_back(name, scenes)
        self._dlq.recall(name, scenes, since)
        for unwritten in (burials, self._burials):
            for burial in [*unwritten]:
                job = burial.job
                if isinstance(job, Delivery) and job.destination == name and job.scene_id in scenes:
                    unwritten.remove(burial)
                    tried = max(job.counted_attempts - scenes.count(job.scene_id), 0)
                    self._queue.back(
                        replace(job, counted_attempts=tried, history=job.history[:-1]), now, job.history[-1]
                    )

    def _end(
        self,
        delivery: Delivery,
        scene: Scene | None,
        how: End,
        receipt: Receipt | None,
        done: Delivered = NOTHING,
    ) -> None:
        """Removes a delivery, and writes the receipt and the ledger."""
        conn, name = self._queue.connection, delivery.destination
        self._queue.done(delivery)
        if receipt is not None:
            receipts.write(conn, receipt)
        if scene is None:
            ledger.forget(conn, name, delivery.scene_id)
        elif how != "superseded":
            times = scene.updated_at, scene.fetched_at
            row = Sent(name, delivery.scene_id, delivery.seq, *times, scene.path, how, done.record, done.notes)
            ledger.write(conn, row)

    def _failed(
        self, outcome: Outcome, error: DeliveryFailed, before: Health, now: float, ends: _Ends
    ) -> tuple[Health, tuple[int, ...]]:
        delivery, scene = outcome.delivery, outcome.scene
        if error.failure is Failure.BUG:  # its message may contain anything
            error.message = redact(error.message, self._registry.secrets)[:LONGEST_BUG]
        health, took = breaker.after_failure(before, error, delivery, now, probe=outcome.probe, rng=self._rng)
        held, policy = health.state != "well", outcome.pool.connection.policy
        decision = retry.decide(delivery, error, now, held=held, policy=policy, scene=scene, rng=self._rng)
        attempt = Attempt(now, error.failure.value, error.message, error.status, error.answer)
        what = troubles.subject(delivery.scene_id), delivery.event, delivery.destination
        if decision.skip:
            log.info("%s (%s) to %s is skipped: not on the server", *what)
            receipt = receipts.of(delivery, "absent", now, named(scene), reason=error.message)
            self._end(delivery, scene, "absent", receipt, Delivered(error.record, error.notes))
            ends.skipped.append(delivery)
            return health, took
        log.info("%s (%s) to %s failed: %s", *what, error.message)
        if decision.bury:
            buried = replace(decision.delivery, history=(*delivery.history, attempt))
            about = (*named(scene), scene.updated_at) if scene else (troubles.summary(delivery.notice),)
            ends.burials.append(_Burial(buried, error, *about))
        else:
            self._queue.back(decision.delivery, decision.due, attempt)
        return health, took

    def _store_health(self, pool: Pool, before: Health, health: Health, now: float) -> Health:
        """Stores a pool's health. A pool that must wait gives back its claims; one that is well again sends."""
        name = pool.destination.id
        if before.state != "well" and health.state == "well":
            log.info("%s accepts deliveries again", name)
            self._queue.make_due(now, name, only_failed=True)
        if before.state == "well" and health.state != "well":
            log.warning("%s gets nothing for now: %s", name, health.reason)
        if breaker.may_send(before, now) == "all" and breaker.may_send(health, now) != "all":
            for delivery in pool.take_back():
                self._queue.back(delivery, None)
        if health != before:
            control.put_state(self._queue.connection, name, asdict(health))
        return health

    def settle(self, ended: Sequence[Ended]) -> None:
        """Records deliveries that ended without being sent."""
        now = self._clock()
        with self._queue.transaction():
            for delivery, scene, how, reason in ended:
                self._end(delivery, scene, how, receipt_without_sending(delivery, scene, how, reason, now))
        self._update_dlq([], [delivery for delivery, *_ in ended])

    def _update_dlq(self, delivered: Iterable[Delivery], skipped: Iterable[Delivery]) -> None:
        """Writes dead letters, and resolves those of scenes that were delivered since or don't have to be."""
        self.bury()
        try:
            for ended, was_sent in ((delivered, True), (skipped, False)):
                for delivery in ended:
                    self._dlq.resolve(delivery.destination, delivery.scene_id, delivered=was_sent)
        except sqlite3.OperationalError as error:
            log.warning("dead letters can't be updated (%s): a redrive will find them delivered", error)

    @property
    def burying(self) -> set[int]:
        """Row ids of the deliveries whose dead letters wait to be written."""
        return {row_id_of(burial.job) for burial in self._burials}

    def bury(self, burials: Iterable[_Burial] = ()) -> None:
        """Writes these dead letters and those that wait.

        Raises:
            sqlite3.DatabaseError: a file is damaged.
        """
        self._burials += burials
        while self._burials:
            job, cause, title, path, updated_at = self._burials[0]
            try:
                dead_letter = transfer.bury(
                    self._queue,
                    self._dlq,
                    job,
                    cause,
                    now=self._clock(),
                    title=title,
                    path=path,
                    updated_at=updated_at,
                )
            except sqlite3.OperationalError as error:
                log.error("dead letters can't be written now (%s): the deliveries stay in the queue", error)
                return
            del self._burials[0]
            if dead_letter is not None:
                to = job.destination or "no destination yet"
                what = troubles.subject(job.scene_id)
                log.warning("dead letter %d: %s to %s: %s", dead_letter, what, to, cause)

    def bury_undeliverable(self, claimed: Sequence[Delivery | CorruptRow]) -> list[Delivery]:
        """Buries rows that can't be decoded and deliveries that kill the worker; returns the others."""
        deliveries = [job for job in claimed if isinstance(job, Delivery)]
        error = DeadlyDeliveryError(DeadlyDeliveryError.__doc__)
        self.bury(_Burial(delivery, error) for delivery in deliveries if delivery.deaths >= DEADLY)
        self.bury_corrupt(claimed)
        return [delivery for delivery in deliveries if delivery.deaths < DEADLY]

    def bury_corrupt(self, claimed: Iterable[Delivery | CorruptRow]) -> None:
        """Buries rows that can't be decoded."""
        self.bury(_Burial(row, ValueError(row.reason)) for row in claimed if isinstance(row, CorruptRow))

    def bury_removed(self, claimed: Iterable[Delivery | CorruptRow]) -> None:
        """Buries what waited for a destination that was removed long ago."""
        error = RemovedDestinationError(RemovedDestinationError.__doc__)
        self.bury(_Burial(job, error) for job in claimed)
