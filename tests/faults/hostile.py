"""Hostile input: in scenes, in Stash's answers, in the rows of both databases, on the hook's stdin, in settings.

``texts`` drives a real worker through it. What single programs do with it is fuzzed in
tests/integration/test_hostile.py and in the unit tests, which ``hostile`` runs with larger numbers; the codec is
fuzzed by atheris, guided by what its code does with the bytes.
"""

from __future__ import annotations

import contextlib
import json
import pickle
import random
import re
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from stash_courier.queue import codec, files, schema
from stash_courier.queue.dlq import DeadLetterQueue
from stash_courier.queue.failures import DeliveryFailed, Failure
from stash_courier.queue.jobs import Delivery
from tests import ROOT
from tests.faults.delegated import _run as run_tests
from tests.faults.field import ALL, Field
from tests.faults.row import Mutation, Report, Row, add_destination, copy_checkout
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
WHSEC = re.compile(r"whsec_[A-Za-z0-9+/=]{20,}")

FORGED = "\r\n2026-01-01 00:00:00,000 ERROR forged"
TITLES = {
    "quotes": '"double" \'single\' `back` «angle» \\ \\" ${x} {0} %s <b> & ;',
    "lines": f"one\ntwo\r\nthree\u2028four\u2029five\x85six{FORGED}",
    "control characters": "\x00\x01\x07\x08\x1b[31m\x7f\x9b\ufeff\ufffe",
    "emoji": "👩‍👩‍👧‍👦 🏳️‍🌈 \U0001f9ff e\u0301",
    "right to left": "\u202eעברית\u202c \u2066العربية\u2069 \u200f",
    "half a surrogate pair": "half \ud83d of a pair",
    "JSON": '{"data": {"id": 1}, "__proto__": []} null',
    "whole": "ß" * 20_000,  # 120 KB as JSON: below what a webhook carries
}
PATH = "/media/\udcff\udcfe \"ä'\n/scene {0}.mkv"  # a name that isn't UTF-8
# What no text in the stand-in's library can hold, what stands for it there, and how it comes: Stash sends a path's
# bytes as they are (gqlgen's writeQuotedString checks none), and half a pair only as an escape.
RAW = (("\udcff", "\ufdd0", b"\xff"), ("\udcfe", "\ufdd1", b"\xfe"), ("\ud83d", "\ufdd2", b"\\ud83d"))
FACTS = {"path": "", "oshash": "", "checksum": ""}  # a delivery's data, as JSON
MEGABYTE = "1 MB " + "x" * 1_000_000

# A destination like any other, in a copy of the plugin, that fails with all it knows.
DESTINATION = """
from stash_courier.worker.destinations.webhook import destination as webhook

KIND = "leaky"


class Leaky(webhook.Webhook):
    def deliver(self, delivery, scene, *more):
        raise RuntimeError(f"{self._headers} {scene and scene.title}")


def configure(raw, settings, _cover=None):
    mine = {"webhook_url": raw.get("leaky_url", ""), "webhook_headers": f"X-Leaky: {raw.get('leaky_token', '')}"}
    made, problems = webhook.configure(mine, settings)
    for destination in made:
        destination.__class__ = Leaky
    return made, problems
"""


class Touch:
    """A pickle that makes a file when it is loaded without care."""

    def __init__(self, marker: Path) -> None:
        self._marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self._marker,)


