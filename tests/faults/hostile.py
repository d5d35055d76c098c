"""Hostile texts: in scenes, in Stash's answers and in the rows of both databases, before a real worker."""

from __future__ import annotations

import contextlib
import json
import pickle
import random
import re
import signal
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from stash_courier.queue import codec
from stash_courier.queue.dead_letters.dlq import DeadLetterQueue
from stash_courier.queue.failures import DeliveryFailed, Failure
from stash_courier.queue.inbox import files, schema
from stash_courier.queue.jobs import Delivery
from stash_courier.worker.connections.model import Entry
from tests.faults.row import Mutation, Report, Row, add_destination, copy_checkout
from tests.faults.testbed import ALL, QUEUED, Testbed
from tests.standin.receivers import Received
from tests.standin.stash.server import StandInStash
from tests.standin.stash.web import Response
from tests.support import durable
from tests.support.harness import SECRET, wait_until

COOKIE = "MTc2ODI-cookie-of-the-owner"
TOKEN = "leaky-token-0123456789"
GATE = "open-sesame-0123456789"
PASSWORD = "correct-horse-battery"
SECRETS = (SECRET, SECRET.removeprefix("whsec_"), COOKIE, TOKEN, GATE, PASSWORD)
LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} (DEBUG|INFO|WARNING|ERROR) ")
INVALID = '"Signing secret" is not'

FORGED = "\r\n2026-01-01 00:00:00,000 ERROR forged"
TITLES = {
    "quotes": '"double" \'single\' `back` «angle» \\ \\" ${x} {0} %s <b> & ;',
    "lines": f"one\ntwo\r\nthree\u2028four\u2029five\x85six{FORGED}",
    "control characters": "\x00\x01\x07\x08\x1b[31m\x7f\x9b\ufeff\ufffe",
    "emoji": "👩‍👩‍👧‍👦 🏳️‍🌈 \U0001f9ff e\u0301",
    "right to left": "\u202eעברית\u202c \u2066العربية\u2069 \u200f",
    "half a surrogate pair": "half \ud83d of a pair",
    "JSON": '{"data": {"id": 1}, "__proto__": []} null',
    "whole": "ß" * 20_000,  # 120 KB as JSON, below the limit of a webhook
}
PATH = "/media/\udcff\udcfe \"ä'\n/scene {0}.mkv"  # a name that isn't UTF-8
# Text that the stand-in's library can't hold, its placeholder there, and the bytes on the wire. Stash sends a
# path's bytes unchanged (gqlgen's writeQuotedString doesn't check them), and half a pair only as an escape.
RAW = (("\udcff", "\ufdd0", b"\xff"), ("\udcfe", "\ufdd1", b"\xfe"), ("\ud83d", "\ufdd2", b"\\ud83d"))
FACTS = {"path": "", "oshash": "", "checksum": ""}  # a delivery's data, as JSON
MEGABYTE = "1 MB " + "x" * 1_000_000

# A destination in a copy of the plugin whose error message contains everything it knows.
DESTINATION = """
from stash_courier.worker.destinations.webhook import destination as webhook


class Leaky(webhook.Webhook):
    def deliver(self, delivery, scene, *more):
        raise RuntimeError(f"{self._headers} {scene and scene.title}")


def make(connection, _cover, _clock):
    return Leaky(connection)
"""


class Touch:
    """Pickles to a call that creates a file when it is loaded without checks."""

    def __init__(self, marker: Path) -> None:
        self._marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self._marker,)


class CorruptingSite:
    """Stash's site with answers that are corrupted while ``active``, except for the plugin's settings."""

    def __init__(self, stash: StandInStash, rng: random.Random) -> None:
        self._site: Any = stash._site
        self._rng = rng
        self.active = False
        self.corrupted = 0
        stash._site = self  # type: ignore[assignment]

    def __call__(self, request: Any) -> Response | None:
        """Answers one request."""
        response: Response | None = self._site(request)
        if response is None or response.content_type != "application/json":
            return response
        if not self.active:
            return replace(response, body=_raw(response.body))
        self.corrupted += 1
        body = self._corrupt(response.body)
        status = self._rng.choice([200, 200, 200, 200, 204, 401, 403, 500, 503])
        return Response(status, body, response.content_type, response.headers)

    def await_more(self) -> None:
        """Waits briefly for a few more corrupted answers."""
        seen = self.corrupted
        with contextlib.suppress(TimeoutError):
            wait_until(lambda: self.corrupted > seen + 3, 0.7)

    def _corrupt(self, body: bytes) -> bytes:
        kind = self._rng.randrange(5)
        if kind == 0:
            return body[: self._rng.randrange(len(body))]
        if kind == 1:
            return self._rng.randbytes(self._rng.randrange(200))
        if kind == 2:
            return self._rng.choice([b"[]", b"null", b"{}", b'{"data": null}', b"[" * 50_000, b'{"errors": [5]}'])
        answer = json.loads(body)
        nodes = [node for node in _nodes(answer) if not _is_instruction(node)]
        for *path, last in self._rng.sample(nodes, min(len(nodes), 3)):
            parent = answer
            with contextlib.suppress(LookupError, TypeError):  # an earlier replacement removed it
                for key in path:
                    parent = parent[key]
                parent[last] = self._rng.choice([5, -1.5, True, [], {}, [[]], "\x00\udcff", "9" * 5000])
        return json.dumps(answer).encode()


