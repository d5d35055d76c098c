"""The loop: routes events, claims deliveries, has their scenes fetched, has them delivered, has outcomes recorded.

No policy is in it: poller.py, filters.py, retry.py and breaker.py decide. Only the loop's thread touches the
databases. One other thread asks Stash, each destination has threads of its own, and all report through one queue.
"""

from __future__ import annotations

import logging
import queue
import random
import sqlite3
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from functools import partial

from stash_courier.queue import control, transfer
from stash_courier.queue.dead_letters.dlq import DeadLetterQueue
from stash_courier.queue.deliveries.scene_queue import SceneQueue
from stash_courier.queue.failures import DeliveryFailed, Failure
from stash_courier.queue.history import ledger
from stash_courier.queue.jobs import CorruptRow, Delivery, row_id_of
from stash_courier.worker import filters, package
from stash_courier.worker.delivery import breaker
from stash_courier.worker.delivery.claims import FOREVER, Claims
from stash_courier.worker.delivery.completer import Completer, Ended
from stash_courier.worker.delivery.forgetting import Forgetting
from stash_courier.worker.delivery.pool import Job, Outcome, Pool, next_batch
from stash_courier.worker.delivery.registry import Registry
from stash_courier.worker.stash.client import FetchedScenes, PluginState, Stash, StashUnavailable, SweepPage
from stash_courier.worker.stash.covers import covers_of
from stash_courier.worker.stash.poller import Facts, Poller, Question
from stash_courier.worker.stash.sweep import Refusal, Sweep, ask
from stash_courier.worker.wakeup import Wakeup

CLOCK_JUMP_SECONDS = 5.0  # difference of wall and monotonic clock: more than this is no drift
RETRY_SECONDS = 1.0  # after a database could not be written
# While all threads have work, outcomes are collected for this long: each transaction costs a sync.
GATHER_SECONDS = 0.003

log = logging.getLogger(__name__)

Answer = FetchedScenes | PluginState | SweepPage | Refusal
Answered = tuple[list[Delivery], Future[Answer]]  # whose scenes were asked for, and what Stash answered


