"""Deliveries that end without an answer: they kill the worker, can't be decoded, or the worker is stopped."""

from __future__ import annotations

import random
import signal
import time
from contextlib import closing
from pathlib import Path

from stash_courier.queue import schema
from stash_courier.queue.dlq import DeadLetterQueue
from stash_courier.worker import process
from tests.faults.field import ALL, Field
from tests.faults.row import Mutation, Report, Row, copy_checkout
from tests.standin.receivers import Reply
from tests.support.harness import wait_until

POISON = 1
NEXT = 2  # a scene that is edited before each start of a worker
MOST_DEATHS = 6  # one beside others, three alone, and one to spare
NEXT_SECONDS = 1.0  # after each start of a worker, for a job that waits beside the poison
GRACE_SECONDS = 8.0  # as the worker has it
# A destination like any other, in a copy of the plugin: it dies of one scene, as of a bug in a C library.
DESTINATION = """
import os, signal
from stash_courier.worker.destinations import webhook

KIND = "poisoned"


class Poisoned(webhook.Webhook):
    def deliver(self, delivery, scene, *more):
        if delivery.scene_id == {poison}:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().deliver(delivery, scene, *more)


def configure(raw, settings, _cover=None):
    made, problems = webhook.configure(dict(raw, webhook_url=raw.get("poisoned_url", "")), settings)
    for destination in made:
        destination.__class__ = Poisoned
    return made, problems
"""


def run_poison(folder: Path, full: bool) -> Report:
    """A scene whose delivery kills the worker, among slow neighbours, and rows that can't be decoded."""
    neighbours = 30 if full else 8
    report = Report()
    root = copy_checkout(folder / "plugin")
    (root / "worker" / "destinations" / "poisoned.py").write_text(DESTINATION.format(poison=POISON))
    deaths, roused = 0, 0.0
    with Field(folder / "config", neighbours + 3, root=root, settings={"webhook_url": ""}) as field:
        field.courier.configure(poisoned_url=f"{field.receiver.url}hook")
        field.answer = lambda _: Reply(delay=0.3)
        for scene in (POISON, *range(3, neighbours + 3)):
            field.hook(scene, STASH_COURIER_WORKER="off").must_promise()
        with field.queue() as queue:
            queue.connection.execute(schema.INSERT.format(table_name=schema.INBOX), (b"\x00rubbish", 0.0))
        give_up = time.monotonic() + 60.0
        while field.waiting() and deaths <= MOST_DEATHS and time.monotonic() < give_up:
            if not process.running(str(field.data)):
                deaths += 1
                field.hook(NEXT, STASH_COURIER_WORKER="off").must_promise()
                field.rouse()
                roused = time.time()
            time.sleep(0.05)
        field.settle(report)
        dead = field.dead()
        with closing(DeadLetterQueue(field.data)) as dead_letters:
            whole = [dead_letters.get_by_id(dead_letter.id) for dead_letter in dead_letters.get_recent(ALL)]
        next_at = max((at for at, scene, *_ in field.taken if scene == NEXT), default=0.0)
    deaths -= 1  # the first was no death
    report.done = f"a scene that kills the worker among {neighbours} slow ones, a row of rubbish; {deaths} deaths"
    report.nothing_lost()
    report.expect(
        dead.get(POISON) == "DeadlyDeliveryError", f"the poison is no dead letter of its own kind: {dead}"
    )
    report.expect(set(dead) == {POISON, 0}, f"innocents were buried, or the rubbish was not: {dead}")
    raw = [
        dead_letter.job and dead_letter.job.get("raw")
        for dead_letter in whole
        if dead_letter and dead_letter.scene_id == 0
    ]
    report.expect(raw == [b"\x00rubbish"], f"the rubbish's bytes are not kept: {raw}")
    late = next_at - roused
    report.expect(0 < late < NEXT_SECONDS + 0.3, f"the job beside the poison came {late:.1f} s after a start")
    report.expect(3 <= deaths < MOST_DEATHS, f"{deaths} deaths instead of three or four")
    return report


def run_sigterm(folder: Path, full: bool) -> Report:
    """SIGTERM while deliveries run; in full then once while the receiver hangs, which test_worker.py shows too."""
    rounds = 20 if full else 3
    rng = random.Random(20260104)
    report = Report()
    longest = 0.0
    with Field(folder, 4 * rounds + 2, settings={"delivery_timeout_seconds": 60}) as field:
        field.answer = lambda _: Reply(delay=0.6)
        for number in range(rounds):
            before = len(field.receiver.received)
            field.hooks(range(4 * number + 1, 4 * number + 5))
            field.receiver.wait_for(before + 1)
            time.sleep(rng.uniform(0.0, 0.4))
            longest = max(longest, _stop(field))
        field.drain()
        hung = _stop_hanging(field, report, 4 * rounds + 1) if full else 0.0
        failed = field.courier.log().count(" failed: ")
        field.settle(report)
    report.done = f"{rounds} × SIGTERM mid-delivery, ended within {longest:.1f} s"
    report.done += f"; while the receiver hung within {hung:.1f} s" if full else ""
    report.nothing_lost()
    report.expect(report.duplicated == 0, f"{report.duplicated} deliveries were sent twice")
    report.expect(max(longest, hung) < GRACE_SECONDS + 4.0, "the worker didn't end within its grace")
    report.expect(failed == 0, f"{failed} deliveries count as failed")
    return report


def _stop_hanging(field: Field, report: Report, scene: int) -> float:
    field.answer = lambda _: Reply(500, delay=30.0)  # an answer that nobody ever gets
    began = len(field.receiver.received)
    field.hooks([scene])
    field.receiver.wait_for(began + 1)
    hung = _stop(field)
    with field.queue() as queue:
        counted = queue.connection.execute(
            f"SELECT counted_attempts, attempts FROM {schema.DELIVERIES}"
        ).fetchall()
    report.expect(counted == [(0, 0)], f"the delivery that was stopped counts as failed: {counted}")
    field.receiver.down()  # lets go of the request that hangs
    field.answer = lambda _: Reply()
    field.receiver.up()
    field.drain(expedite=True)
    return hung


def _stop(field: Field) -> float:
    pid = field.worker()
    began = time.monotonic()
    field.signal(pid, signal.SIGTERM)
    wait_until(lambda: pid not in field.workers(), 30.0)
    return time.monotonic() - began


ROWS = [
    Row(
        "poison",
        run_poison,
        [
            [Mutation("worker/delivery/completer.py", "DEADLY = 3 ", "DEADLY = 10**6 ")],
            [  # what was in flight isn't sent one by one, and each death is counted for all
                Mutation(
                    "worker/delivery/claims.py", "        if self._watching():\n            return None\n", ""
                ),
                Mutation("queue/statements.py", "deaths + (suspect = 2 OR ?)", "deaths + (1 OR ?)"),
            ],
        ],
    ),
    Row(
        "sigterm",
        run_sigterm,
        [[Mutation("worker/runtime.py", "while self.dispatcher.busy() and time", "while False and time")]],
    ),
]
