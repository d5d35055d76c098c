"""Power cuts: hooks and a worker run under strace, and the disk is rebuilt as a cut may leave it."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, suppress
from pathlib import Path

from stash_courier.queue import repair
from stash_courier.queue.dead_letters.dlq import DeadLetterQueue
from stash_courier.queue.deliveries.scene_queue import SceneQueue
from stash_courier.queue.inbox import files, schema, store
from stash_courier.queue.jobs import SceneEvent
from stash_courier.worker import process
from tests import ROOT
from tests.faults.row import Mutation, Report, Row
from tests.faults.testbed import ALL, QUEUED, Testbed, fast_folder
from tests.faults.trace import STRACE, Disk, read
from tests.standin.receivers import Reply
from tests.support import durable, transfers
from tests.support.harness import wait_until
from tests.support.kill import can_trace

REFUSED = 3  # the receiver refuses this scene, so it becomes a dead letter
AT_ONCE = 4
SPOOLED = 3  # hooks that find the queue locked


def run_power(folder: Path, full: bool) -> Report:
    """Cuts the power at random system calls and checks every promise that was made by then."""
    cuts, hooks = (1200, 40) if full else (150, 14)
    report = Report()
    with Testbed(folder, hooks) as testbed:
        testbed.answer = lambda received: Reply(400 if received.json()["data"]["id"] == str(REFUSED) else 200)
        scenes = _record(testbed, folder / "trace", hooks)
        accepted = {scene: at for at, scene, *_ in reversed(testbed.taken)}
    ops = read(folder / "trace")
    promised = {
        scenes[op.pid]: op.began for op in ops if op.kind == "say" and op.data == QUEUED and op.pid in scenes
    }
    report.promised = len(promised)
    moments = [n for n, op in enumerate(ops) if op.path.startswith(f"{testbed.data}/") or op.data == QUEUED]
    report.expect(len(moments) > hooks, "the trace has hardly any calls")
    report.expect(len(promised) == hooks, f"{hooks - len(promised)} hooks promised nothing")
    rng = random.Random(20260103)
    chosen = [(moment, False) for moment in rng.choices(moments, k=cuts)]
    # A missing sync is noticed only where a change of names relies on it, so each is followed by the worst cut.
    chosen += [(moment, True) for moment in moments if ops[moment].kind in {"rename", "unlink"}]
    disk, at, lost = Disk(testbed.data), 0, set[int]()
    damaged = 0
    with fast_folder(folder) as place:
        target = place / "cut"
        for moment, worst in sorted(chosen):
            for op in ops[at : moment + 1]:
                disk.happen(op)
            at = max(at, moment + 1)
            disk.cut(target, None if worst else rng)
            now = ops[moment].began
            found = _found(target)
            if isinstance(found, str):
                damaged += 1
                report.failures += [f"cut {moment}: {found}"] if damaged <= 3 else []
                continue
            due = {scene for scene, at in promised.items() if at <= now and accepted.get(scene, now) >= now}
            lost |= due - found
    report.dead = int(REFUSED in promised and REFUSED not in lost)
    report.delivered = report.promised - report.dead - len(lost)
    report.done = f"power cut {len(chosen)} times among {len(moments)} calls of {hooks} hooks and a worker"
    report.expect(damaged == 0, f"{damaged} cuts left a database that is damaged or can't be opened")
    report.nothing_lost()
    return report


def _record(testbed: Testbed, prefix: Path, hooks: int) -> dict[int, int]:
    """Runs the scenario under strace; returns the scene of each hook by its pid."""
    command = [
        *STRACE,
        "-o",
        str(prefix),
        sys.executable,
        "-m",
        "tests.faults.power",
        str(testbed.data),
        str(hooks),
    ]
    given = json.dumps(testbed.request(None))
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=testbed.environment()
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(given + "\n")
        child.stdin.flush()
        scenes = {int(pid): scene for pid, scene in json.loads(child.stdout.readline()).items()}
        # Only traced processes may open the files, so progress is taken from the receiver.
        wanted = set(range(1, hooks + 1)) - {REFUSED}
        with suppress(TimeoutError):
            wait_until(lambda: wanted <= {scene for _, scene, *_ in testbed.taken}, 60.0)
        time.sleep(1.0)  # so that the last outcomes are recorded
        child.stdin.close()
        child.wait(timeout=60)
    return scenes


def _found(folder: Path) -> set[int] | str:
    """The scenes that a worker knows after the cut, or a sentence if it can't start."""
    try:
        scenes = {event["scene"] for event in durable.spooled(folder)}
    except ValueError as error:
        return f"a spooled event is incomplete: {error}"
    has_queue, has_dlq = ((folder / name).exists() for name in repair.FILES)
    if has_dlq and not has_queue:
        return "there is dlq.db but no queue.db"
    if not has_queue:
        return scenes
    try:
        for name in repair.FILES:
            if (folder / name).exists():
                with closing(sqlite3.connect(folder / name)) as conn:
                    result = conn.execute("PRAGMA integrity_check").fetchone()[0]
                if result != "ok":
                    return f"{name}: {result}"
        transfers.do_heal(folder)
        store.put(str(folder), store.encode({"scene": ALL, "event": "update", "changed": [], "at": 0.0}), 0.0)
        with closing(SceneQueue(folder)) as queue, closing(DeadLetterQueue(folder)) as dead_letters:
            scenes |= {row.scene_id for row in queue.inbox_rows(ALL) if isinstance(row, SceneEvent)}
            rows = queue.connection.execute(f"SELECT scene_id FROM {schema.DELIVERIES}")
            scenes |= {scene for (scene,) in rows}
            scenes |= {dead_letter.scene_id for dead_letter in dead_letters.get_recent(ALL)}
    except (sqlite3.Error, store.QueueUnavailable) as error:
        return f"{type(error).__name__}: {error}"
    return scenes


