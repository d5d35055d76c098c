"""Who waits for whom: after a SIGKILL, beside scenes that are refused, behind bulk, and after a 429."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from stash_courier.queue.inbox import schema, store
from stash_courier.queue.jobs import BULK
from tests.faults.row import Mutation, Report, Row
from tests.faults.testbed import Testbed
from tests.standin.receivers import Received, Receiver, Reply
from tests.support.harness import wait_until

SLOW_SECONDS = 1.0  # what the slow receiver takes for a request
EDIT_SECONDS = 5.0  # until an edit of a scene that was in flight at a SIGKILL arrives
HEALTHY_SECONDS = 10.0  # until an edit arrives beside scenes that are refused
BEHIND_SECONDS = 3.0  # until an edit starts at a slow receiver: one request, its fetch, and a busy machine
POISONED = range(1, 11)


class Arrivals:
    """When a receiver got each scene's title first; it answers after ``seconds``."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.at: dict[tuple[int, str], float] = {}

    def __call__(self, received: Received) -> Reply:
        data = received.json()["data"]
        self.at.setdefault((int(data["id"]), str(data.get("title", ""))), time.monotonic())
        return Reply(delay=self.seconds)

    def wait(self, scene: int, number: int, timeout: float) -> float:
        """Seconds from now until this edit of a scene arrives; infinity if it doesn't within ``timeout``."""
        began = time.monotonic()
        try:
            wait_until(lambda: (scene, f"Edit {number}") in self.at, timeout)
        except TimeoutError:
            return float("inf")
        return self.at[scene, f"Edit {number}"] - began


def _exceeds(arrived: Mapping[tuple[int, str], float], count: int) -> bool:
    return len(arrived) > count


def put_bulk(testbed: Testbed, scenes: int) -> None:
    """Queues scenes as "Send all scenes" does."""
    events = ({"scene": n, "event": "update", "changed": [], "at": time.time()} for n in range(1, scenes + 1))
    testbed.data.mkdir(exist_ok=True)
    with testbed.queue() as queue:
        queue.put_many(store.encode({**event, "priority": BULK}) for event in events)


@contextmanager
def two_receivers(folder: Path, scenes: int) -> Iterator[tuple[Testbed, Arrivals, Arrivals]]:
    """A slow receiver and an instant one, with much to send to both."""
    slow, instant = Arrivals(SLOW_SECONDS), Arrivals()
    with Receiver(slow) as receiver, Testbed(folder, scenes) as testbed:
        testbed.receiver.answer = instant
        testbed.courier.configure(webhook_url=f"{receiver.url} {testbed.receiver.url}hook")
        yield testbed, slow, instant


def run_kill_in_bulk(folder: Path, full: bool) -> Report:
    """SIGKILL while bulk goes to a slow and an instant receiver; then edits of scenes that were in flight."""
    report = Report()
    kills, waited = (3 if full else 1), []
    with two_receivers(folder, 2000) as (testbed, _, instant):
        put_bulk(testbed, 2000)
        testbed.rouse()
        for _ in range(kills):
            more = len(instant.at) + 20
            wait_until(partial(_exceeds, instant.at, more), 30.0)
            testbed.kill_worker()
            with testbed.queue() as queue:
                found = queue.connection.execute(f"SELECT scene_id FROM {schema.DELIVERIES} WHERE status = 2")
                in_flight = sorted(scene for (scene,) in found)
            for scene in in_flight[-3:]:
                testbed.hook(scene).must_promise()
                waited.append(instant.wait(scene, testbed.promised[scene], 20.0))
    report.done = f"{kills} × SIGKILL with 2,000 scenes in bulk; edits waited {max(waited):.1f} s at most"
    report.promised = report.delivered = len(waited)
    report.expect(max(waited) < EDIT_SECONDS, f"an edit of a scene in flight waited {max(waited):.1f} s")
    return report