class Spoiling:
    """Stash's site, except that its answers are spoilt while ``spoils``; all but the plugin's settings."""

    def __init__(self, stash: StandInStash, rng: random.Random) -> None:
        self._site: Any = stash._site
        self._rng = rng
        self.spoils = False
        self.spoilt = 0
        stash._site = self  # type: ignore[assignment]

    def __call__(self, request: Any) -> Response | None:
        """One answer."""
        response: Response | None = self._site(request)
        if response is None or response.content_type != "application/json":
            return response
        if not self.spoils:
            return replace(response, body=_raw(response.body))
        self.spoilt += 1
        body = self._spoil(response.body)
        status = self._rng.choice([200, 200, 200, 200, 204, 401, 403, 500, 503])
        return Response(status, body, response.content_type, response.headers)

    def await_more(self) -> None:
        """Waits until a few more answers are spoilt, for a moment at most."""
        seen = self.spoilt
        with contextlib.suppress(TimeoutError):
            wait_until(lambda: self.spoilt > seen + 3, 0.7)

    def _spoil(self, body: bytes) -> bytes:
        kind = self._rng.randrange(5)
        if kind == 0:
            return body[: self._rng.randrange(len(body))]
        if kind == 1:
            return self._rng.randbytes(self._rng.randrange(200))
        if kind == 2:
            return self._rng.choice([b"[]", b"null", b"{}", b'{"data": null}', b"[" * 50_000, b'{"errors": [5]}'])
        answer = json.loads(body)
        nodes = [node for node in _nodes(answer) if not _means_something(node)]
        for *path, last in self._rng.sample(nodes, min(len(nodes), 3)):
            parent = answer
            with contextlib.suppress(LookupError, TypeError):  # what it was in has gone already
                for key in path:
                    parent = parent[key]
                parent[last] = self._rng.choice([5, -1.5, True, [], {}, [[]], "\x00\udcff", "9" * 5000])
        return json.dumps(answer).encode()


def _raw(body: bytes) -> bytes:
    for _, stands, comes in RAW:
        body = body.replace(stands.encode(), comes)
    return body


def _held(text: str) -> str:
    for odd, stands, _ in RAW:
        text = text.replace(odd, stands)
    return text


