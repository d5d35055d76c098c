"""Deliveries without an outcome: they kill the worker, can't be decoded, or the worker is stopped meanwhile."""

from __future__ import annotations

import random
import re
import signal
import time
from contextlib import closing
from pathlib import Path

from stash_courier.queue.dead_letters.dlq import DeadLetterQueue
from stash_courier.queue.inbox import schema
from stash_courier.worker import process
from stash_courier.worker.connections.model import Entry
from tests.faults.row import Mutation, Report, Row, add_destination, copy_checkout
from tests.faults.testbed import ALL, Testbed
from tests.standin.receivers import Reply
from tests.support.harness import wait_until

POISON = (1, 12, 25)  # in the reduced size only the first one
NEXT = 2  # a scene that is edited before each start of a worker
NEXT_SECONDS = 10.0  # from the worker's line in its log until it delivers a job that waits beside the deadly one
NEIGHBOR_SECONDS = 0.1  # for each of the slow deliveries
GRACE_SECONDS = 8.0  # the worker's GRACE_SECONDS
# A destination in a copy of the plugin that dies at one scene, as from a bug in a C library.
DESTINATION = """
import os, signal, time
from stash_courier.worker.destinations.webhook import destination as webhook


class Poisoned(webhook.Webhook):
    def deliver(self, delivery, scene, *more):
        if delivery.scene_id in {poison}:
            time.sleep(0.2)  # others are being sent meanwhile
            os.kill(os.getpid(), signal.SIGKILL)
        return super().deliver(delivery, scene, *more)


def make(connection, _cover, _clock):
    return Poisoned(connection)
"""


def run_poison(folder: Path, full: bool) -> Report:
    """A scene whose delivery kills the worker, among slow deliveries, and a row that can't be decoded."""
    neighbors = 30 if full else 8
    poison = POISON if full else POISON[:1]
    expected = 1 + 2 * len(poison)  # the first one counts for all of them
    report = Report()
    root = copy_checkout(folder / "plugin")
    add_destination(root, "poisoned", DESTINATION.format(poison=poison))
    deaths = 0
    with Testbed(folder / "config", neighbors + 3, root=root, settings={"webhook_url": ""}) as testbed:
        testbed.courier.connect(
            Entry("poisoned", "Poisoned", "poisoned", values={"url": f"{testbed.receiver.url}hook"})
        )
        testbed.answer = lambda _: Reply(delay=NEIGHBOR_SECONDS)
        for scene in (1, *range(3, neighbors + 3)):
            testbed.hook(scene, STASH_COURIER_WORKER="off").must_promise()
        with testbed.queue() as queue:
            queue.connection.execute(schema.INSERT, (b"\x00rubbish", 0.0))
        give_up = time.monotonic() + 60.0
        while testbed.waiting() and deaths <= expected + 1 and time.monotonic() < give_up:
            if not process.running(str(testbed.data)):
                deaths += 1
                testbed.hook(NEXT, STASH_COURIER_WORKER="off").must_promise()
                testbed.rouse()
            time.sleep(0.05)
        testbed.settle(report)
        dead = testbed.dead()
        with closing(DeadLetterQueue(testbed.data)) as dead_letters:
            whole = [dead_letters.get_by_id(dead_letter.id) for dead_letter in dead_letters.get_recent(ALL)]
        next_at = max((at for at, scene, *_ in testbed.taken if scene == NEXT), default=0.0)
        started = re.findall(r"^(\S+ \S+),(\d+) INFO worker \S+ starts", testbed.courier.log(), re.MULTILINE)
    deaths -= 1  # the first start followed no death
    report.done = (
        f"{len(poison)} deadly scenes among {neighbors} slow ones and an undecodable row; {deaths} deaths"
    )
    report.nothing_lost()
    for scene in poison:
        report.expect(dead.get(scene) == "DeadlyDeliveryError", f"scene {scene} is no DeadlyDeliveryError: {dead}")
    report.expect(
        set(dead) == {*poison, 0}, f"expected dead letters for {poison} and the undecodable row only: {dead}"
    )
    raw = [
        dead_letter.job and dead_letter.job.get("raw")
        for dead_letter in whole
        if dead_letter and dead_letter.scene_id == 0
    ]
    report.expect(raw == [b"\x00rubbish"], f"the bytes of the undecodable row were not kept: {raw}")
    at, milliseconds = started[-1]
    late = next_at - time.mktime(time.strptime(at, "%Y-%m-%d %H:%M:%S")) - int(milliseconds) / 1000
    report.expect(
        0 < late < NEXT_SECONDS, f"the job beside the deadly one was delivered {late:.2f} s after a start"
    )
    report.expect(deaths == expected, f"{deaths} deaths instead of {expected}")
    return report