def run_poisoned(folder: Path, full: bool) -> Report:
    """Ten scenes that the receiver answers with 500, and edits of others beside them."""
    report = Report()
    edits, waited = (5 if full else 2), []
    with Testbed(folder, 30, settings={"worker_attempts": 3}) as testbed:
        arrivals = Arrivals()

        def answer(received: Received) -> Reply:
            return Reply(500) if int(received.json()["data"]["id"]) in POISONED else arrivals(received)

        testbed.receiver.answer = answer
        testbed.hooks(POISONED)
        testbed.receiver.wait_for(3)
        for scene in range(20, 20 + edits):
            testbed.hook(scene).must_promise()
            waited.append(arrivals.wait(scene, 1, 60.0))
        testbed.drain(60.0)
        dead = testbed.dead()
    report.done = f"10 scenes answered with 500; {edits} edits beside them waited {max(waited):.1f} s at most"
    report.promised, report.dead = len(POISONED) + edits, len(dead)
    report.delivered = sum(seconds < float("inf") for seconds in waited)
    report.nothing_lost()
    report.expect(max(waited) < HEALTHY_SECONDS, f"a healthy edit waited {max(waited):.1f} s")
    report.expect(set(dead) == set(POISONED), f"dead letters: {sorted(dead)}")
    return report


def run_edit_behind_bulk(folder: Path, full: bool) -> Report:
    """Edits while bulk goes to a slow receiver: each starts with the next free request."""
    report = Report()
    edits, waited = (6 if full else 3), []
    with two_receivers(folder, 1000) as (testbed, slow, _):
        put_bulk(testbed, 1000)
        testbed.rouse()
        wait_until(lambda: len(slow.at) > 4, 30.0)
        for scene in range(900, 900 + edits):
            testbed.hook(scene).must_promise()
            waited.append(slow.wait(scene, 1, 10.0))
    report.done = f"{edits} edits behind 1,000 scenes at 1 s each started after {max(waited):.1f} s at most"
    report.promised = report.delivered = edits
    report.expect(max(waited) < BEHIND_SECONDS, f"an edit started after {max(waited):.1f} s")
    return report


def run_retry_after(folder: Path, full: bool) -> Report:
    """A receiver that takes 40 requests, then answers one with 429 and Retry-After: it is left alone."""
    seconds = 30 if full else 4
    report = Report()
    lock, began, asked = threading.Lock(), list[float](), list[float]()

    def answer(_: Received) -> Reply:
        with lock:
            began.append(time.monotonic())
            refused = len(began) == 40
        if refused:
            asked.append(time.monotonic())
            return Reply(429, headers={"Retry-After": str(seconds)})
        return Reply(delay=0.05)

    with Testbed(folder, 200) as testbed:
        testbed.receiver.answer = answer
        put_bulk(testbed, 200)
        testbed.rouse()
        wait_until(lambda: bool(asked), 30.0)
        testbed.hook(150).must_promise()
        time.sleep(seconds)  # nothing moves meanwhile, which drain takes for the end
        testbed.drain(30.0)
        waiting = testbed.waiting()
    # Requests whose bytes were on the way when the 429 was sent may still come in.
    early = sum(asked[0] + 0.3 < at < asked[0] + seconds - 0.3 for at in began)
    report.done = f"429 with Retry-After {seconds} s; requests before its end: {early}, in all: {len(began)}"
    report.promised, report.delivered = 200, 200 - waiting
    report.nothing_lost()
    report.expect(early == 0, f"{early} requests started before the time that the receiver named")
    return report


ROWS = [
    Row(
        "kill_in_bulk",
        run_kill_in_bulk,
        [
            [  # an edit of what was claimed waits for all of that, one after another in the whole process
                Mutation("queue/deliveries/statements.py", "deaths = deaths * (:priority > 0)", "deaths = deaths"),
                Mutation(
                    "queue/deliveries/statements.py",
                    "BY deaths, priority, due LIMIT :limit",
                    "BY seq LIMIT 1",
                ),
                Mutation(
                    "worker/delivery/claims.py",
                    "name not in self._counted and",
                    "not self._counted and",
                ),
            ]
        ],
    ),
    Row(
        "poisoned",
        run_poisoned,
        [
            [  # the probe that has waited longest, and failures that always count for the destination
                Mutation(
                    "queue/deliveries/scene_queue.py",
                    "found = found or self._find(sql.LONGEST",
                    "found = self._find(sql.LONGEST",
                ),
                Mutation("worker/delivery/breaker.py", "if failed_before and", "if not failed_before and"),
            ]
        ],
    ),
    Row(
        "edit_behind_bulk",
        run_edit_behind_bulk,
        [[Mutation("worker/delivery/pool.py", "entry = job.delivery.priority, job", "entry = 0, job")]],
    ),
    Row(
        "retry_after",
        run_retry_after,
        [[Mutation("worker/delivery/breaker.py", "if health.retry_at > now and not probe:", "if False:")]],
    ),
]
