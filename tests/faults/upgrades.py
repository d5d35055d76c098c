"""Data folders of other schema versions: an earlier one is upgraded, a newer one refused and not changed."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

from stash_courier.queue import migrate
from stash_courier.queue.dead_letters import statements as dlq_statements
from stash_courier.queue.inbox import files, schema, store
from stash_courier.worker.connections.store import Store
from stash_courier.worker.destinations.media.record import Record
from tests import ROOT
from tests.faults.row import Mutation, Report, Row, copy_checkout
from tests.faults.testbed import STALL_SECONDS, Testbed
from tests.faults.trace import STRACE, Disk, Op, read
from tests.support import durable, kill
from tests.support.harness import PLUGIN, wait_until
from tests.support.press import states

SAMPLES = ROOT / "tests" / "samples"
DATABASES = (files.QUEUE_DB, files.DLQ_DB)
EARLIER = (1, 2, 3, 4, 5)  # schema versions of queue.db; in one plugin dlq.db had the same, or
LAST_DLQ = 4  # the last
NEWEST = {name: len(steps) + 1 for name, steps in migrate.STEPS.items()}
REMOVED = "webhook:removed.example"
FACTS = {"path": "", "oshash": "", "checksum": ""}  # a delivery's data, as JSON
# Columns of deliveries, by the names that they have had since version 3.
RENAMED = {"attempts": "counted_attempts", "tries": "attempts"}
# As plugins of version 2 made covers.db.
COVERS = """
CREATE TABLE IF NOT EXISTS covers (
    destination TEXT NOT NULL, scene_id INTEGER NOT NULL, digest BLOB NOT NULL, PRIMARY KEY (destination, scene_id)
) WITHOUT ROWID"""
PAUSE_SECONDS = 1.0  # how long is watched that nothing is delivered
# As the owner of an earlier plugin had set it up, besides the webhook.
SETTINGS = {
    "filter_skip_tags": "private",
    "webhook_headers": "X-Gate: open",
    "delivery_timeout_seconds": 7,
    "delivery_retry_schedule": "1s",
    "sweep_off": True,
}
CONVERTED = {"worker_timeout_seconds": 7, "worker_schedule": "1s", "worker_sweep_off": True}  # what is left
# What the folder has of a scene, by kind.
KINDS = (
    *("inbox", "waiting", "backing_off", "bulk", "in_flight", "overtaken", "suspect", "removed"),
    *("dead", "asked", "back", "resolved", "sent", "filtered", "destroyed"),
)
# These must not be delivered.
DEAD = {"dead", "removed"}
ENDED = {"resolved", "sent", "filtered", "destroyed"}


@dataclass(frozen=True, slots=True)
class Old:
    """The data folder of an earlier plugin."""

    destination: str
    each: int  # scenes of each kind
    version: int  # one of EARLIER

    @property
    def covers(self) -> dict[int, bytes]:
        """Digests of the covers that were sent, by scene."""
        scenes = self.scenes("sent") if self.version > 1 else []
        return {scene: hashlib.sha256(b"%d" % scene).digest() for scene in scenes}

    def scenes(self, *kinds: str) -> list[int]:
        """The scenes of these kinds. No scene is of two kinds."""
        firsts = [KINDS.index(kind) * self.each + 1 for kind in kinds]
        return [scene for first in firsts for scene in range(first, first + self.each)]

    def make(self, data: Path) -> None:
        """Writes the files, none of which exists."""
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        now = time.time()
        seq = int((now - 3600) * 1e6)
        with closing(_new(data / files.QUEUE_DB, self.version)) as conn:
            self._fill_queue(conn, now, seq)
        with closing(_new(data / files.DLQ_DB, min(self.version, LAST_DLQ))) as conn:
            _insert(conn, "dead_letters", self._dead_letters(now, seq))
        if self.version == 2:
            with closing(sqlite3.connect(data / migrate.COVERS_DB)) as conn, conn:
                conn.execute(COVERS)
                rows = [(self.destination, scene, digest) for scene, digest in self.covers.items()]
                conn.executemany(
                    "INSERT INTO covers VALUES (?, ?, ?)", [*rows, (self.destination, 10**6, b"gone")]
                )

    def _fill_queue(self, conn: sqlite3.Connection, now: float, seq: int) -> None:
        _insert(conn, "ack_queue_deliveries", self._deliveries(now, seq))
        last = seq + len(KINDS) * self.each
        conn.execute("INSERT INTO sqlite_sequence VALUES ('ack_queue_inbox', ?)", (last,))
        events = ({"scene": s, "event": "update", "changed": ["title"], "at": now} for s in self.scenes("inbox"))
        rows = ({"data": json.dumps(e).encode(), "timestamp": now, "status": 0} for e in events)
        _insert(conn, "ack_queue_inbox", rows)
        sent = {"destination": self.destination, "updated_at": "2026-01-05T10:00:00Z", "fetched_at": now}
        outcomes = {"sent": "sent", "filtered": "filtered", "destroyed": "sent"}
        _insert(
            conn,
            "sent",
            (
                {
                    **sent,
                    "scene_id": scene,
                    "seq": seq,
                    "path": f"/media/{scene}.mp4",
                    "outcome": outcome,
                    **self._record(scene),
                }
                for kind, outcome in outcomes.items()
                for scene in self.scenes(kind)
            ),
        )
        removed = {"state": "well", "removed_at": now - 31 * 86_400.0}
        conn.execute("INSERT INTO destinations VALUES (?, ?)", (REMOVED, json.dumps(removed)))
        conn.execute("INSERT INTO control VALUES ('paused', ?)", (json.dumps(now - 60),))

    def _record(self, scene: int) -> dict[str, object]:
        """What the ledger's row has of the cover."""
        cover = self.covers.get(scene)
        if self.version < 5:
            return {"cover": cover} if self.version > 2 else {}
        return {"record": Record(cover=cover.hex()).encode() if cover else None}

    def _deliveries(self, now: float, seq: int) -> Iterator[dict[str, object]]:
        past = {"at": now - 60, "failure": "busy", "message": "HTTP status 503", "status": 503, "answer": ""}
        later = {
            "later_event": "update",
            "later_changed": "date",
            "later_data": json.dumps(FACTS),
            "later_at": now,
        }
        special: Mapping[str, Mapping[str, object]] = {
            "waiting": {},
            "backing_off": {"tries": 2, "attempts": 1, "data": json.dumps({**FACTS, "history": [past]})},
            "bulk": {"priority": 1 if self.version < 3 else 2},
            "in_flight": {"status": 2},
            "overtaken": {"status": 2, **later, "later_due": now},
            "suspect": {"suspect": 1, "deaths": 1},
            "removed": {"destination": REMOVED},
            "back": {"generation": 4},
            "destroyed": {"event": "destroy", "data": json.dumps({**FACTS, "path": "/media/gone.mp4"})},
        }
        names = RENAMED if self.version > 2 else {}
        for kind, more in special.items():
            for scene in self.scenes(kind):
                row = {
                    "data": json.dumps(FACTS),
                    "timestamp": now - 60,
                    "status": 0,
                    "destination": self.destination,
                    "scene_id": scene,
                    "event": "update",
                    "changed": "title",
                    "seq": seq + scene,
                    "taken": seq + scene,
                    "due": now - 30,
                    "priority": 0,
                    "attempts": 0,
                    "tries": 0,
                    "generation": 0,
                    "suspect": 0,
                    "deaths": 0,
                    "later_event": None,
                    "later_changed": None,
                    "later_data": None,
                    "later_at": None,
                    "later_due": None,
                    **more,
                }
                yield {names.get(name, name): value for name, value in row.items()}

    def _dead_letters(self, now: float, seq: int) -> Iterator[dict[str, object]]:
        generations = {"dead": 1, "asked": 2, "back": 3, "resolved": 1}
        for state, generation in generations.items():
            for scene in self.scenes(state):
                job = {"scene_id": scene, "event": "update", "changed": ["title"], "path": f"/media/{scene}.mp4"}
                yield {
                    "job_id": f"msg_{seq + scene}_{scene}",
                    "scene_id": scene,
                    "destination": self.destination,
                    "event": "update",
                    "title": f"Film {scene}",
                    "job_data": pickle.dumps(job, protocol=4),
                    "history": "[]",
                    "error_type": "item_refused",
                    "error_message": "It answered 400.",
                    "stack_trace": "",
                    "retry_count": 1,
                    "failed_at": now - scene,
                    "state": state,
                    "generation": generation,
                    "seq": seq + scene,
                    "reviewed_at": None,
                    "plugin_version": "0.1.0",
                    **({"group_key": "1", "group_text": "It answered 400."} if self.version > 2 else {}),
                }


