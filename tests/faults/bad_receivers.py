"""Receivers from hell beside good ones: each evil costs nobody but its own destination, and loses nothing."""

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
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from stash_courier.queue import control, schema
from stash_courier.queue.dlq import DeadLetterQueue
from stash_courier.queue.failures import Failure
from stash_courier.worker.delivery.breaker import from_json
from tests.faults.field import ALL, Field
from tests.faults.row import Mutation, Report, Row
from tests.standin.receivers import RawReceiver, Received, Receiver, Reply, Script, flood, read_request, reset, say
from tests.support import certificate
from tests.support.harness import wait_until

MEMORY_MIB = 100.0  # the worker's, at its highest
GOOD_SECONDS = 2.0  # from the end of a hook to the request at a good receiver
LITTLE_SECONDS = 1.0  # beyond the deadline, on a busy machine
LANE_THREADS = 5  # four that send, one that watches deadlines
OTHER_THREADS = 4  # the loop, the one that asks Stash and its deadlines, a lookup
OK = b"HTTP/1.1 200 OK\r\n"
TAKEN = b"HTTP/1.1 204 Taken\r\nConnection: close\r\n\r\n"
LINK_LOCAL = "http://169.254.169.254/latest"

Ends = Literal["waits", "delivered", "dead"]


@dataclass
class Evil:
    """One bad receiver, and what DESIGN's table of failures says of it."""

    name: str
    script: Script
    ends: Ends  # what becomes of its deliveries
    failure: Failure | None = None  # what holds the destination meanwhile
    tls: str | None = None
    https: bool = False  # the URL says https, whatever it speaks
    mends: bool = True  # it can be made a good one on the same port
    hangs: bool = False  # … each request until the wall deadline
    held: list[float] = field(default_factory=list)  # seconds that it held each request
    took: set[int] = field(default_factory=set)  # scenes, while it was good
    good: bool = False
    url: str = ""

    @property
    def id(self) -> str:
        """The destination's."""
        return f"webhook:{re.sub(r'^https?://|/.*$', '', self.url)}"

    def serve(self, connection: socket.socket, ended: threading.Event) -> None:
        """What it does with a connection."""
        if self.good:
            body = read_request(connection).partition(b"\r\n\r\n")[2]
            connection.sendall(TAKEN)
            self.took.add(int(json.loads(body)["data"]["id"]))
        else:
            self.script(connection, ended)

    def hold(self, head: bytes = b"", drip_seconds: float = 0.0) -> Script:
        """Answers with a head and a byte now and then, or nothing, and clocks when the client has enough."""

        def script(connection: socket.socket, ended: threading.Event) -> None:
            read_request(connection)
            began = time.monotonic()
            connection.sendall(head)
            try:
                while not ended.is_set():
                    if select.select([connection], [], [], drip_seconds or 0.5)[0]:
                        break  # the client shut it down: it has nothing to say in between
                    if drip_seconds:
                        connection.sendall(b"x")
            finally:
                self.held.append(time.monotonic() - began)

        return script