def _raw(body: bytes) -> bytes:
    for _, placeholder, wire in RAW:
        body = body.replace(placeholder.encode(), wire)
    return body


def _with_placeholders(text: str) -> str:
    for odd, placeholder, _ in RAW:
        text = text.replace(odd, placeholder)
    return text


def _nodes(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found = [path] if path else []
    for key, inner in items:
        found += _nodes(inner, (*path, key))
    return found


def _is_instruction(path: tuple[Any, ...]) -> bool:
    """Whether another value here would be obeyed: it changes settings or disables the plugin."""
    return "stash_plugin" in path or path[:3] == ("data", "configuration", "plugins")


class HostileTestbed(Testbed):
    """A testbed with a destination that leaks everything it knows, and hooks whose input has whole scenes."""

    def __init__(self, folder: Path, full: bool) -> None:
        root = copy_checkout(folder / "plugin")
        add_destination(root, "leaky", DESTINATION)
        super().__init__(folder / "stash", 4, root=root, settings={"worker_attempts": 1})
        place = self.receiver.url.replace("://", f"://owner:{PASSWORD}@")
        self.settings = {"webhook_url": f"{place}hook?key={TOKEN}", "webhook_secret": SECRET}
        leaky = f"{self.receiver.url.replace('127.0.0.1', 'localhost')}?token={TOKEN}"
        gate = {"url": leaky, "headers": f"X-Leaky: {TOKEN}; X-Gate: {GATE}"}
        self.connection = Entry("leaky", "Leaky", "leaky", values=gate)
        self.cookie = COOKIE
        self.output = b""  # everything that plugin processes wrote
        stash = self.courier.stash
        self.expected: dict[int, dict[str, str]] = {}
        for name, title in {**TITLES, "1 MB": MEGABYTE}.items():
            path = PATH.format(title if name == "half a surrogate pair" else name)
            scene = stash.add_scene(
                _with_placeholders(path), title=_with_placeholders(title), details=_with_placeholders(title)
            )
            self.expected[scene] = {"title": title, "details": title, "path": path}
        (self.huge,) = [scene for scene, known in self.expected.items() if known["title"] == MEGABYTE]

    def save(self, scenes: list[int]) -> int:
        """Runs a hook with the whole input for each scene; returns how many promised."""
        promised = 0
        for scene in scenes:
            known = self.expected.get(scene, {})
            given = {"id": scene, "title": known.get("title"), "details": known.get("details")}
            context = {"id": scene, "type": "Scene.Update.Post", "input": given, "inputFields": ["id", "title"]}
            promised += self.run(context) == QUEUED
        return promised

    def run(self, context: object, **args: object) -> bytes:
        """Runs a plugin process; returns its stdout."""
        stdin = json.dumps(self.request(context, **args)).encode()
        process = durable.start_hook(self.data, stdin, self._command, STASH_COURIER_WORKER="on")
        out, err = process.communicate(timeout=60)
        self.output += out + err
        durable.log_lines(err)
        return out

    def latest(self) -> dict[int, Received]:
        """The last request for each scene at the good receiver."""
        return {int(r.json()["data"]["id"]): r for r in self.receiver.received}

    def logs(self) -> list[str]:
        """The lines of the worker's log, including rotated files."""
        text = ""
        for file in sorted(self.data.glob("worker.log*"), reverse=True):
            text += file.read_bytes().decode("utf-8")
        return text.split("\n")[:-1]


def run_texts(folder: Path, full: bool) -> Report:
    """One worker gets hostile scenes, then corrupted answers from Stash, then hostile rows in both databases."""
    report = Report()
    rng = random.Random(20260106)
    marker = folder / "touched"
    with HostileTestbed(folder, full) as testbed:
        scenes = sorted(testbed.expected)
        testbed.courier.configure(**testbed.settings)
        testbed.courier.connect(testbed.connection)
        corrupting = CorruptingSite(testbed.courier.stash, rng)
        testbed.courier.stash.restart()  # now it uses the corrupting site
        report.promised = testbed.save(scenes)
        pid = testbed.worker()
        testbed.drain(30.0, expedite=True)
        _check_texts(testbed, report)
        report.delivered = len(set(testbed.latest()) & set(scenes))
        dead = sorted(testbed.dead())
        report.expect(dead == scenes, f"dead letters from the leaky destination: {dead}, expected {scenes}")

        corrupting.active = True
        for _ in range(60 if full else 8):
            testbed.save(rng.sample(scenes, 2))
            corrupting.await_more()
            testbed.expedite()
        corrupting.active = False
        _check_all_arrive_again(testbed, report, scenes)
        report.expect(testbed.workers() == [pid], f"the worker was restarted: {pid} became {testbed.workers()}")

        _bad_secret(testbed, report)
        rows = _hostile_rows(testbed, marker)
        _check_good_rows(testbed, report, scenes[:2])
        report.expect(not marker.exists(), "a pickle ran code")
        _check_logs(testbed, report)
    report.done = (
        f"{len(scenes)} hostile scenes, {corrupting.corrupted} corrupted answers from Stash, {rows} hostile rows; "
        f"{len(testbed.receiver.received)} requests"
    )
    report.nothing_lost()
    return report


def _check_all_arrive_again(testbed: HostileTestbed, report: Report, scenes: list[int]) -> None:
    """After the corrupted answers all scenes are delivered again, with the right texts."""
    before = len(testbed.receiver.received)
    promised = testbed.save(scenes)
    testbed.expedite()
    testbed.drain(45.0, expedite=True)
    arrived = len(testbed.receiver.received) - before
    report.expect(promised == len(scenes), f"{promised} of {len(scenes)} hooks promised")
    report.expect(arrived >= len(scenes), "not all scenes arrived after the corrupted answers")
    _check_texts(testbed, report)


def _check_good_rows(testbed: HostileTestbed, report: Report, scenes: list[int]) -> None:
    """Beside hostile rows, good ones are delivered and buttons answer."""
    wanted = len(testbed.receiver.received) + len(scenes)
    testbed.save(scenes)
    with contextlib.suppress(TimeoutError):
        wait_until(lambda: len(testbed.receiver.received) >= wanted, 30.0)
    report.expect(len(testbed.receiver.received) >= wanted, "hostile rows block good ones")
    for mode in ("status", "review_dead_letters"):
        answer = json.loads(testbed.run(None, mode=mode))
        report.expect("output" in answer, f"{mode}: {answer}")


def _check_texts(testbed: HostileTestbed, report: Report) -> None:
    latest = testbed.latest()
    for scene, known in testbed.expected.items():
        if scene not in latest:
            report.expect(False, f"scene {scene} never arrived: {known['title'][:30]!r}")
            continue
        data = latest[scene].json()["data"]
        wanted = {"path": known["path"]} if scene == testbed.huge else known
        for name, text in wanted.items():
            same = data.get(name) == text
            report.expect(same, f"scene {scene}'s {name} arrived as {str(data.get(name))[:60]!r}")
        if scene == testbed.huge:  # a body above 256 KiB is reduced to what identifies the scene
            report.expect(data.get("truncated") is True, "a truncated body isn't marked")
            report.expect(len(latest[scene].body) < 256 << 10, "1 MB was sent")


def _bad_secret(testbed: HostileTestbed, report: Report) -> None:
    """Sets an invalid secret, which the worker names without showing it."""
    testbed.courier.configure(webhook_secret=f"hunter2 {TOKEN}")
    testbed.rouse()
    testbed.save([1])
    with contextlib.suppress(TimeoutError):
        wait_until(lambda: INVALID in testbed.courier.log(), 10.0)
    report.expect(INVALID in testbed.courier.log(), "worker.log doesn't name the invalid setting")
    testbed.courier.configure(**testbed.settings)


def _hostile_rows(testbed: HostileTestbed, marker: Path) -> int:
    """Stops the worker and inserts hostile rows into both databases; returns how many."""
    pid = testbed.worker()
    testbed.signal(pid, signal.SIGTERM)
    wait_until(lambda: pid not in testbed.workers(), 30.0)
    hostile_pickle = pickle.dumps({"job": Touch(marker)}, protocol=4)
    with testbed.queue() as queue:
        rows = _fill_queue(queue.connection, hostile_pickle)
    rows += _fill_dead_letters(testbed.data, hostile_pickle)
    testbed.rouse()
    return rows


def _fill_queue(conn: sqlite3.Connection, hostile_pickle: bytes) -> int:
    torn = "text\udcff".encode("utf-8", "surrogateescape")
    inbox = [b"\x00", b"[" * 10_000, hostile_pickle, b'{"scene": "\xff"}', torn]
    conn.executemany(schema.INSERT, [(raw, 0.0) for raw in inbox])
    (destination,) = conn.execute("SELECT destination FROM destinations ORDER BY 1 DESC").fetchone()
    deliveries = (
        (900, "data", hostile_pickle),
        (901, "event", b"\xff"),
        (902, "timestamp", "soon"),
        (903, "changed", FORGED),
        (904, "data", json.dumps({**FACTS, "history": [FORGED]})),
        (905, "attempts", "x"),
        (906, "seq", "x"),
        (907, "due", 0.0),
        (908, "due", "soon"),
        (909, "due", b"\xff"),
    )
    for scene, column, value in deliveries:
        values = {"data": json.dumps(FACTS), "event": "update", "timestamp": 1.0, "changed": "", "attempts": 0}
        values |= {"seq": 1, "due": 1.0, "status": 0, "destination": destination, "scene_id": scene}
        values[column] = value
        conn.execute(
            f"INSERT INTO {schema.DELIVERIES} ({', '.join(values)}) VALUES (:{', :'.join(values)})", values
        )
    return len(inbox) + len(deliveries)


def _fill_dead_letters(data: Path, hostile_pickle: bytes) -> int:
    with closing(DeadLetterQueue(data)) as dead_letters:
        for scene in (910, 911):
            job = Delivery(1, f"webhook:{FORGED}", scene, "update", (), 1, 1.0)
            dead_letters.add(job, DeliveryFailed(Failure.ITEM_REFUSED, FORGED), 1, title=codec.storable(FORGED))
    with closing(sqlite3.connect(data / files.DLQ_DB, isolation_level=None)) as conn:
        conn.execute(
            "UPDATE dead_letters SET job_data = ?, state = 'asked' WHERE scene_id >= 910", (hostile_pickle,)
        )
        conn.execute("UPDATE dead_letters SET history = x'ff' WHERE scene_id = 911")
    return 2


def _check_logs(testbed: HostileTestbed, report: Report) -> None:
    lines = testbed.logs()
    odd = [line for line in lines if not LINE.match(line) or not line.isprintable()]
    report.expect(not odd, f"{len(odd)} of {len(lines)} lines of worker.log are malformed: {odd[:2]}")
    with closing(DeadLetterQueue(testbed.data)) as dead_letters:
        dead = len(dead_letters.get_recent(ALL))
    output = testbed.output.decode("utf-8", "replace")
    report.expect("Traceback" not in "\n".join(lines) + output, "a traceback reached worker.log or Stash")
    argv = b"".join(Path(f"/proc/{pid}/cmdline").read_bytes() for pid in testbed.workers())
    report.expect(bool(argv), "no worker is running")
    dlq = b"".join(file.read_bytes() for file in testbed.data.glob(f"{files.DLQ_DB}*"))
    places = {
        "worker.log": "\n".join(lines).encode(),
        "a plugin's output": testbed.output,
        "argv": argv,
        "dlq.db": dlq,
    }
    for place, content in places.items():
        for secret in SECRETS:
            report.expect(secret.encode() not in content, f"{place} contains the secret {secret[:6]}…")
    report.dead = 0
    report.expect(dead > 0, "there are no dead letters, so the row proved nothing about them")


ROWS = [
    Row(
        "texts",
        run_texts,
        [
            [
                Mutation(
                    "worker/log_file.py",
                    'return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)',
                    "return text",
                )
            ],
            [
                Mutation(
                    "worker/log_file.py",
                    "text = redact(super().format(record), self._secrets())",
                    "text = super().format(record)",
                )
            ],
            [
                Mutation(
                    "worker/delivery/completer.py",
                    "error.message = redact(error.message, self._registry.secrets)[:LONGEST_BUG]",
                    "pass",
                )
            ],
            [
                Mutation("queue/dead_letters/pickles.py", "    _check(data)\n", ""),
                Mutation(
                    "queue/dead_letters/pickles.py",
                    "_PlainUnpickler(io.BytesIO(data)).load()",
                    "pickle.loads(data)",
                ),
            ],
        ],
    ),
]