class Dispatcher:
    """Call ``step`` repeatedly; it never waits for a network.

    Args:
        scene_queue: open and recovered.
        stash: asked only from this dispatcher's own thread.
        wakeup: notified when another thread has something to report.
        clock: wall time, unix seconds.
        monotonic: monotonic seconds.
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
        make_pool = partial(Pool, finished=self._report)
        cover = covers_of(stash)
        self.delivering = package.ID  # of the copies of this plugin that Stash has loaded, the one that delivers
        self.registry = Registry(scene_queue, clock, cover, make_pool, monotonic=monotonic)
        self._completer = Completer(scene_queue, dlq, self.registry, clock, rng)
        self._claims = Claims(scene_queue, self.registry)
        self.poller = Poller(monotonic)
        self.forgetting = Forgetting(scene_queue, dlq, self.registry, self.poller)
        self._sweep = Sweep(scene_queue, dlq, clock, monotonic)
        self._stash_thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="stash")
        self._reports: queue.SimpleQueue[Outcome | Answered] = queue.SimpleQueue()
        self._unrecorded: list[Outcome] = []
        self._notified = False  # the loop was woken since it last collected reports
        self._interrupted = False  # a step ended halfway: claims may have been dropped
        self._offset = clock() - monotonic()
        self._asked_at = 0.0  # wall time of the last question to Stash
        self._slow = control.get(self._conn, control.STASH_SLOW)  # as it is stored

    def busy(self) -> bool:
        """Whether anything is in flight or waits to be recorded."""
        return bool(self._unrecorded) or any(pool.on_its_way for pool in self.registry.all_pools())

    def step(self, *, beginning: bool = True) -> float:
        """Does everything that can be done now.

        Args:
            beginning: False while the worker stops: what runs is finished, nothing new begins.

        Returns:
            Seconds until there is something to do, unless it is woken earlier.

        Raises:
            sqlite3.DatabaseError: a file is damaged. What was not recorded will be delivered again.
        """
        try:
            self._follow_clock()
            self._collect_reports()
            self._record()
            self._reconcile()
            self._take_over(self.registry.follow_store())
            if beginning:
                self._expedite()
                self._route()
                self._sweep.put()
                self._redrive()
                self._begin()
        except sqlite3.OperationalError as error:
            log.error("the queue can't be written now (%s): nothing is lost, retrying", error)
            self._interrupted = True
            return RETRY_SECONDS
        return self._idle_seconds()

    def put_back(self, *, everything: bool) -> None:
        """Puts back what was claimed and hasn't started; with ``everything`` also what hasn't ended."""
        for pool in self.registry.all_pools():
            if taken := pool.take_back(everything=everything):
                self._put_back(taken)

    def hold(self) -> None:
        """Keeps everything that hasn't started from starting, and puts it back."""
        for pool in self.registry.all_pools():
            pool.start(allowed=False)
        self.put_back(everything=False)

    def close(self) -> None:
        """Closes threads and connections; what still runs is not waited for."""
        self._stash_thread.shutdown(wait=False, cancel_futures=True)
        for pool in self.registry.all_pools():
            pool.close()
        self._stash.close()

    def _report(self, report: Outcome | Answered) -> None:
        self._reports.put(report)
        if not self._notified:
            self._notified = True
            self._wakeup.notify()

    def _collect_reports(self) -> None:
        pools = self.registry.pools.values()
        if not self._reports.empty() and any(pool.ready for pool in pools) and not any(p.starves for p in pools):
            time.sleep(GATHER_SECONDS)
        self._notified = False  # before looking, or a report in between would wake no one
        while not self._reports.empty():
            report = self._reports.get()
            if isinstance(report, Outcome):
                report.pool.end(report)
                self._unrecorded.append(report)
            else:
                self._take_answer(*report)
        self.registry.close_idle()

    def _take_answer(self, deliveries: list[Delivery], future: Future[Answer]) -> None:
        self.poller.ended()
        for pool in self.registry.all_pools():
            pool.fetching.clear()
        try:
            answer = future.result()
        except StashUnavailable as error:
            self._put_back(deliveries)
            self._stash_failed(error)
            return
        self._take_state(answer if isinstance(answer, PluginState) else answer.state)
        self._note_pace()
        if isinstance(answer, SweepPage | Refusal):
            self._sweep.hear(answer)
        elif not self.poller.enabled:
            self._put_back(deliveries)
        else:  # if none needs its scene, only the state was asked for
            self._judge(deliveries, answer if isinstance(answer, FetchedScenes) else FetchedScenes({}, {}, answer))

    def _take_state(self, state: PluginState) -> None:
        if not self.poller.available:
            log.info("Stash answers again")
            control.put(self._conn, control.STASH, None)
        self.delivering = package.delivering(state.copies, enabled=state.enabled)
        enabled = state.enabled and self.delivering == package.ID
        if self.poller.enabled != enabled:
            control.put(self._conn, control.DISABLED, None if state.enabled else True)
            log.info("enabled in Stash" if state.enabled else "disabled in Stash: nothing is delivered")
            if self.delivering != package.ID:
                log.warning("Stash Courier is installed twice: %s delivers, not this copy", self.delivering)
        self._take_over(self.registry.configure(state.settings))
        self.poller.answered(enabled=enabled)

    def _take_over(self, retired: Iterable[Pool]) -> None:
        """Puts back what the pools of former settings had claimed, and tells the sweep who is there now."""
        for pool in retired:
            self._put_back(pool.take_back())
        self._sweep.meet(self.registry.targets, certain=not self.registry.loaded.unsure)

    def _note_pace(self) -> None:
        """Stores for status how slow Stash is."""
        slow = self._stash.pace.slow
        if slow == self._slow:
            return
        control.put(self._conn, control.STASH_SLOW, slow)
        if slow is not None and self._slow is None:
            log.warning("Stash is slow: it takes %.1f s for each scene", slow)
        self._slow = slow

    def _stash_failed(self, error: StashUnavailable) -> None:
        if self.poller.available:
            log.warning("Stash can't be asked: %s", error)
        self.poller.failed()
        since = self._clock() - self.poller.gone_seconds
        control.put(self._conn, control.STASH, {"since": since, "reason": str(error)})
        self._sweep.stash_failed()
        for pool in self.registry.pools.values():
            self._put_back(pool.take_back_unfetched())

    def _put_back(self, deliveries: Iterable[Delivery]) -> None:
        with self._queue.transaction():
            for delivery in deliveries:
                self._queue.back(delivery, None)

    def _judge(self, deliveries: Iterable[Delivery], batch: FetchedScenes) -> None:
        """Filters deliveries: some are ready now, the others have ended."""
        ended: list[Ended] = []
        late: list[Delivery] = []  # Stash was not asked for their scenes yet, or didn't answer in time
        ready: dict[str, list[Job]] = {}
        for delivery in deliveries:
            pool = self.registry.pools.get(delivery.destination)
            probe = pool is not None and pool.probe == delivery.row_id
            if pool is None or not (probe or breaker.may_send(pool.health, self._clock()) == "all"):
                self._put_back([delivery])
                continue
            if delivery.scene_id in batch.broken:
                failed = DeliveryFailed(Failure.STASH, batch.broken[delivery.scene_id])
                self._unrecorded.append(Outcome(pool, delivery, None, probe, failed))
                continue
            if delivery.needs_scene and delivery.scene_id not in batch.scenes:
                late.append(delivery)
                continue
            scene = batch.scenes[delivery.scene_id] if delivery.needs_scene else None
            sent = ledger.find(self._conn, delivery.destination, delivery.scene_id)
            if self._sweep.was_first(delivery, scene, sent):
                verdict = filters.Verdict("superseded", delivery)
            else:
                verdict = filters.judge(delivery, scene, sent, pool.connection.shared)
            if verdict.kind == "deliver":
                record = sent.record if sent and sent.record else b""
                ready.setdefault(pool.destination.id, []).append(Job(verdict.delivery, scene, record, probe))
            else:
                ended.append((delivery, scene, verdict.kind, verdict.reason))
        if late:
            self._put_back(late)
        if ended:
            self._completer.settle(ended)
        for name, jobs in ready.items():
            self.registry.pools[name].make_ready(jobs)

    def _follow_clock(self) -> None:
        """Moves all due times along when the wall clock jumps."""
        offset = self._clock() - self._monotonic()
        jump = offset - self._offset
        if abs(jump) < CLOCK_JUMP_SECONDS:
            return
        log.warning("the clock jumped by %.0f s: due times are moved along", jump)
        with self._queue.transaction():
            self._queue.shift(jump)
            for name, pool in self.registry.pools.items():
                pool.health = breaker.within_reach(breaker.shifted(pool.health, jump), self._clock())
                control.put_state(self._conn, name, asdict(pool.health))
        self._offset = offset

    def _record(self) -> None:
        if self._unrecorded:
            self._completer.record(self._unrecorded)
            self._unrecorded = []
        elif self._completer.burying:
            self._completer.bury()

    def _reconcile(self) -> None:
        """After a step that ended halfway, puts back what is in flight in the file but not in this process."""
        if not self._interrupted:
            return
        held = {outcome.delivery.row_id for outcome in self._unrecorded} | self._completer.burying
        for pool in self.registry.all_pools():
            held |= {delivery.row_id for delivery in pool.claimed}
        lost = [job for job in self._queue.in_flight() if row_id_of(job) not in held]
        self._put_back(job for job in lost if isinstance(job, Delivery))
        self._completer.bury_corrupt(lost)
        self._interrupted = False

    def _expedite(self) -> None:
        """Makes everything due that a person wants sent now, after the current settings have been read."""
        if self.poller.enabled is None or control.get(self._conn, control.EXPEDITE) is None:
            return
        if not self.poller.request_state():
            return
        with self._queue.transaction():
            wanted = control.get(self._conn, control.EXPEDITE)  # a button may have added to it just now
            control.put(self._conn, control.EXPEDITE, None)
            for name, pool in self.registry.pools.items():
                if not isinstance(wanted, list) or name in wanted:
                    self._queue.make_due(self._clock(), name)
                    pool.health = breaker.expedited(pool.health, self._clock())

    def _route(self) -> None:
        """Turns events into deliveries, by settings that were read after the events."""
        if self.registry.loaded.unsure and not self.registry.targets:
            return  # what can't be read hides which destinations are set up
        while rows := self._queue.inbox_rows(up_to=self.poller.known_seq):
            for row in rows:
                if isinstance(row, CorruptRow):
                    self._dlq.add(row, ValueError(row.reason), 0)
            ending = self.registry.ending
            self._queue.route(rows, {**dict.fromkeys(ending, 0.0), **self.registry.targets}, ending)

    def _redrive(self) -> None:
        for dead_letter in self._dlq.asked():
            if transfer.redrive(self._queue, self._dlq, dead_letter, self._clock()):
                self.registry.note_removed(dead_letter.destination)

    def _begin(self) -> None:
        held = self._held()
        if held:
            self.hold()
        elif self.poller.ready:
            self._claim(self._clock())
        self._ask_stash()
        for pool in self.registry.pools.values():
            pool.start(allowed=not held)

    def _held(self) -> bool:
        """Whether the owner wants nothing delivered: the plugin is disabled in Stash, or paused."""
        return self.poller.enabled is False or control.get(self._conn, control.PAUSED) is not None

    def _claim(self, now: float) -> None:
        for pool, claimed in self._claims.take(now):
            pool.add(self._completer.bury_undeliverable(claimed))
        if not self._completer.burying:
            self._completer.bury_removed(self._claims.take_removed(now))

    def _pending(self) -> list[Question]:
        pools = self.registry.pools.values()
        facts = Facts(
            newest_seq=self._queue.newest_seq(),
            scenes_wanted=any(pool.wants_scenes() for pool in pools),
            troubled=self.registry.unusable or any(pool.health.state != "well" for pool in pools),
            sweep_in=self._sweep.due_in(self.registry.settings),
            renewal_in=self._stash.keep_alive_in(),
            new_address=not self.poller.available and self._stash.has_new_address(),
        )
        return self.poller.pending(facts)

    def _ask_stash(self) -> None:
        """Asks the first question that is due; one request runs at a time."""
        question = next((question for question in self._pending() if question.wait <= 0), None)
        if question is None:
            return
        deliveries: list[Delivery] = []
        request: Callable[[], Answer] = self._stash.plugin_state
        if question.topic == "scenes":
            deliveries = next_batch(self.registry.pools.values(), self._stash.pace.scenes)
            scene_ids = sorted({delivery.scene_id for delivery in deliveries if delivery.needs_scene})
            # Others need no scenes, but nothing is sent before Stash has said that the plugin is enabled.
            if scene_ids:
                request = partial(self._stash.scenes, scene_ids)
        elif question.topic == "sweep":
            request = partial(ask, self._stash, self._sweep.question())
        self.poller.asked(self._queue.newest_seq())
        self._asked_at = self._clock()
        future = self._stash_thread.submit(request)
        future.add_done_callback(lambda done: self._report((deliveries, done)))

    def _idle_seconds(self) -> float:
        if self._unrecorded or not self._reports.empty():
            return 0.0
        waits = [question.wait for question in self._pending()]
        if self._completer.burying:
            waits.append(RETRY_SECONDS)
        if self.poller.ready and not self._held():
            waits.append(self._claims.due_in(self._clock()))
        return max(0.0, min(waits, default=FOREVER))