def _evils(trusted: str, other: str, stranger: str, full: bool, sent: list[int]) -> list[Evil]:
    size = (1 << 30) if full else (64 << 20)
    block = bytes(1 << 20)
    huge = OK + b"Content-Length: %d\r\n\r\n" % size
    bomb = gzip.compress(bytes(100_000_000 if full else 20_000_000))
    packed = b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb)
    drip = 1.0 if full else 0.5  # seconds
    found = [
        Evil("never answers", reset, "waits", Failure.BUSY, hangs=True),
        Evil("drips", reset, "waits", Failure.BUSY, hangs=True),
        Evil("drips over TLS", reset, "waits", Failure.BUSY, tls=trusted, hangs=True),
        Evil("resets", reset, "waits", Failure.BUSY),
        Evil("200 and 1 GB", flood(huge, block, size >> 20, sent), "delivered"),
        Evil("self-signed", say(TAKEN), "waits", Failure.DESTINATION, tls=other, mends=False),
        Evil("no TLS", _rubbish_handshake, "waits", Failure.DESTINATION, https=True, mends=False),
        Evil("chunked rubbish", say(OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"), "waits", Failure.BUSY),
        Evil("500 headers", say(OK + b"A: b\r\n" * 500 + b"\r\n"), "waits", Failure.DESTINATION),
        Evil("gzip bomb", say(OK + packed, bomb), "delivered"),
        Evil("refuses with a gzip bomb", say(b"HTTP/1.1 422 No\r\n" + packed, bomb), "dead"),
    ]
    found[0].script = found[0].hold()
    found[1].script = found[1].hold(OK + b"Content-Length: 100000\r\n\r\n", drip)
    found[2].script = found[2].hold(OK + b"Content-Length: 100000\r\n\r\n", drip)
    for place in ("{own}", "file:///etc/passwd", "http://169.254.169.254/", stranger):
        evil = Evil(f"redirects to {place}", reset, "waits", Failure.DESTINATION)
        evil.script = _redirect(evil, place)
        found.append(evil)
    return found


def _redirect(evil: Evil, place: str) -> Script:
    def script(connection: socket.socket, ended: threading.Event) -> None:
        read_request(connection)
        where = place.format(own=evil.url)
        connection.sendall(b"HTTP/1.1 307 Go\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n" % where.encode())
        ended.wait(0.2)

    return script


def _rubbish_handshake(connection: socket.socket, ended: threading.Event) -> None:
    connection.recv(65536)
    connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n" * 20)
    ended.wait(0.2)


class Hell:
    """The field with all evils in its settings; a context manager's content.

    Args:
        stack: ends what is started here.
        folder: empty.
        full: whether evils are as evil as can be.
        timeout: the setting ``delivery_timeout_seconds``.
        scenes: how many Stash has.
    """

    def __init__(self, stack: ExitStack, folder: Path, full: bool, timeout: int, scenes: int) -> None:
        self.trusted = certificate.make(folder / "trusted.pem")
        self.sent: list[int] = []  # bytes of each flood that the worker let through
        self.stranger = stack.enter_context(Receiver())  # where a redirect leads; must not be asked
        self.good_tls = stack.enter_context(Receiver(self._taken_over_tls, tls=self.trusted))
        self.arrived: dict[str, float] = {}  # edit → wall time at which the good TLS receiver had it
        other = certificate.make(folder / "other.pem")
        self.evils = _evils(self.trusted, other, self.stranger.url, full, self.sent)
        for evil in self.evils:
            raw = stack.enter_context(RawReceiver(evil.serve, tls=evil.tls))
            evil.url = raw.url.replace("http://", "https://") if evil.https else raw.url
        settings = {"delivery_timeout_seconds": timeout}
        self.field = stack.enter_context(Field(folder / "stash", scenes, settings=settings))
        self.goods = f"{self.field.receiver.url}hook {self.good_tls.url}"
        urls = " ".join(evil.url for evil in self.evils)
        self.field.courier.configure(webhook_url=f"{self.goods} {urls} {LINK_LOCAL}")
        self.pools = len(self.evils) + 3
        self.promised_at: dict[str, float] = {}  # edit → wall time at which its hook ended

    def _taken_over_tls(self, received: Received) -> Reply:
        data = received.json()["data"]
        self.arrived.setdefault(f"{data['title']} of {data['id']}", time.time())
        return Reply()

    def edit(self, scenes: Iterable[int]) -> None:
        """Edits scenes one after the other, each with its hook."""
        for scene in scenes:
            hook = self.field.hook(scene, SSL_CERT_FILE=self.trusted)
            hook.must_promise()
            self.promised_at[f"Edit {self.field.promised[scene]} of {scene}"] = time.time()

    def lateness(self) -> dict[str, float]:
        """Seconds from the end of each hook to the request at the slower of the good receivers."""
        plain: dict[str, float] = {}
        for at, scene, title, _ in self.field.taken:
            plain.setdefault(f"{title} of {scene}", at)
        never = float("inf")
        return {
            edit: max(plain.get(edit, never), self.arrived.get(edit, never)) - at
            for edit, at in self.promised_at.items()
        }

    def tasks(self) -> int:
        """How many threads the worker has."""
        return int(self._status("Threads"))

    def peak_mib(self) -> float:
        """The worker's memory at its highest."""
        return int(self._status("VmHWM").split()[0]) / 1024

    def _status(self, name: str) -> str:
        text = Path(f"/proc/{self.field.worker()}/status").read_text()
        found = re.search(rf"^{name}:\s*(.*)$", text, re.MULTILINE)
        assert found is not None
        return found[1]

    def idle(self) -> bool:
        """Whether no delivery is on its way."""
        with self.field.queue() as queue:
            return queue.inbox_empty() and not queue.in_flight()

    def books(self) -> dict[str, dict[str, set[int]]]:
        """Scenes that wait, were delivered or are dead letters, by destination."""
        with self.field.queue() as queue:
            waits = queue.connection.execute(f"SELECT destination, scene_id FROM {schema.DELIVERIES}").fetchall()
            sent = queue.connection.execute("SELECT destination, scene_id FROM sent").fetchall()
        dead_letters = DeadLetterQueue(self.field.data)
        try:
            dead = [
                (dead_letter.destination, dead_letter.scene_id) for dead_letter in dead_letters.get_recent(ALL)
            ]
        finally:
            dead_letters.close()
        found: dict[str, dict[str, set[int]]] = {}
        for kind, rows in (("waits", waits), ("delivered", sent), ("dead", dead)):
            for destination, scene in rows:
                found.setdefault(destination, {"waits": set(), "delivered": set(), "dead": set()})[kind].add(scene)
        return found

    def healths(self) -> dict[str, str]:
        """The failure that holds each destination, "" for one that is well."""
        with self.field.queue() as queue:
            states = control.states(queue.connection)
        return {name: from_json(state).failure for name, state in states.items()}


def run_hell(folder: Path, full: bool) -> Report:
    """Rounds of edits with all evils at once; then they mend; then they hang while the settings leave them."""
    rounds, each, timeout = (10, 6, 3) if full else (2, 5, 1)
    report = Report()
    with ExitStack() as stack:
        hell = Hell(stack, folder, full, timeout, rounds * each + 5)
        field = hell.field
        threads = []
        hell.edit([1])
        wait_until(lambda: hell.arrived and field.taken, 15.0)
        hell.promised_at.clear()  # the worker had to start
        for number in range(rounds):
            hell.edit(range(number * each + 1 + (number == 0), (number + 1) * each + 1))
            field.expedite()
            _settled(hell, report, timeout)
            threads.append(hell.tasks())
        scenes = set(range(1, rounds * each + 1))
        _judge_evils(hell, report, scenes)
        late = hell.lateness()
        slowest = max(late.values())
        held = [seconds for evil in hell.evils if evil.hangs for seconds in evil.held]

        for evil in hell.evils:
            evil.good = evil.mends
        _mended(hell, report, scenes)
        for evil in hell.evils:
            evil.good = False
        # The settings leave all evils while they hang: their threads end, and no other does.
        hell.edit(range(rounds * each + 1, rounds * each + 5))
        field.courier.configure(webhook_url=hell.goods)
        hell.edit([rounds * each + 5])
        alone = 2 * LANE_THREADS + OTHER_THREADS
        with contextlib.suppress(TimeoutError):
            wait_until(lambda: hell.tasks() <= alone, timeout + 10.0)
        left = hell.tasks()
        peak = hell.peak_mib()
        with contextlib.suppress(TimeoutError):
            wait_until(lambda: set(field.promised) <= {scene for _, scene, *_ in field.taken}, 10.0)
        field.settle(report)
    report.done = (
        f"{len(hell.evils) + 1} evil and 2 good receivers, {rounds} rounds; {peak:.0f} MiB, {max(threads)} "
        f"threads, good ones within {slowest:.1f} s, hung for {max(held, default=0):.1f} s at most"
    )
    report.nothing_lost()
    report.expect(peak < MEMORY_MIB, f"the worker took {peak:.0f} MiB")
    most = LANE_THREADS * hell.pools + OTHER_THREADS
    report.expect(max(threads) <= most, f"{max(threads)} threads, where the lanes need {most} at most")
    report.expect(threads[-1] <= threads[1] + 2, f"threads grow from round to round: {threads}")
    report.expect(left <= alone, f"{left} threads stay when the evils are gone; two lanes need {alone}")
    report.expect(slowest < GOOD_SECONDS, f"a good receiver had to wait {slowest:.1f} s")
    report.expect(bool(held), "nothing hung, so nothing was shown")
    for evil in hell.evils:
        if evil.hangs:
            longest = max(evil.held, default=0.0)
            report.expect(
                0.8 * timeout < longest < timeout + LITTLE_SECONDS,
                f"{evil.name}: it held a request for {longest:.1f} s instead of {timeout} s",
            )
    asked = len(hell.stranger.received)
    report.expect(asked == 0, f"a redirect was followed {asked} times")
    report.expect(
        max(hell.sent, default=0) < 32 << 20, f"{max(hell.sent, default=0) >> 20} MiB of a flood were read"
    )
    report.expect("Traceback" not in field.courier.log(), "worker.log holds a traceback")
    return report


def _settled(hell: Hell, report: Report, timeout: int) -> None:
    """Waits until what hangs has ended."""
    try:
        wait_until(hell.idle, 4.0 * timeout + 20.0)
    except TimeoutError:
        report.expect(False, "deliveries hang past their deadline")


def _judge_evils(hell: Hell, report: Report, scenes: set[int]) -> None:
    books, healths = hell.books(), hell.healths()
    expected: list[tuple[str, str, Ends, Failure | None]]
    expected = [(evil.name, evil.id, evil.ends, evil.failure) for evil in hell.evils]
    expected.append(("link-local", f"webhook:{LINK_LOCAL.split('/')[2]}", "waits", Failure.DESTINATION))
    for name, destination, ends, failure in expected:
        book = books.get(destination, {})
        counts = {kind: len(found) for kind, found in book.items()}
        report.expect(book.get(ends) == scenes, f"{name}: of {len(scenes)} all should be {ends}, but: {counts}")
        ill = healths.get(destination, "")
        report.expect(ill == (failure or ""), f"{name}: it is {ill or 'well'} instead of {failure or 'well'}")


def _mended(hell: Hell, report: Report, scenes: set[int]) -> None:
    """Every evil that turns good gets all that waited for it."""
    waiting = [evil for evil in hell.evils if evil.mends and evil.ends == "waits"]

    def all_arrived() -> bool:
        return all(evil.took >= scenes for evil in waiting)

    hell.field.expedite()
    with contextlib.suppress(TimeoutError):
        wait_until(all_arrived, 30.0)
    for evil in waiting:
        report.expect(evil.took >= scenes, f"{evil.name}: mended, it got {len(evil.took)} of {len(scenes)}")


def _missing() -> str:
    return "" if certificate.can_make() else f"{certificate.MISSING} (apt-get install openssl)"


ROWS = [
    Row(
        "hell",
        run_hell,
        [
            [Mutation("worker/http/transport.py", "if r.deadline <= now]:", "if r.deadline <= 0]:")],
            [
                Mutation(
                    "worker/http/client.py",
                    "            while len(body) <= limit and (\n"
                    "                piece := response.raw.read1(limit + 1 - len(body), decode_content=False)\n"
                    "            ):",
                    "            while piece := response.raw.read1(1 << 20, decode_content=False):",
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