def _nodes(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found = [path] if path else []
    for key, inner in items:
        found += _nodes(inner, (*path, key))
    return found


def _means_something(path: tuple[Any, ...]) -> bool:
    """Whether another value there is an order that is to be obeyed: other settings, or the plugin switched off."""
    return "stash_plugin" in path or path[:3] == ("data", "configuration", "plugins")


class Site(Field):
    """The field with a destination that leaks all it knows, and hooks that bring along whole scenes."""

    def __init__(self, folder: Path, full: bool) -> None:
        root = copy_checkout(folder / "plugin")
        add_destination(root, "leaky", DESTINATION)
        super().__init__(folder / "stash", 4, root=root, settings={"delivery_max_attempts": 1})
        place = self.receiver.url.replace("://", f"://owner:{PASSWORD}@")
        self.settings = {
            "webhook_url": f"{place}hook?key={TOKEN}",
            "webhook_secret": SECRET,
            "webhook_headers": f"X-Gate: {GATE}",
            "leaky_url": f"{self.receiver.url.replace('127.0.0.1', 'localhost')}?token={TOKEN}",
            "leaky_token": TOKEN,
        }
        self.cookie = COOKIE
        self.said = b""  # all that plugin processes wrote
        stash = self.courier.stash
        self.expected: dict[int, dict[str, str]] = {}
        for name, title in {**TITLES, "1 MB": MEGABYTE}.items():
            path = PATH.format(title if name == "half a surrogate pair" else name)
            scene = stash.add_scene(_held(path), title=_held(title), details=_held(title))
            self.expected[scene] = {"title": title, "details": title, "path": path}
        (self.huge,) = [scene for scene, known in self.expected.items() if known["title"] == MEGABYTE]

    def save(self, scenes: list[int]) -> int:
        """A hook for each scene, which brings along the whole input; returns how many promised."""
        promised = 0
        for scene in scenes:
            known = self.expected.get(scene, {})
            given = {"id": scene, "title": known.get("title"), "details": known.get("details")}
            context = {"id": scene, "type": "Scene.Update.Post", "input": given, "inputFields": ["id", "title"]}
            promised += self.run(context) == durable_queued()
        return promised

    def run(self, context: object, **args: object) -> bytes:
        """Runs a plugin process; its stdout."""
        stdin = json.dumps(self.request(context, **args)).encode()
        process = durable.start_hook(self.data, stdin, self._command, STASH_COURIER_WORKER="on")
        out, err = process.communicate(timeout=60)
        self.said += out + err
        durable.log_lines(err)
        return out

    def latest(self) -> dict[int, Received]:
        """The last request of each scene at the good receiver."""
        return {int(r.json()["data"]["id"]): r for r in self.receiver.received}

    def logs(self) -> list[str]:
        """The worker's log, line by line, rotated files included."""
        text = ""
        for file in sorted(self.data.glob("worker.log*"), reverse=True):
            text += file.read_bytes().decode("utf-8")
        return text.split("\n")[:-1]


def durable_queued() -> bytes:
    """What a hook says that promised."""
    return b'{"output": "queued"}'


def run_texts(folder: Path, full: bool) -> Report:
    """Hostile scenes, then a Stash that answers rubbish, then hostile rows in both databases, for one worker."""
    report = Report()
    rng = random.Random(20260106)
    marker = folder / "touched"
    with Site(folder, full) as site:
        scenes = sorted(site.expected)
        site.courier.configure(**site.settings)
        spoiling = Spoiling(site.courier.stash, rng)
        site.courier.stash.restart()  # takes the site that spoils
        report.promised = site.save(scenes)
        pid = site.worker()
        site.drain(30.0, expedite=True)
        _judge_texts(site, report)
        report.delivered = len(set(site.latest()) & set(scenes))
        buried = set(site.dead())
        report.expect(buried == set(scenes), f"the leaky destination's bugs are no dead letters: {sorted(buried)}")

        spoiling.spoils = True
        for _ in range(60 if full else 8):
            site.save(rng.sample(scenes, 2))
            spoiling.await_more()
            site.expedite()
        spoiling.spoils = False
        count = len(site.receiver.received)
        again = site.save(scenes)
        site.expedite()
        site.drain(45.0, expedite=True)
        report.expect(again == len(scenes), f"of {len(scenes)} hooks {again} promised")
        report.expect(
            len(site.receiver.received) >= count + len(scenes), "after the rubbish not all scenes arrived"
        )
        _judge_texts(site, report)
        report.expect(site.workers() == [pid], f"the worker died of it: {pid} became {site.workers()}")

        fresh = _bad_secret(site, report)
        rows = _hostile_rows(site, marker)
        count = len(site.receiver.received)
        site.save(scenes[:2])
        with contextlib.suppress(TimeoutError):
            wait_until(lambda: len(site.receiver.received) >= count + 2, 30.0)
        report.expect(len(site.receiver.received) >= count + 2, "hostile rows keep good ones from being delivered")
        for mode in ("status", "review_dead_letters"):
            answer = json.loads(site.run(None, mode=mode))
            report.expect("output" in answer, f"{mode}: {answer}")
        report.expect(not marker.exists(), "code ran from a pickle")
        _judge_logs(site, report, fresh)
    report.done = (
        f"{len(scenes)} hostile scenes, {spoiling.spoilt} spoilt answers of Stash, {rows} hostile rows; "
        f"{len(site.receiver.received)} requests"
    )
    report.nothing_lost()
    return report


def _judge_texts(site: Site, report: Report) -> None:
    latest = site.latest()
    for scene, known in site.expected.items():
        if scene not in latest:
            report.expect(False, f"scene {scene} never arrived: {known['title'][:30]!r}")
            continue
        data = latest[scene].json()["data"]
        wanted = {"path": known["path"]} if scene == site.huge else known
        for name, text in wanted.items():
            same = data.get(name) == text
            report.expect(same, f"scene {scene}'s {name} arrived as {str(data.get(name))[:60]!r}")
        if scene == site.huge:  # DESTINATIONS.md: above 256 KiB what identifies the scene, and the body says so
            report.expect(data.get("truncated") is True, "a body that is cut doesn't say so")
            report.expect(len(latest[scene].body) < 256 << 10, "1 MB was sent")


def _bad_secret(site: Site, report: Report) -> str:
    """Has a fresh secret offered; the button alone shows it, in Stash's log, for the owner to copy."""
    site.courier.configure(webhook_secret=f"hunter2 {TOKEN}")
    site.rouse()
    site.save([1])
    with contextlib.suppress(TimeoutError):
        wait_until(lambda: '"Webhook, signing secret" is not' in site.courier.log(), 10.0)
    report.expect(
        '"Webhook, signing secret" is not' in site.courier.log(), "worker.log doesn't name the bad setting"
    )
    offered = WHSEC.findall(site.run(None, mode="status").decode())
    report.expect(bool(offered), "«Show status» offers no fresh secret")
    site.courier.configure(**site.settings)
    return offered[0] if offered else ""


def _hostile_rows(site: Site, marker: Path) -> int:
    """Stops the worker and puts rows of all kinds of rubbish into both databases; returns how many."""
    pid = site.worker()
    site.signal(pid, signal.SIGTERM)
    wait_until(lambda: pid not in site.workers(), 30.0)
    evil = pickle.dumps({"job": Touch(marker)}, protocol=4)
    inbox = [b"\x00", b"[" * 10_000, evil, b'{"scene": "\xff"}', "text\udcff".encode("utf-8", "surrogateescape")]
    rows = len(inbox)
    with site.queue() as queue:
        conn = queue.connection
        conn.executemany(schema.INSERT.format(table_name=schema.INBOX), [(raw, 0.0) for raw in inbox])
        destination = next(name for (name,) in conn.execute("SELECT destination FROM destinations ORDER BY 1"))
        for scene, column, value in (
            (900, "data", evil),
            (901, "event", b"\xff"),
            (902, "timestamp", "soon"),
            (903, "changed", FORGED),
            (904, "data", json.dumps({**FACTS, "history": [FORGED]})),
            (905, "attempts", "x"),
            (906, "seq", "x"),
            (907, "due", 0.0),
            (908, "due", "soon"),
            (909, "due", b"\xff"),
        ):
            values = {"data": json.dumps(FACTS), "event": "update", "timestamp": 1.0, "changed": "", "attempts": 0}
            values |= {"seq": 1, "due": 1.0, "status": 0, "destination": destination, "scene_id": scene}
            values[column] = value
            conn.execute(
                f"INSERT INTO {schema.DELIVERIES} ({', '.join(values)}) VALUES (:{', :'.join(values)})", values
            )
            rows += 1
    dead_letters = DeadLetterQueue(site.data)
    try:
        for scene in (910, 911):
            job = Delivery(1, f"webhook:{FORGED}", scene, "update", (), 1, 1.0)
            dead_letters.add(job, DeliveryFailed(Failure.ITEM_REFUSED, FORGED), 1, title=codec.storable(FORGED))
    finally:
        dead_letters.close()
    with closing(sqlite3.connect(site.data / files.DLQ_DB, isolation_level=None)) as conn:
        conn.execute("UPDATE dead_letters SET job_data = ?, state = 'asked' WHERE scene_id >= 910", (evil,))
        conn.execute("UPDATE dead_letters SET history = x'ff' WHERE scene_id = 911")
    site.rouse()
    return rows + 2


def _judge_logs(site: Site, report: Report, fresh: str) -> None:
    lines = site.logs()
    odd = [line for line in lines if not LINE.match(line) or not line.isprintable()]
    report.expect(not odd, f"{len(odd)} of {len(lines)} lines of worker.log are none of its own: {odd[:2]}")
    dead_letters = DeadLetterQueue(site.data)
    try:
        dead = len(dead_letters.get_recent(ALL))
    finally:
        dead_letters.close()
    said = site.said.decode("utf-8", "replace")
    report.expect("Traceback" not in "\n".join(lines) + said, "a traceback reached worker.log or Stash")
    argv = b"".join(Path(f"/proc/{pid}/cmdline").read_bytes() for pid in site.workers())
    report.expect(bool(argv), "no worker is left")
    dlq = b"".join(file.read_bytes() for file in site.data.glob(f"{files.DLQ_DB}*"))
    places = {"worker.log": "\n".join(lines).encode(), "a plugin's output": site.said, "argv": argv, "dlq.db": dlq}
    for place, content in places.items():
        offered = [fresh] if fresh and place != "a plugin's output" else []
        for secret in (*SECRETS, *offered):
            report.expect(secret.encode() not in content, f"{place} holds the secret {secret[:6]}…")
    report.dead = 0
    report.expect(dead > 0, "nothing was buried, so nothing was shown about dead letters")


def run_hostile(folder: Path, full: bool) -> Report:
    """Fuzz of the hook, the settings, the answers and the rows, each against the code that reads it."""
    unit = "tests/unit/"
    return run_tests(
        folder,
        full,
        "fuzz of stdin, settings, answers and rows",
        "tests/integration/test_hostile.py",
        *(f"{unit}{name}.py" for name in ("test_pickles", "test_queue_rows", "test_settings")),
        f"{unit}test_webhook.py::test_no_setting_is_too_odd",
        f"{unit}test_log.py::test_any_text",
    )


# atheris

FUZZ = Path(sys.prefix).parent / ".build" / "fuzz"  # of the checkout whose .venv runs this, also for a copy of it


def _no_atheris() -> str:
    if not (FUZZ / ".installed").exists():
        return "atheris is not installed (make torture installs it)"
    return (FUZZ / ".installed").read_text().strip()


def run_codec(folder: Path, full: bool) -> Report:
    """atheris against the codec of both databases."""
    report = Report()
    runs = 2_000_000 if full else 40_000
    done = 0
    for target in ("event", "delivery", "history", "pickle"):
        corpus = folder / target
        corpus.mkdir()
        command = [str(FUZZ / "venv" / "bin" / "python"), "-m", "tests.faults.codec_fuzz", target, str(corpus)]
        limits = [f"-runs={runs // 4}", "-max_len=600", "-seed=20260106", "-timeout=20", "-rss_limit_mb=512"]
        ran = subprocess.run(
            [*command, *limits], cwd=ROOT, capture_output=True, text=True, check=False, timeout=3600
        )
        counted = re.search(r"Done (\d+) runs", ran.stderr)
        done += int(counted[1]) if counted else 0
        found = re.search(r"Uncaught Python exception.*?\n(\w[\w.]*: [^\n]*)", ran.stderr, re.DOTALL)
        why = found[1] if found else ran.stderr[-600:]
        report.expect(ran.returncode == 0, f"{target}: {why}")
    report.done = f"{done} inputs that atheris made for the codec of queue.db and dlq.db"
    return report


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
                Mutation("queue/pickles.py", "    _check(data)\n", ""),
                Mutation("queue/pickles.py", "_PlainUnpickler(io.BytesIO(data)).load()", "pickle.loads(data)"),
            ],
        ],
    ),
    Row(
        "hostile",
        run_hostile,
        [
            [
                Mutation(
                    "plugin/hook.py",
                    "except (ValueError, RecursionError) as error:",
                    "except LookupError as error:",
                ),
            ],
        ],
        own_test=True,
    ),
    Row(
        "codec",
        run_codec,
        [
            [
                Mutation("queue/pickles.py", "    _check(data)\n", ""),
                Mutation("queue/pickles.py", "_PlainUnpickler(io.BytesIO(data)).load()", "pickle.loads(data)"),
            ],
            [
                Mutation(
                    "queue/codec.py",
                    "        fields = parsed(data)\n",
                    "        fields = eval(data)\n",
                )
            ],
        ],
        missing=_no_atheris,
    ),
]