def scenario(data: Path, hooks: int) -> None:
    """The traced part: parallel hooks, hooks that find the queue locked, a worker that delivers and ends."""
    given = json.loads(sys.stdin.readline())
    pids: dict[int, int] = {}

    def start(scene: int) -> subprocess.Popen[bytes]:
        given["args"]["hookContext"] = {"id": scene, "type": "Scene.Update.Post", "input": None}
        started = durable.start_hook(data, json.dumps(given).encode(), STASH_COURIER_WORKER="on")
        pids[started.pid] = scene
        return started

    running = [start(scene) for scene in range(1, AT_ONCE + 1)]
    for scene in range(AT_ONCE + 1, hooks - SPOOLED + 1):
        running.pop(0).communicate(timeout=60)
        running.append(start(scene))
    for hook in running:
        hook.communicate(timeout=60)
    # While another process holds the write lock, hooks spool their events.
    for scene in range(hooks - SPOOLED + 1, hooks + 1):
        with closing(sqlite3.connect(data / files.QUEUE_DB, isolation_level=None, timeout=5.0)) as holder:
            holder.execute("BEGIN IMMEDIATE")
            start(scene).communicate(timeout=60)
            holder.execute("ROLLBACK")
    sys.stdout.write(json.dumps(pids) + "\n")
    sys.stdout.flush()
    sys.stdin.read()
    if process.running(str(data)):
        os.kill(int(json.loads((data / files.WORKER_STATUS).read_text())["pid"]), signal.SIGTERM)


ROWS = [
    Row(
        "power",
        run_power,
        [
            [Mutation("queue/inbox/store.py", "PRAGMA synchronous = FULL", "PRAGMA synchronous = NORMAL")],
            [Mutation("queue/deliveries/scene_queue.py", "        self._late_sync.sync()\n", "")],
            [
                Mutation(
                    "queue/inbox/spool.py",
                    "            os.fsync(fd)\n        os.rename",
                    "        os.rename",
                )
            ],
        ],
        missing=lambda: (
            "" if can_trace() else "strace is missing or not allowed to trace (apt-get install strace)"
        ),
        cheap=True,
    ),
]


if __name__ == "__main__":
    scenario(Path(sys.argv[1]), int(sys.argv[2]))