def _new(path: Path, version: int) -> sqlite3.Connection:
    """An empty file as a plugin of this version made it: from its own SQL, never from today's."""
    script = (SAMPLES / f"{path.stem}-version-{version}.sql").read_text()
    conn = sqlite3.connect(path, isolation_level=None)
    path.chmod(0o600)
    conn.executescript(f"PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL; {script}")
    return conn


def _insert(conn: sqlite3.Connection, table: str, rows: Iterable[Mapping[str, object]]) -> None:
    rows = list(rows)
    names = list(rows[0])
    statement = f"INSERT INTO {table} ({', '.join(names)}) VALUES (:{', :'.join(names)})"
    conn.execute("BEGIN")
    conn.executemany(statement, rows)
    conn.execute("COMMIT")


def content(data: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of both files by table, without what later versions changed: records, notes, receipts, groups."""
    found: dict[str, list[tuple[Any, ...]]] = {}
    for name in DATABASES:
        with closing(sqlite3.connect(data / name)) as conn:
            tables = conn.execute("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name").fetchall()
            found |= {table: sorted(conn.execute(f"SELECT * FROM {table}"), key=repr) for (table,) in tables}
    with closing(sqlite3.connect(data / files.DLQ_DB)) as conn:
        totals = "SELECT error_type, destination, sum(n) FROM totals GROUP BY 1, 2 ORDER BY 1, 2"
        found["totals"] = conn.execute(totals).fetchall()
    found["dead_letters"] = [row[:18] for row in found["dead_letters"]]
    deliveries = [(*row[:11], row[11] > 0, *row[12:]) for row in found["ack_queue_deliveries"]]
    for table in ("receipts", "delivered", "waiting"):
        found.pop(table, None)
    return {**found, "ack_queue_deliveries": deliveries, "sent": [row[:7] for row in found["sent"]]}


def covers(data: Path) -> dict[int, bytes]:
    """The covers in the ledger's records, by scene."""
    with closing(sqlite3.connect(data / files.QUEUE_DB)) as conn:
        rows = conn.execute("SELECT scene_id, record FROM sent WHERE record IS NOT NULL").fetchall()
        return {scene: cover for scene, row in rows if (cover := bytes.fromhex(Record.decode(row).cover))}


def ungrouped(data: Path) -> int:
    """Dead letters without a group."""
    with closing(sqlite3.connect(data / files.DLQ_DB)) as conn:
        counted = conn.execute("SELECT count(*) FROM dead_letters WHERE group_key = '' OR group_text = ''")
        return int(counted.fetchone()[0])


def priorities(data: Path) -> set[int]:
    """The priorities of all deliveries."""
    with closing(sqlite3.connect(data / files.QUEUE_DB)) as conn:
        return {row[0] for row in conn.execute("SELECT priority FROM ack_queue_deliveries")}


def version(path: Path) -> int:
    """The file's schema version."""
    with closing(sqlite3.connect(path)) as conn:
        return int(conn.execute("PRAGMA user_version").fetchone()[0])


def run_upgrades(folder: Path, full: bool) -> Report:
    """Folders of earlier versions under a real worker. A newer plugin then uses one, and this one again."""
    each, hooks = (60, 40) if full else (2, 6)
    whole = Report()
    done = []
    for earlier in EARLIER:
        report = Report()
        place = folder / f"version-{earlier}"
        place.mkdir(parents=True)
        with Testbed(place / "testbed", len(KINDS) * each + 3 * hooks, common=SETTINGS) as testbed:
            old = Old(f"webhook:127.0.0.1:{testbed.receiver.port}", each, earlier)
            interrupted = _interrupt(old, place, report, full)
            first = len(KINDS) * each + 1
            _upgraded(testbed, old, report, range(first, first + hooks))
            done.append(f"version {earlier} upgraded under {hooks} hooks{interrupted}")
            if earlier == EARLIER[-1]:
                newer = _newer_plugin(folder / "newer")
                _refused(testbed, report, newer, range(first + hooks, first + 3 * hooks))
                done.append(f"a newer version refused to {hooks - 1} hooks")
            testbed.check_integrity(report)
            testbed.settle(report)
        buried = len(DEAD) * each
        report.expect(report.dead == buried, f"{report.dead} dead letters instead of {buried}")
        _add(whole, report)
    whole.done = "; ".join(done)
    whole.nothing_lost()
    return whole


def _add(whole: Report, part: Report) -> None:
    whole.promised += part.promised
    whole.delivered += part.delivered
    whole.dead += part.dead
    whole.duplicated += part.duplicated
    whole.failures += part.failures


# An earlier version


def _upgraded(testbed: Testbed, old: Old, report: Report, hooked: range) -> None:
    old.make(testbed.data)
    for kind in KINDS:
        if kind not in ENDED:
            for scene in old.scenes(kind):
                testbed.promise(scene, testbed.edit(scene))
    testbed.hook(hooked[0], STASH_COURIER_WORKER="off").must_promise()
    said = str(press(testbed, "status", worker="off").get("queue"))
    report.expect("The queue waits for its upgrade." in said, f"status says of the old file: {said}")
    private = hooked[-1]
    testbed.courier.stash.change_without_hook(private, tags=["Private"])
    testbed.hooks(hooked[1:], at_once=6)  # one of them starts the worker
    del testbed.promised[private]
    wait_until(lambda: {name: version(testbed.data / name) for name in NEWEST} == NEWEST, STALL_SECONDS)
    time.sleep(PAUSE_SECONDS)
    report.expect(not testbed.taken, "deliveries were paused, and some were made")
    status = press(testbed, "status")
    report.expect(
        status.get("paused_since") is not None, f"status doesn't say that deliveries are paused: {status}"
    )
    total = int(press(testbed, "review_dead_letters")["total"])
    dead, asked = (len(old.scenes(kind)) for kind in ("dead", "asked"))  # these are on their way back to the queue
    report.expect(dead <= total <= dead + asked, f"{total} dead letters are open")
    press(testbed, "resume")
    _converted(testbed, old, report)
    testbed.drain(120.0)
    report.expect(private not in {scene for _, scene, *_ in testbed.taken}, "a private scene was sent")
    destroyed = {
        int(r.json()["data"]["id"]) for r in testbed.receiver.received if r.json()["type"] == "scene.destroyed"
    }
    report.expect(destroyed == set(old.scenes("destroyed")), f"destroyed: {sorted(destroyed)}")
    idle = {scene for _, scene, *_ in testbed.taken} & set(old.scenes("resolved", "sent", "filtered", *DEAD))
    report.expect(not idle, f"what had ended was delivered again: {sorted(idle)}")
    kept = content(testbed.data)
    ledger = {row[1]: row[-1] for row in kept["sent"]}
    wanted = dict.fromkeys(old.scenes("sent"), "sent") | dict.fromkeys(old.scenes("filtered"), "filtered")
    report.expect(wanted.items() <= ledger.items(), "the ledger has lost rows")
    report.expect(covers(testbed.data) == old.covers, "the ledger has other covers than covers.db had")
    report.expect(not (testbed.data / migrate.COVERS_DB).exists(), "covers.db is still there")
    ends = dict.fromkeys(old.scenes("asked", "back", "resolved"), "resolved")
    ends |= dict.fromkeys(old.scenes(*DEAD), "dead")
    with suppress(TimeoutError):  # the last ones are noted after the queue is empty
        wait_until(lambda: states(testbed.data) == ends, 5.0)
    report.expect(states(testbed.data) == ends, f"states of the dead letters: {states(testbed.data)}")


def _converted(testbed: Testbed, old: Old, report: Report) -> None:
    """Nothing is sent before the settings of the earlier plugin were converted; ids and values stay."""
    time.sleep(PAUSE_SECONDS)
    report.expect(not testbed.taken, "something was sent before the settings were converted")
    said = str(press(testbed, "status").get("problems"))
    report.expect('Press "Convert settings"' in said, f"status says of the settings: {said}")
    made = press(testbed, "convert_settings").get("connections")
    report.expect(made == [old.destination], f"connections made: {made}")
    (entry,) = Store(testbed.data).read().entries
    report.expect(entry.values.get("headers") == SETTINGS["webhook_headers"], "the webhook's headers are lost")
    left = testbed.courier.stash.config.plugins[PLUGIN]
    report.expect(left == CONVERTED, f"Stash's page has {sorted(left)}")


def press(testbed: Testbed, mode: str, worker: str = "on") -> dict[str, Any]:
    """Presses a button; its output, or its error. ``worker``: whether it may start one."""
    started = durable.start_hook(
        testbed.data,
        json.dumps(testbed.request(None, mode=mode)).encode(),
        testbed._command,
        STASH_COURIER_WORKER=worker,
    )
    answer = json.loads(started.communicate(timeout=60)[0])
    return dict(answer.get("output") or answer)


def _interrupt(old: Old, folder: Path, report: Report, full: bool) -> str:
    """Upgrades with power cuts and kills: each leaves both files sound, in one version or the other."""
    if not kill.can_trace():
        return ""
    template, traced = folder / "template", folder / "traced"
    old.make(template)
    before = content(template)
    shutil.copytree(template, traced)
    command = [*STRACE, "-o", str(folder / "trace"), *_alone(traced)]
    subprocess.run(command, cwd=ROOT, check=True, timeout=120)
    ops = read(folder / "trace")
    moments = [number for number, op in enumerate(ops) if op.path.startswith(f"{traced}/")]
    cuts = sorted(random.Random(20260105).choices(moments, k=500 if full else 50))
    disk, at = Disk(traced), 0
    for op in _as_found(template, traced):
        disk.happen(op)
    with tempfile.TemporaryDirectory(prefix="faults-upgrades-") as made:
        for moment in cuts:
            for op in ops[at : moment + 1]:
                disk.happen(op)
            at = moment + 1
            target = Path(made) / "cut"
            disk.cut(target, random.Random(moment))
            _whole(old, target, before, report, f"a power cut at call {moment}")
    killed = 0
    if full:
        work = folder / "killed"
        work.mkdir()
        with patch.object(kill, "FULL", True):
            for killing in kill.sweep(template, work, _alone):
                killed += 1
                _whole(old, killing.folder, before, report, f"a kill at {killing.call} {killing.number}")
    return f", {len(cuts)} power cuts and {killed} kills"


def _alone(data: Path) -> list[str]:
    return [sys.executable, "-m", "tests.faults.upgrades", str(data)]


def _as_found(template: Path, data: Path) -> Iterator[Op]:
    """The content of the disk before, as system calls."""
    for file in sorted(template.iterdir()):
        path = str(data / file.name)
        yield Op("make", 0.0, 0.0, 0, path)
        yield Op("write", 0.0, 0.0, 0, path, data=file.read_bytes(), offset=0)
        yield Op("sync", 0.0, 0.0, 0, path)
    yield Op("sync", 0.0, 0.0, 0, str(data))


def indexes(data: Path) -> dict[str, list[str]]:
    """The columns of each index of both files."""
    found: dict[str, list[str]] = {}
    for name in DATABASES:
        with closing(sqlite3.connect(data / name)) as conn:
            names = [row[0] for row in conn.execute("SELECT name FROM sqlite_schema WHERE type = 'index'")]
            found |= {index: [row[2] for row in conn.execute(f"PRAGMA index_info({index})")] for index in names}
    return found


@cache
def indexes_of_new_files() -> dict[str, list[str]]:
    """The columns of each index of files that this plugin makes."""
    with tempfile.TemporaryDirectory() as made:
        store.create(f"{made}/{files.QUEUE_DB}")
        store.make(f"{made}/{files.DLQ_DB}", dlq_statements.CREATE)
        return indexes(Path(made))


def _whole(old: Old, data: Path, before: Mapping[str, object], report: Report, after: str) -> None:
    """Expects both files to be sound, with all their rows, and the next start to finish the upgrade."""
    if len(report.failures) > 3:
        return  # more failures would say nothing new
    try:
        for name in DATABASES:
            with closing(sqlite3.connect(data / name)) as conn:
                said = conn.execute("PRAGMA integrity_check").fetchone()[0]
            report.expect(said == "ok", f"{after}: {name} is damaged: {said}")
        report.expect(content(data) == before, f"{after}: rows have changed")
        migrate.migrate(data)
        report.expect(content(data) == before, f"{after}: the next start has changed rows")
        report.expect(priorities(data) == {0, 2}, f"{after}: the priorities are {priorities(data)}")
        report.expect({name: version(data / name) for name in NEWEST} == NEWEST, f"{after}: not upgraded")
        report.expect(indexes(data) == indexes_of_new_files(), f"{after}: the indexes are {indexes(data)}")
        report.expect(ungrouped(data) == 0, f"{after}: {ungrouped(data)} dead letters have no group")
        report.expect(covers(data) == old.covers, f"{after}: the ledger has other covers than covers.db had")
    except sqlite3.Error as error:
        report.expect(False, f"{after}: {error}")


# A newer version


def _newer_plugin(target: Path) -> Path:
    """A later version of this plugin, whose files have the next schema version."""
    root = copy_checkout(target)
    for name, module, step in (
        (files.QUEUE_DB, "schema", "QUEUE_6_RECEIPTS)"),
        (files.DLQ_DB, "dlq_statements", "DLQ_5_SEARCH)"),
    ):
        number = NEWEST[name]
        Mutation(f"queue/{module}.py", f"VERSION = {number} ", f"VERSION = {number + 1} ").apply(root)
        longer = f'{step[:-1].rstrip(",")}, "CREATE TABLE newer (x);")'
        Mutation("queue/migrate.py", step, longer).apply(root)
    return root


def _refusal(name: str) -> str:
    """What is said of a file of the newer plugin."""
    known = NEWEST[name]
    return f"has schema version {known + 1}, and this plugin knows only versions up to {known}: install the newer"


def _refused(testbed: Testbed, report: Report, newer: Path, scenes: range) -> None:
    """The newer plugin works, then this one meets its files, then the newer one comes back."""
    hooks = len(scenes) // 2
    _end(testbed)
    testbed.receiver.down()
    testbed.root = newer
    testbed.hooks(scenes[:hooks])
    wait_until(lambda: all(version(testbed.data / name) == NEWEST[name] + 1 for name in DATABASES), STALL_SECONDS)
    wait_until(lambda: not list((testbed.data / files.SPOOL).glob("*.json")), STALL_SECONDS)
    with closing(sqlite3.connect(testbed.data / files.QUEUE_DB)) as conn:
        wait_until(lambda: conn.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0, 10.0)
    testbed.hook(scenes[hooks], STASH_COURIER_WORKER="off").must_promise()  # this one is only in the log
    testbed.kill_worker()
    before = _digests(testbed.data)
    report.expect(f"{files.QUEUE_DB}-wal" in before, "the newer plugin left no log, so less is shown")

    _refuse(testbed, report, scenes[hooks + 1 :])
    report.expect(_digests(testbed.data) == before, "the newer plugin's files have changed")

    testbed.root = newer
    testbed.receiver.up()
    testbed.rouse()
    give_up = time.monotonic() + 60.0
    while _waiting(testbed.data) and time.monotonic() < give_up:
        time.sleep(0.1)
    report.expect(_waiting(testbed.data) == 0, "the newer plugin did not deliver what waited for it")
    _end(testbed)
    for name in DATABASES:  # so that this checkout can read them again
        with closing(sqlite3.connect(testbed.data / name)) as conn:
            conn.execute(f"PRAGMA user_version = {NEWEST[name]}")


def _refuse(testbed: Testbed, report: Report, scenes: range) -> None:
    """This plugin keeps events in the spool and says everywhere that the files are newer."""
    logged_before = len(testbed.courier.log())
    testbed.root = ROOT
    testbed.hooks(scenes)
    wait_until(lambda: not testbed.workers(), 20.0)
    kept = len(list((testbed.data / files.SPOOL).glob("*.json")))
    report.expect(kept == len(scenes), f"{kept} changes are in the spool")
    logged = testbed.courier.log()[logged_before:]
    refusal = _refusal(files.QUEUE_DB)
    report.expect(refusal in logged, f"worker.log doesn't say that the version is newer: {logged}")
    report.expect("Traceback" not in logged, f"worker.log has a traceback: {logged}")
    said = str(press(testbed, "status").get("queue"))
    report.expect(refusal in said, f"status says of the newer version: {said}")
    said = str(press(testbed, "review_dead_letters").get("error"))
    report.expect(_refusal(files.DLQ_DB) in said, f"the dead letters' button says of the newer version: {said}")
    wait_until(lambda: not testbed.workers(), 20.0)


def _end(testbed: Testbed) -> None:
    for pid in testbed.workers():
        testbed.signal(pid, signal.SIGTERM)
    wait_until(lambda: not testbed.workers(), 20.0)


def _digests(data: Path) -> dict[str, str]:
    """The files' digests, without empty logs."""
    found = [data / f"{name}{suffix}" for name in DATABASES for suffix in ("", "-wal")]
    return {
        file.name: hashlib.sha256(file.read_bytes()).hexdigest()
        for file in found
        if file.exists() and file.stat().st_size
    }


def _waiting(data: Path) -> int:
    with closing(sqlite3.connect(data / files.QUEUE_DB)) as conn:
        tables = (schema.INBOX, schema.DELIVERIES)
        counts = [int(conn.execute(f"SELECT count(*) FROM {table}").fetchone()[0]) for table in tables]
    return sum(counts) + len(list((data / files.SPOOL).glob("*.json")))


ROWS = [
    Row(
        "upgrades",
        run_upgrades,
        [
            [Mutation("worker/runtime.py", "        migrate.migrate(self.folder)\n", "")],
            [
                Mutation(
                    "queue/migrate.py",
                    "BEGIN IMMEDIATE; {step} PRAGMA user_version = {number}; COMMIT",
                    "PRAGMA user_version = {number}; {step}",
                )
            ],
            [Mutation("queue/migrate.py", "_covers(path.with_name(COVERS_DB))", "[]")],
            [Mutation("queue/migrate.py", "lower(hex(record))", "lower(hex('x'))")],
            [  # filters of an earlier version don't hold anything up
                Mutation("worker/connections/quick_start.py", "    former = [key", "    former = [] and [key")
            ],
            [  # they get lost
                Mutation(
                    "worker/connections/quick_start.py",
                    "values={**own, **entry.values})",
                    "values=dict(entry.values))",
                )
            ],
            [Mutation("queue/inbox/store.py", "    if found != version:\n", "    if found < version:\n")],
            [Mutation("queue/inbox/store.py", "        close_untouched(conn, path)\n", "        conn.close()\n")],
        ],
    ),
]


if __name__ == "__main__":
    os.environ.setdefault("PYTHONDONTWRITEBYTECODE", "1")
    migrate.migrate(Path(sys.argv[1]))
