"""Hooks that open the queue at the same time: in a missing folder, and while a delivery is in flight."""

from __future__ import annotations

import threading
from pathlib import Path

from tests.faults.row import Mutation, Report, Row
from tests.faults.testbed import QUEUED, Testbed
from tests.standin.receivers import Reply
from tests.support import durable
from tests.support.harness import wait_until

TOGETHER = 6


def run_first_open(folder: Path, full: bool) -> Report:
    """Six hooks in parallel in a folder that doesn't exist yet."""
    rounds = 100 if full else 8
    report = Report()
    for number in range(rounds):
        data = folder / f"{number}" / "stash_courier"
        hooks = [durable.start_hook(data, durable.change(scene)) for scene in range(1, TOGETHER + 1)]
        for hook in hooks:
            out, err = hook.communicate(timeout=60)
            report.expect((hook.returncode, out, err) == (0, QUEUED, b""), f"round {number}: {out!r} {err!r}")
            report.promised += hook.returncode == 0
        kept = [*durable.inbox(data), *durable.spooled(data)]
        report.delivered += len({event["scene"] for event in kept})
        report.duplicated += len(kept) - len({event["scene"] for event in kept})
    report.done = f"{TOGETHER} processes opened a missing folder in parallel, {rounds} times (delivered: stored)"
    report.nothing_lost()
    report.expect(report.duplicated == 0, "an event was stored twice")
    return report


def run_in_flight(folder: Path, full: bool) -> Report:
    """Hooks open the queue while a delivery is in flight, which must not be sent twice."""
    hooks = 100 if full else 12
    report = Report()
    go_on = threading.Event()
    with Testbed(folder, hooks + 1, settings={"worker_timeout_seconds": 120}) as testbed:

        def answer(received: object) -> Reply:
            if received.json()["data"]["id"] == "1":  # type: ignore[attr-defined]
                go_on.wait(100.0)
            return Reply()

        def firsts() -> int:
            return sum(received.json()["data"]["id"] == "1" for received in testbed.receiver.received)

        testbed.answer = answer
        try:
            testbed.hooks([1])
            wait_until(lambda: len(testbed.receiver.received) == 1, 15.0)
            testbed.hooks(range(2, hooks + 2))
            # Either all arrive, or the first is sent again, which is the failure that this row looks for.
            wait_until(lambda: len(testbed.taken) >= hooks or firsts() > 1, 60.0)
        finally:
            go_on.set()
        testbed.drain()
        testbed.settle(report)
    report.done = f"{hooks} hooks opened the queue while a delivery was in flight"
    report.nothing_lost()
    report.expect(report.duplicated == 0, f"{report.duplicated} deliveries were sent twice")
    return report


ROWS = [
    Row(
        "first_open",
        run_first_open,
        [
            [  # the creation of the file is not protected by the gate
                Mutation(
                    "queue/inbox/store.py", "taken(gate_path, shared=not missing)", "taken(gate_path, shared=True)"
                ),
                Mutation("queue/inbox/store.py", "if not exists and missing:", "if missing:"),
                Mutation("queue/inbox/store.py", 'draft = path + ".new"', 'draft = f"{path}.{os.getpid()}"'),
            ]
        ],
        cheap=True,
    ),
    Row(
        "in_flight",
        run_in_flight,
        [
            [
                Mutation(
                    "queue/inbox/store.py",
                    "            return int(conn.execute(schema.INSERT",
                    '            conn.execute(f"UPDATE {schema.DELIVERIES} SET status = 0 WHERE status = 2")\n'
                    "            return int(conn.execute(schema.INSERT",
                )
            ]
        ],
        cheap=True,
    ),
]
