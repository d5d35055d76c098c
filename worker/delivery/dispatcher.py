"""The loop: routes events, claims deliveries, has scenes fetched and delivered, has the ends recorded.

No policy in it: filters.py, retry.py and breaker.py decide. One thread runs it and is the only one
that touches the databases; Stash is asked by one other thread, each destination has its own threads,
and all report back through one queue.
"""

from __future__ import annotations

import logging
import queue
import random
import sqlite3
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

from stash_courier.queue import control, ledger, transfer
from stash_courier.queue.dlq import DeadLetterQueue
from stash_courier.queue.failures import DeliveryFailed, Failure
from stash_courier.queue.jobs import CorruptRow, Delivery
from stash_courier.queue.scene_queue import SceneQueue
from stash_courier.worker import filters
from stash_courier.worker.delivery import breaker
from stash_courier.worker.delivery.claims import FETCH_SCENES, FOREVER, Claims, row_id
from stash_courier.worker.delivery.completer import Burial, Completer
from stash_courier.worker.delivery.pool import Outcome, Pool
from stash_courier.worker.delivery.registry import Registry
from stash_courier.worker.stash.client import FetchedScenes, PluginState, Stash, StashUnavailable, SweepPage
from stash_courier.worker.stash.covers import covers_of
from stash_courier.worker.stash.sweep import Refusal, Sweep, ask
from stash_courier.worker.wakeup import Wakeup

STATE_IDLE_SECONDS = 60.0  # how often Stash is asked for its settings while nothing happens
STATE_TROUBLED_SECONDS = (
    15.0  # the same while its owner may be mending something there: nobody tells that it is done
)
STASH_WAITS = (1.0, 2.0, 5.0, 10.0, 30.0)  # seconds between tries while Stash can't be asked
CLOCK_JUMP_SECONDS = 5.0  # wall against monotonic clock: more than this is no drift
DEADLY = 3  # deaths of the worker that make a delivery a dead letter
AGAIN_SECONDS = 1.0  # after a database could not be written

log = logging.getLogger(__name__)


class DeadlyDeliveryError(Exception):
    """The worker died while it delivered this alone, again and again."""


class RemovedDestinationError(Exception):
    """The settings have not named this destination for 30 days."""


_Asked = Future[FetchedScenes] | Future[PluginState] | Future[SweepPage | Refusal]


@dataclass(frozen=True, slots=True)
class _Answer:
    """What Stash said."""

    deliveries: tuple[Delivery, ...]  # whose scenes were asked for; none when it was asked for something else
    future: _Asked


