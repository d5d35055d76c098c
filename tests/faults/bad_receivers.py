"""Bad receivers beside good ones: each one affects its own destination only, and no event is lost."""

from __future__ import annotations

import contextlib
import gzip
import json
import re
import select
import socket
import threading
import time
from collections.abc import Iterable
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from stash_courier.queue import control
from stash_courier.queue.dead_letters.dlq import DeadLetterQueue
from stash_courier.queue.failures import Failure
from stash_courier.queue.inbox import schema
from stash_courier.worker.delivery.breaker import from_json
from tests.faults.row import Mutation, Report, Row
from tests.faults.testbed import ALL, Testbed
from tests.standin.receivers import RawReceiver, Received, Receiver, Reply, Script, flood, read_request, reset, say
from tests.support import certificate
from tests.support.harness import wait_until

MEMORY_MIB = 100.0  # peak of the worker
GOOD_SECONDS = 2.0  # from the end of a hook to the request at a good receiver, at most
TOLERANCE_SECONDS = 1.0  # past the deadline, on a busy machine
POOL_THREADS = 5  # per destination: four that send, one that watches deadlines
OTHER_THREADS = 4  # the loop, the Stash client, its deadline watcher, a DNS lookup
OK = b"HTTP/1.1 200 OK\r\n"
ACCEPTED = b"HTTP/1.1 204 Taken\r\nConnection: close\r\n\r\n"
LINK_LOCAL = "http://169.254.169.254/latest"

Outcome = Literal["waits", "delivered", "dead"]


@dataclass
class BadReceiver:
    """One bad receiver and the outcome that the failure table promises for it."""

    name: str
    script: Script
    outcome: Outcome  # what happens to its deliveries
    failure: Failure | None = None  # why the destination is held meanwhile
    tls: str | None = None
    https: bool = False  # the URL says https, whatever the receiver speaks
    recovers: bool = True  # it can become a good one on the same port
    hangs: bool = False  # holds each request until the deadline
    held: list[float] = field(default_factory=list)  # seconds that it held each request
    accepted: set[int] = field(default_factory=set)  # scenes that it took while it was good
    good: bool = False
    url: str = ""

    @property
    def id(self) -> str:
        """The id of its destination."""
        return f"webhook:{re.sub(r'^https?://|/.*$', '', self.url)}"

    def serve(self, connection: socket.socket, ended: threading.Event) -> None:
        """Handles one connection."""
        if self.good:
            body = read_request(connection).partition(b"\r\n\r\n")[2]
            connection.sendall(ACCEPTED)
            self.accepted.add(int(json.loads(body)["data"]["id"]))
        else:
            self.script(connection, ended)

    def hold(self, head: bytes = b"", drip_seconds: float = 0.0) -> Script:
        """Sends a head and single bytes, or nothing, and measures how long the client puts up with it."""

        def script(connection: socket.socket, ended: threading.Event) -> None:
            read_request(connection)
            began = time.monotonic()
            connection.sendall(head)
            try:
                while not ended.is_set():
                    if select.select([connection], [], [], drip_seconds or 0.5)[0]:
                        break  # the client closed the connection; it sends nothing else
                    if drip_seconds:
                        connection.sendall(b"x")
            finally:
                self.held.append(time.monotonic() - began)

        return script