def run_sigterm(folder: Path, full: bool) -> Report:
    """SIGTERM during deliveries; in full also once while the receiver hangs."""
    rounds = 20 if full else 3
    rng = random.Random(20260104)
    report = Report()
    longest = 0.0
    with Testbed(folder, 4 * rounds + 2, settings={"worker_timeout_seconds": 60}) as testbed:
        testbed.answer = lambda _: Reply(delay=0.6)
        for number in range(rounds):
            before = len(testbed.receiver.received)
            testbed.hooks(range(4 * number + 1, 4 * number + 5))
            testbed.receiver.wait_for(before + 1)
            time.sleep(rng.uniform(0.0, 0.4))
            longest = max(longest, _stop(testbed))
        testbed.drain()
        hung = _stop_hanging(testbed, report, 4 * rounds + 1) if full else 0.0
        failed = testbed.courier.log().count(" failed: ")
        testbed.settle(report)
    report.done = f"{rounds} × SIGTERM during deliveries, the worker ended within {longest:.1f} s"
    report.done += f", and within {hung:.1f} s while the receiver hung" if full else ""
    report.nothing_lost()
    report.expect(report.duplicated == 0, f"{report.duplicated} deliveries were sent twice")
    report.expect(max(longest, hung) < GRACE_SECONDS + 4.0, "the worker didn't end within its grace period")
    report.expect(failed == 0, f"{failed} deliveries count as failed")
    return report


def _stop_hanging(testbed: Testbed, report: Report, scene: int) -> float:
    testbed.answer = lambda _: Reply(500, delay=30.0)  # the worker ends before this answer
    began = len(testbed.receiver.received)
    testbed.hooks([scene])
    testbed.receiver.wait_for(began + 1)
    hung = _stop(testbed)
    with testbed.queue() as queue:
        counted = queue.connection.execute(
            f"SELECT counted_attempts, attempts FROM {schema.DELIVERIES}"
        ).fetchall()
    report.expect(counted == [(0, 0)], f"the interrupted delivery counts as failed: {counted}")
    testbed.receiver.down()  # ends the request that hangs
    testbed.answer = lambda _: Reply()
    testbed.receiver.up()
    testbed.drain(expedite=True)
    return hung


def _stop(testbed: Testbed) -> float:
    pid = testbed.worker()
    began = time.monotonic()
    testbed.signal(pid, signal.SIGTERM)
    wait_until(lambda: pid not in testbed.workers(), 30.0)
    return time.monotonic() - began


ROWS = [
    Row(
        "poison",
        run_poison,
        [
            [Mutation("worker/delivery/completer.py", "DEADLY = 3 ", "DEADLY = 10**6 ")],
            [  # all that were in flight at a death are sent together again
                Mutation(
                    "worker/delivery/claims.py",
                    "claimed = self._queue.claim_counted(name)\n",
                    "claimed = self._queue.claim_counted(name, 99)\n",
                ),
            ],
        ],
    ),
    Row(
        "sigterm",
        run_sigterm,
        [[Mutation("worker/runtime.py", "while self.dispatcher.busy() and time", "while False and time")]],
    ),
]