class Dispatcher:
    """Call ``step`` again and again; it never waits for a network.

    Args:
        scene_queue: open and recovered.
        dlq: the dead letters.
        stash: asked only from this dispatcher's own thread.
        wakeup: notified when another thread has something to report.
        clock: wall time, unix seconds.
        monotonic: seconds that nobody sets.
        rng: numbers in [0, 1), for the jitter of retries.
    """

    def __init__(
        self,
        scene_queue: SceneQueue,
        dlq: DeadLetterQueue,
        stash: Stash,
        wakeup: Wakeup,
        *,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        rng: Callable[[], float] = random.random,
    ) -> None:
        self._queue = scene_queue
        self._conn = scene_queue.connection
        self._dlq = dlq
        self._stash = stash
        self._wakeup = wakeup
        self._clock = clock
        self._monotonic = monotonic
        self.registry = Registry(scene_queue, dlq, clock, covers_of(stash))
        self._completer = Completer(scene_queue, dlq, self.registry, clock, rng)
        self._claims = Claims(scene_queue, self.registry)
        self._sweep = Sweep(scene_queue, dlq, clock, monotonic)
        self._asker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="stash")
        self._asking = False
        self._reports: queue.SimpleQueue[Outcome | _Answer] = queue.SimpleQueue()
        self._unrecorded: list[Outcome] = []
        self._interrupted = False  # a step ended half-way: claims may have been dropped
        self._enabled: bool | None = None  # not known yet
        self._state_at = -FOREVER  # monotonic time at which the settings we have were asked for
        self._asked_at = 0.0  # monotonic time of the question that is, or was last, on its way
        self._wished_at: float | None = None  # monotonic time at which a person's wish was seen
        self._asked_seq = 0  # newest event when Stash was asked last
        self._known_seq = 0  # newest event that the settings we have are newer than
        self._stash_failures = 0  # in a row
        self._stash_until = 0.0  # monotonic time before which it isn't asked
        self._stash_failed_at = -FOREVER  # monotonic
        self._stash_gone_since: float | None = None  # monotonic
        self._offset = clock() - monotonic()

    # For the service

    @property
    def stash_gone_seconds(self) -> float:
        """Seconds since Stash last answered; 0 while it does."""
        since = self._stash_gone_since
        return 0.0 if since is None else self._monotonic() - since

    @property
    def knows_settings(self) -> bool:
        """Whether the settings that hold are Stash's of now."""
        return self._enabled is not None and self._stash_gone_since is None

    @property
    def asks_stash(self) -> bool:
        """Whether an answer of Stash is awaited."""
        return self._asking

    def busy(self) -> bool:
        """Whether anything is in flight or waits to be recorded."""
        return bool(self._unrecorded) or any(pool.on_its_way for pool in self.registry.everyone())

    def step(self, *, beginning: bool = True) -> float:
        """Does all that can be done now.

        Args:
            beginning: False while the worker stops: what runs is finished, nothing new begins.

        Returns:
            Seconds until there is something to do, if nobody wakes it before.

        Raises:
            sqlite3.DatabaseError: a file is damaged. What was not recorded will be delivered again.
        """
        try:
            self._follow_clock()
            self._hear()
            self._record()
            self._reconcile()
            if beginning:
                self._expedite()
                self._route()
                self._sweep.put()
                self._redrive()
                self._begin()
        except sqlite3.OperationalError as error:
            log.error("the queue can't be written now (%s): nothing is lost, it is tried again", error)
            self._interrupted = True
            return AGAIN_SECONDS
        return self._idle_seconds()

    def _begin(self) -> None:
        held = self._held()
        if held:
            self.put_back(everything=False)
        elif self._enabled and self._stash_gone_since is None:
            self._claim()
        self._ask_stash()
        for pool in self.registry.pools.values() if not held else ():
            pool.start_ready(self._report)

    def _held(self) -> bool:
        """Whether the owner wants nothing to be delivered: the plugin is disabled in Stash, or paused."""
        return self._enabled is False or control.get(self._conn, control.PAUSED) is not None

    def put_back(self, *, everything: bool) -> None:
        """Puts back what was claimed and hasn't begun; with ``everything`` also what hasn't ended."""
        for pool in self.registry.everyone():
            if given := pool.take_back(everything=everything):
                self._put_back(given)

    def close(self) -> None:
        """Lets go of threads and connections; what still runs is not waited for."""
        self._asker.shutdown(wait=False, cancel_futures=True)
        for pool in self.registry.everyone():
            pool.close()
        self._stash.close()

    # What the other threads report

    def _report(self, report: Outcome | _Answer) -> None:
        self._reports.put(report)
        self._wakeup.notify()

    def _hear(self) -> None:
        while not self._reports.empty():
            report = self._reports.get()
            if isinstance(report, Outcome):
                report.pool.running.pop(report.delivery.row_id, None)
                self._unrecorded.append(replace(report, delivery=self.registry.as_named_now(report.delivery)))
            else:
                self._asking = False
                self._take_answer(report)
        self.registry.let_go()

    def _take_answer(self, report: _Answer) -> None:
        for pool in self.registry.everyone():
            pool.fetching.clear()
        try:
            answer = report.future.result()
        except StashUnavailable as error:
            self._put_back(report.deliveries)
            self._stash_failed(error)
            return
        self._stash_answered(answer if isinstance(answer, PluginState) else answer.state)
        self._known_seq = self._asked_seq
        if isinstance(answer, SweepPage | Refusal):
            self._sweep.hear(answer)
        elif not self._enabled:
            self._put_back(report.deliveries)
        else:
            self._judge(report.deliveries, answer if isinstance(answer, FetchedScenes) else None)

    def _stash_answered(self, state: PluginState) -> None:
        if self._stash_gone_since is not None:
            log.info("Stash answers again")
            control.put(self._conn, control.STASH, None)
        self._stash_failures, self._stash_until, self._stash_gone_since = 0, 0.0, None
        self._stash_failed_at = -FOREVER
        self._state_at = self._asked_at
        if self._enabled != state.enabled:
            self._enabled = state.enabled
            control.put(self._conn, control.DISABLED, None if state.enabled else True)
            log.info(
                "the plugin is enabled in Stash" if state.enabled else "disabled in Stash: nothing is delivered"
            )
        for pool in self.registry.configure(state.settings):
            self._put_back(pool.take_back())
        self._sweep.meet(self.registry.targets)

    def _stash_failed(self, error: StashUnavailable) -> None:
        now = self._monotonic()
        if self._stash_gone_since is None:
            self._stash_gone_since = now
            log.warning("Stash can't be asked: %s", error)
        control.put(
            self._conn,
            control.STASH,
            {"since": self._clock() - (now - self._stash_gone_since), "reason": str(error)},
        )
        self._stash_failed_at = now
        self._stash_until = now + STASH_WAITS[min(self._stash_failures, len(STASH_WAITS) - 1)]
        self._stash_failures += 1
        self._sweep.stash_failed()
        for pool in self.registry.pools.values():
            self._put_back(pool.to_fetch)
            pool.to_fetch.clear()

    def _put_back(self, deliveries: Iterable[Delivery]) -> None:
        with self._queue.transaction():
            for delivery in deliveries:
                self._queue.back(delivery, None)

    def _judge(self, deliveries: Iterable[Delivery], batch: FetchedScenes | None) -> None:
        """Filters deliveries; what passes is ready, what doesn't has ended. Without a batch all are destroys."""
        ended = []
        homeless = []
        for delivery in deliveries:
            pool = self.registry.pools.get(delivery.destination)
            if pool is None:
                homeless.append(delivery)
                continue
            if batch is not None and delivery.scene_id in batch.broken:
                reason = batch.broken[delivery.scene_id]
                failed = DeliveryFailed(Failure.STASH, reason)
                self._unrecorded.append(Outcome(pool, delivery, None, pool.probe, failed))
                continue
            scene = None
            if batch is not None and delivery.event != "destroy":
                scene = batch.scenes.get(delivery.scene_id)
            known = ledger.find(self._conn, delivery.destination, delivery.scene_id)
            verdict = filters.judge(delivery, scene, known, self.registry.settings)
            if self._sweep.was_first(delivery, scene, known):
                verdict = filters.Verdict("superseded", delivery)
            if verdict.kind == "deliver":
                pool.ready.append((verdict.delivery, None if verdict.delivery.event == "destroy" else scene))
            else:
                ended.append((delivery, scene, verdict.kind))
        if ended:
            self._completer.settle(ended)
        self._put_back(homeless)

    # What is done in each step

    def _follow_clock(self) -> None:
        """A jump of the wall clock moves along what is due."""
        offset = self._clock() - self._monotonic()
        jump = offset - self._offset
        if abs(jump) < CLOCK_JUMP_SECONDS:
            return
        log.warning("the clock jumped by %.0f s: what waits is moved along", jump)
        with self._queue.transaction():
            self._queue.shift(jump)
            for name, pool in self.registry.pools.items():
                pool.health = replace(pool.health, until=pool.health.until + jump if pool.health.until else 0.0)
                control.put_state(self._conn, name, breaker.to_json(pool.health))
        self._offset = offset

    def _record(self) -> None:
        if self._unrecorded:
            self._completer.record(self._unrecorded)
            self._unrecorded = []
        elif self._completer.burials_wait:
            self._completer.bury(())

    def _reconcile(self) -> None:
        """After a step that ended half-way, takes up again what is in flight in the file and nowhere else."""
        if not self._interrupted:
            return
        held = {outcome.delivery.row_id for outcome in self._unrecorded} | self._completer.burying()
        for pool in self.registry.everyone():
            held |= pool.row_ids()
        lost = [job for job in self._queue.in_flight() if row_id(job) not in held]
        self._put_back(job for job in lost if isinstance(job, Delivery))
        self._completer.bury([Burial(job, ValueError(job.reason)) for job in lost if isinstance(job, CorruptRow)])
        self._interrupted = False

    def _expedite(self) -> None:
        """A person wants everything tried now, or some destinations: by the settings as they are now."""
        if self._enabled is None or (wish := control.get(self._conn, control.EXPEDITE)) is None:
            return
        if self._wished_at is None:
            self._wished_at, self._stash_until = self._monotonic(), 0.0
        if self._state_at < self._wished_at:
            return  # Stash is asked first
        self._wished_at = None
        with self._queue.transaction():
            control.put(self._conn, control.EXPEDITE, None)
            for name, pool in self.registry.pools.items():
                if not isinstance(wish, list) or name in wish:
                    self._queue.make_due(self._clock(), name)
                    pool.health = breaker.expedited(pool.health)

    def _route(self) -> None:
        """Moves events to deliveries, by settings read after them: the owner may just have changed them."""
        if self.registry.undecided:
            return
        while rows := self._queue.inbox_rows(up_to=self._known_seq):
            for row in rows:
                if isinstance(row, CorruptRow):
                    self._dlq.add(row, ValueError(row.reason), 0)
            self._queue.route(rows, self.registry.targets, self.registry.settings.delivery_settle_seconds)

    def _redrive(self) -> None:
        for dead_letter in self._dlq.asked():
            if transfer.redrive(self._queue, self._dlq, dead_letter, self._clock()):
                self.registry.meet_again(dead_letter.destination)

    def _claim(self) -> None:
        now = self._clock()
        for pool, claimed in self._claims.take(now):
            self._take(pool, claimed)
        if not self._completer.burials_wait and (removed := self._claims.take_removed(now)):
            error = RemovedDestinationError(RemovedDestinationError.__doc__)
            self._completer.bury([Burial(delivery, error) for delivery in removed])

    def _take(self, pool: Pool, claimed: Iterable[Delivery | CorruptRow]) -> None:
        burials = []
        for delivery in claimed:
            if isinstance(delivery, CorruptRow):
                burials.append(Burial(delivery, ValueError(delivery.reason)))
            elif delivery.deaths >= DEADLY:
                burials.append(Burial(delivery, DeadlyDeliveryError(DeadlyDeliveryError.__doc__)))
            else:
                pool.to_fetch.append(delivery)
        self._completer.bury(burials)

    def _ask_stash(self) -> None:
        """Has the next batch of scenes fetched, or the settings if they are needed; one request at a time."""
        now, newest = self._monotonic(), self._queue.newest_seq()
        # An event that came in since shows that Stash is there, and its hook has brought a session.
        until = self._stash_until if newest <= self._asked_seq else self._stash_failed_at + STASH_WAITS[0]
        if self._asking or now < until:
            return
        self._asked_seq = newest
        waiting = [pool for pool in self.registry.pools.values() if pool.to_fetch]
        if waiting:
            batch = self._next_batch(waiting)
            scene_ids = sorted({delivery.scene_id for delivery in batch if delivery.event != "destroy"})
            if scene_ids:
                self._await_answer(batch, self._asker.submit(self._stash.scenes, scene_ids))
            else:  # nothing is sent before Stash has said, after the claim, that the plugin is enabled
                self._await_answer(batch, self._asker.submit(self._stash.plugin_state))
            return
        keep_alive = self._stash.keep_alive_in()
        sweeps = self._enabled and newest <= self._known_seq and self._stash_gone_since is None
        if sweeps and self._sweep.due_in(self.registry.settings) <= 0:  # its answer brings the settings too
            self._await_answer((), self._asker.submit(ask, self._stash, self._sweep.question()))
        elif (
            newest > self._known_seq
            or now - self._state_at >= self._state_seconds()
            or self._wished_at is not None
            or self._stash_gone_since is not None
            or (keep_alive is not None and keep_alive <= 0)
        ):
            self._await_answer((), self._asker.submit(self._stash.plugin_state))

    def _state_seconds(self) -> float:
        ill = any(pool.health.state != "well" for pool in self.registry.pools.values())
        troubled = self._enabled is False or self.registry.unusable or ill
        return STATE_TROUBLED_SECONDS if troubled else STATE_IDLE_SECONDS

    def _await_answer(self, deliveries: tuple[Delivery, ...], future: _Asked) -> None:
        self._asking, self._asked_at = True, self._monotonic()
        future.add_done_callback(lambda done: self._report(_Answer(deliveries, done)))

    def _next_batch(self, pools: list[Pool]) -> tuple[Delivery, ...]:
        """Deliveries of at most FETCH_SCENES scenes, taken from the pools in turn."""
        batch: list[Delivery] = []
        scenes: set[int] = set()
        while pools:
            for pool in list(pools):
                if not pool.to_fetch or (len(scenes) >= FETCH_SCENES and pool.to_fetch[0].scene_id not in scenes):
                    pools.remove(pool)
                    continue
                delivery = pool.to_fetch.popleft()
                pool.fetching[delivery.row_id] = delivery
                scenes.add(delivery.scene_id)
                batch.append(delivery)
        return tuple(batch)

    def _idle_seconds(self) -> float:
        """How long nothing will be due."""
        if self._unrecorded or not self._reports.empty():
            return 0.0
        now, wall = self._monotonic(), self._clock()
        waits = [self._state_seconds()]
        if self._completer.burials_wait:
            waits.append(AGAIN_SECONDS)
        if not self._asking:
            if self._stash_gone_since is not None:
                waits.append(self._stash_until - now)
            elif (keep_alive := self._stash.keep_alive_in()) is not None:
                waits.append(keep_alive)
            if self._enabled and self._stash_gone_since is None:
                waits.append(self._sweep.due_in(self.registry.settings))
        if self._enabled and self._stash_gone_since is None and not self._held():
            waits.append(self._claims.due_in(wall))
        return max(0.0, min(waits))