def _bad_receivers(trusted: str, other: str, stranger: str, full: bool, sent: list[int]) -> list[BadReceiver]:
    size = (1 << 30) if full else (64 << 20)
    block = bytes(1 << 20)
    huge = OK + b"Content-Length: %d\r\n\r\n" % size
    bomb = gzip.compress(bytes(100_000_000 if full else 20_000_000))
    packed = b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb)
    drip = 1.0 if full else 0.5  # seconds
    found = [
        BadReceiver("never answers", reset, "waits", Failure.BUSY, hangs=True),
        BadReceiver("drips", reset, "waits", Failure.BUSY, hangs=True),
        BadReceiver("drips over TLS", reset, "waits", Failure.BUSY, tls=trusted, hangs=True),
        BadReceiver("resets", reset, "waits", Failure.BUSY),
        BadReceiver("200 and 1 GB", flood(huge, block, size >> 20, sent), "delivered"),
        BadReceiver("self-signed", say(ACCEPTED), "waits", Failure.DESTINATION, tls=other, recovers=False),
        BadReceiver("no TLS", _rubbish_handshake, "waits", Failure.DESTINATION, https=True, recovers=False),
        BadReceiver(
            "chunked rubbish", say(OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"), "waits", Failure.BUSY
        ),
        BadReceiver("500 headers", say(OK + b"A: b\r\n" * 500 + b"\r\n"), "waits", Failure.DESTINATION),
        BadReceiver("gzip bomb", say(OK + packed, bomb), "delivered"),
        BadReceiver(
            "refuses with a gzip bomb", say(b"HTTP/1.1 422 No\r\n" + packed, bomb), "waits", Failure.REJECTED
        ),
    ]
    found[0].script = found[0].hold()
    found[1].script = found[1].hold(OK + b"Content-Length: 100000\r\n\r\n", drip)
    found[2].script = found[2].hold(OK + b"Content-Length: 100000\r\n\r\n", drip)
    for place in ("{own}", "file:///etc/passwd", "http://169.254.169.254/", stranger):
        receiver = BadReceiver(f"redirects to {place}", reset, "waits", Failure.DESTINATION)
        receiver.script = _redirect(receiver, place)
        found.append(receiver)
    return found


def _redirect(receiver: BadReceiver, place: str) -> Script:
    def script(connection: socket.socket, ended: threading.Event) -> None:
        read_request(connection)
        where = place.format(own=receiver.url)
        connection.sendall(b"HTTP/1.1 307 Go\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n" % where.encode())
        ended.wait(0.2)

    return script


def _rubbish_handshake(connection: socket.socket, ended: threading.Event) -> None:
    connection.recv(65536)
    connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n" * 20)
    ended.wait(0.2)


class Scenario:
    """A testbed whose settings name all bad receivers and two good ones.

    Args:
        stack: stops what is started here.
        folder: empty.
        full: whether floods and bombs have their full size.
        timeout: the setting ``worker_timeout_seconds``.
        scenes: how many Stash has.
    """

    def __init__(self, stack: ExitStack, folder: Path, full: bool, timeout: int, scenes: int) -> None:
        self.trusted = certificate.make(folder / "trusted.pem")
        self.sent: list[int] = []  # bytes of each flood that the worker read
        self.stranger = stack.enter_context(Receiver())  # the target of a redirect; must get no request
        self.good_tls = stack.enter_context(Receiver(self._taken_over_tls, tls=self.trusted))
        self.arrived: dict[str, float] = {}  # edit → wall time at which the good TLS receiver got it
        other = certificate.make(folder / "other.pem")
        self.receivers = _bad_receivers(self.trusted, other, self.stranger.url, full, self.sent)
        for receiver in self.receivers:
            raw = stack.enter_context(RawReceiver(receiver.serve, tls=receiver.tls))
            receiver.url = raw.url.replace("http://", "https://") if receiver.https else raw.url
        settings = {"worker_timeout_seconds": timeout}
        self.testbed = stack.enter_context(Testbed(folder / "stash", scenes, settings=settings))
        self.goods = f"{self.testbed.receiver.url}hook {self.good_tls.url}"
        urls = " ".join(receiver.url for receiver in self.receivers)
        self.testbed.courier.configure(webhook_url=f"{self.goods} {urls} {LINK_LOCAL}")
        self.pools = len(self.receivers) + 3
        self.timeout = timeout
        self.promised_at: dict[str, float] = {}  # edit → wall time at which its hook ended

    def _taken_over_tls(self, received: Received) -> Reply:
        data = received.json()["data"]
        self.arrived.setdefault(f"{data['title']} of {data['id']}", time.time())
        return Reply()

    def edit(self, scenes: Iterable[int]) -> None:
        """Edits scenes one after another, each with its hook."""
        for scene in scenes:
            hook = self.testbed.hook(scene, SSL_CERT_FILE=self.trusted)
            hook.must_promise()
            self.promised_at[f"Edit {self.testbed.promised[scene]} of {scene}"] = time.time()

    def lateness(self) -> dict[str, float]:
        """Seconds from the end of each hook to the request at the slower of the good receivers."""
        plain: dict[str, float] = {}
        for at, scene, title, _ in self.testbed.taken:
            plain.setdefault(f"{title} of {scene}", at)
        never = float("inf")
        return {
            edit: max(plain.get(edit, never), self.arrived.get(edit, never)) - at
            for edit, at in self.promised_at.items()
        }

    def threads(self) -> int:
        """The worker's number of threads."""
        return int(self._status("Threads"))

    def peak_mib(self) -> float:
        """The worker's peak memory."""
        return int(self._status("VmHWM").split()[0]) / 1024

    def _status(self, name: str) -> str:
        text = Path(f"/proc/{self.testbed.worker()}/status").read_text()
        found = re.search(rf"^{name}:\s*(.*)$", text, re.MULTILINE)
        assert found is not None
        return found[1]

    def idle(self) -> bool:
        """Whether no delivery is in flight."""
        with self.testbed.queue() as queue:
            return queue.inbox_empty() and not queue.in_flight()

    def outcomes(self) -> dict[str, dict[str, set[int]]]:
        """Scenes by destination and outcome."""
        with self.testbed.queue() as queue:
            waits = queue.connection.execute(f"SELECT destination, scene_id FROM {schema.DELIVERIES}").fetchall()
            sent = queue.connection.execute("SELECT destination, scene_id FROM sent").fetchall()
        with closing(DeadLetterQueue(self.testbed.data)) as dlq:
            dead = [(dead_letter.destination, dead_letter.scene_id) for dead_letter in dlq.get_recent(ALL)]
        found: dict[str, dict[str, set[int]]] = {}
        for kind, rows in (("waits", waits), ("delivered", sent), ("dead", dead)):
            for destination, scene in rows:
                found.setdefault(destination, {"waits": set(), "delivered": set(), "dead": set()})[kind].add(scene)
        return found

    def healths(self) -> dict[str, str]:
        """The failure that holds each destination, "" for a healthy one."""
        with self.testbed.queue() as queue:
            states = control.states(queue.connection)
        return {name: from_json(state).failure for name, state in states.items()}


def run_bad_receivers(folder: Path, full: bool) -> Report:
    """Rounds of edits with bad receivers; then most recover; then all are removed from the settings."""
    rounds, each, timeout = (10, 6, 3) if full else (2, 5, 1)
    report = Report()
    with ExitStack() as stack:
        scenario = Scenario(stack, folder, full, timeout, rounds * each + 5)
        threads = _run_rounds(scenario, report, rounds, each)
        scenes = set(range(1, rounds * each + 1))
        _check_outcomes(scenario, report, scenes)
        slowest = max(scenario.lateness().values())
        for receiver in scenario.receivers:
            receiver.good = receiver.recovers
        _check_recovery(scenario, report, scenes)
        for receiver in scenario.receivers:
            receiver.good = False
        _check_removal(scenario, report, rounds * each + 1)
        peak = scenario.peak_mib()
        scenario.testbed.settle(report)
        held = {bad.name: max(bad.held, default=0.0) for bad in scenario.receivers if bad.hangs}
    report.done = (
        f"{len(scenario.receivers) + 1} bad and 2 good receivers, {rounds} rounds; peak {peak:.0f} MiB, "
        f"{max(threads)} threads, good receivers waited {slowest:.1f} s at most, "
        f"the longest hang was {max(held.values()):.1f} s"
    )
    report.nothing_lost()
    report.expect(peak < MEMORY_MIB, f"the worker used {peak:.0f} MiB")
    report.expect(slowest < GOOD_SECONDS, f"a good receiver waited {slowest:.1f} s")
    _check_threads(scenario, report, threads)
    for name, longest in held.items():
        report.expect(
            0.8 * timeout < longest < timeout + TOLERANCE_SECONDS,
            f"{name}: it held a request for {longest:.1f} s instead of {timeout} s",
        )
    followed, flood_bytes = len(scenario.stranger.received), max(scenario.sent, default=0)
    report.expect(followed == 0, f"{followed} redirects were followed")
    report.expect(flood_bytes < 32 << 20, f"{flood_bytes >> 20} MiB of a flood were read")
    report.expect("Traceback" not in scenario.testbed.courier.log(), "worker.log contains a traceback")
    return report


def _run_rounds(scenario: Scenario, report: Report, rounds: int, each: int) -> list[int]:
    """Edits scenes in rounds; returns the worker's number of threads after each round."""
    testbed = scenario.testbed
    scenario.edit([1])
    wait_until(lambda: scenario.arrived and testbed.taken, 15.0)
    scenario.promised_at.clear()  # this edit had to wait for the start of the worker
    threads = []
    for number in range(rounds):
        scenario.edit(range(number * each + 1 + (number == 0), (number + 1) * each + 1))
        testbed.expedite()
        try:
            wait_until(scenario.idle, 4.0 * scenario.timeout + 20.0)
        except TimeoutError:
            report.expect(False, "deliveries run past their deadline")
        threads.append(scenario.threads())
    return threads


def _check_outcomes(scenario: Scenario, report: Report, scenes: set[int]) -> None:
    """Every bad receiver has the outcome and the failure that are promised for it."""
    outcomes, healths = scenario.outcomes(), scenario.healths()
    expected: list[tuple[str, str, Outcome, Failure | None]]
    expected = [(bad.name, bad.id, bad.outcome, bad.failure) for bad in scenario.receivers]
    expected.append(("link-local", f"webhook:{LINK_LOCAL.split('/')[2]}", "waits", Failure.DESTINATION))
    for name, destination, outcome, failure in expected:
        found = outcomes.get(destination, {})
        counts = {kind: len(ids) for kind, ids in found.items()}
        report.expect(
            found.get(outcome) == scenes, f"{name}: expected {len(scenes)} scenes as {outcome}, found {counts}"
        )
        health = healths.get(destination, "")
        report.expect(
            health == (failure or ""), f"{name}: its health is {health or 'good'}, expected {failure or 'good'}"
        )


def _check_recovery(scenario: Scenario, report: Report, scenes: set[int]) -> None:
    """Every receiver that recovers gets all that waited for it."""
    recovered = [bad for bad in scenario.receivers if bad.recovers and bad.outcome == "waits"]

    def all_arrived() -> bool:
        return all(receiver.accepted >= scenes for receiver in recovered)

    scenario.testbed.expedite()
    with contextlib.suppress(TimeoutError):
        wait_until(all_arrived, 30.0)
    for receiver in recovered:
        report.expect(
            receiver.accepted >= scenes,
            f"{receiver.name}: after its recovery it got {len(receiver.accepted)} of {len(scenes)} scenes",
        )


def _check_removal(scenario: Scenario, report: Report, first: int) -> None:
    """Bad receivers that are removed from the settings while they hang leave no threads behind."""
    testbed = scenario.testbed
    scenario.edit(range(first, first + 4))
    testbed.courier.configure(webhook_url=scenario.goods)
    scenario.edit([first + 4])
    needed = 2 * POOL_THREADS + OTHER_THREADS
    with contextlib.suppress(TimeoutError):
        wait_until(lambda: scenario.threads() <= needed, scenario.timeout + 10.0)
    left = scenario.threads()
    report.expect(left <= needed, f"{left} threads are left after the removal; two pools need {needed}")
    with contextlib.suppress(TimeoutError):
        wait_until(lambda: set(testbed.promised) <= {scene for _, scene, *_ in testbed.taken}, 10.0)


def _check_threads(scenario: Scenario, report: Report, threads: list[int]) -> None:
    most = POOL_THREADS * scenario.pools + OTHER_THREADS
    report.expect(max(threads) <= most, f"{max(threads)} threads, but the pools need {most} at most")
    report.expect(threads[-1] <= threads[1] + 2, f"the number of threads grows: {threads}")


def _missing() -> str:
    return "" if certificate.can_make() else f"{certificate.MISSING} (apt-get install openssl)"


ROWS = [
    Row(
        "bad_receivers",
        run_bad_receivers,
        [
            [Mutation("worker/http/transport.py", "if r.deadline <= now]:", "if r.deadline <= 0]:")],
            [
                Mutation(
                    "worker/http/client.py",
                    "        while missing := request.limit + 1 - len(body):\n"
                    "            if not (piece := response.read1(min(missing, PIECE), decode_content=False)):\n"
                    "                break\n",
                    "        while piece := response.read1(1 << 20, decode_content=False):\n",
                )
            ],
            [
                Mutation(
                    "worker/http/client.py",
                    "        if not 200 <= answer.status < 300:\n",
                    "        if 300 <= answer.status < 400:\n"
                    "            return self.request(method, answer.headers['Location'], body=body)\n"
                    "        if not 200 <= answer.status < 300:\n",
                )
            ],
            [Mutation("worker/delivery/dispatcher.py", "        self.registry.close_idle()\n", "")],
        ],
        missing=_missing,
    ),
]
