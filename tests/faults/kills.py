"""Hooks and workers that are killed at random, with a stable receiver and with one that comes and goes."""

from __future__ import annotations

import random
import threading
import time
from pathlib import Path

from tests.faults.row import Mutation, Report, Row
from tests.faults.testbed import Hook, Testbed
from tests.standin.receivers import Reply

IN_FLIGHT = 4  # parallel deliveries per destination, by default
WAVE_SECONDS = 0.45  # at most between two kills of a worker: some die at their start, some during deliveries
BUSY_SHARE = 0.2  # share of the requests that the unstable receiver answers with 503


def run_kills(folder: Path, full: bool) -> Report:
    """SIGKILL to hooks and workers at random moments."""
    kills = 200 if full else 24
    rng = random.Random(20260101)
    report = Report()
    hooks_killed = workers_killed = scene = 0
    with Testbed(folder, kills * 8) as testbed:
        testbed.answer = lambda _: Reply(delay=0.02)
        testbed.hooks([scene := scene + 1])
        while hooks_killed + workers_killed < kills:
            scene += 4
            hooks = [testbed.hook(n) for n in range(scene - 3, scene + 1)]
            if rng.random() < 0.5:
                victim = rng.choice(hooks)
                time.sleep(rng.uniform(0.0, 0.12))
                victim.process.kill()
                hooks_killed += 1
            else:
                time.sleep(rng.uniform(0.0, WAVE_SECONDS))
                workers_killed += testbed.kill_worker()
            for hook in hooks:
                hook.end()
            scene = scene if scene + 8 < kills * 8 else 0
        testbed.drain(120.0)
        testbed.check_integrity(report)
        testbed.settle(report)
    report.done = f"{hooks_killed} hooks and {workers_killed} workers killed with SIGKILL"
    report.nothing_lost()
    most = workers_killed * IN_FLIGHT
    report.expect(report.duplicated <= most, f"{report.duplicated} duplicates, but the kills explain only {most}")
    return report


def run_fire(folder: Path, full: bool) -> Report:
    """Many hooks in parallel while the worker is killed repeatedly and the receiver comes and goes."""
    hooks, at_once = (500, 20) if full else (150, 20)
    rng = random.Random(20260102)
    report = Report()
    ended = threading.Event()
    kills = flaps = 0
    with Testbed(folder, hooks) as testbed:
        testbed.answer = lambda _: Reply(503 if rng.random() < BUSY_SHARE else 200)

        def flap() -> None:
            nonlocal flaps
            while not ended.wait(rng.uniform(0.1, 0.6)):
                testbed.receiver.down()
                ended.wait(rng.uniform(0.1, 0.4))
                testbed.receiver.up()
                flaps += 1

        def kill() -> None:
            nonlocal kills
            while not ended.wait(rng.uniform(0.05, 0.4)):
                kills += testbed.kill_worker()

        others = [threading.Thread(target=flap), threading.Thread(target=kill)]
        for thread in others:
            thread.start()
        running: list[Hook] = []
        try:
            for scene in range(1, hooks + 1):
                running.append(testbed.hook(scene))
                if len(running) == at_once:
                    running.pop(0).must_promise()
            for hook in running:
                hook.must_promise()
        finally:
            ended.set()
            for thread in others:
                thread.join()
        testbed.drain(120.0, expedite=True)
        testbed.check_integrity(report)
        testbed.settle(report)
    report.done = f"{hooks} hooks, {at_once} in parallel; worker killed {kills} times, receiver down {flaps} times"
    report.nothing_lost()
    report.expect(report.promised == hooks, f"{hooks - report.promised} hooks promised nothing")
    report.expect(kills > 0 and flaps > 0, "no worker was killed, or the receiver was never down")
    return report


ROWS = [
    Row(
        "kills",
        run_kills,
        [
            [
                Mutation(
                    "queue/deliveries/scene_queue.py",
                    "for delivery in self.in_flight():",
                    "for delivery in self.in_flight()[:0]:",
                )
            ],
            [
                Mutation(
                    "worker/delivery/dispatcher.py",
                    "ended: list[Ended] = []\n",
                    "self._completer.settle([(d, None, 'superseded', '') for d in deliveries]); ended = []\n",
                )
            ],
        ],
    ),
    Row(
        "fire",
        run_fire,
        [
            [
                Mutation(
                    "worker/delivery/completer.py",
                    "self._queue.back(decision.delivery, decision.due, attempt)",
                    "self._queue.done(decision.delivery)",
                )
            ]
        ],
    ),
]
