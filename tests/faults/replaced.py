"""queue.db or dlq.db is removed or replaced under a live worker, as by a restore, while hooks run."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from stash_courier.queue import repair
from stash_courier.queue.inbox import files
from tests.faults.row import Mutation, Report, Row
from tests.faults.testbed import Testbed
from tests.standin.receivers import Reply
from tests.support.harness import wait_until

TAKEN = ": rows taken over: "  # in the log, when the worker works with the new file
REFUSED = 3  # this scene and the one of twice its id are refused, which makes dead letters


def _remove(path: Path, backup: Path) -> None:
    path.unlink()


def _remove_with_log(path: Path, backup: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def _restore(path: Path, backup: Path) -> None:
    copy = path.with_name("restored")
    shutil.copy(backup, copy)
    copy.replace(path)


def _empty(path: Path, backup: Path) -> None:
    copy = path.with_name("restored")
    copy.touch(mode=0o600)
    copy.replace(path)


KINDS: dict[str, Callable[[Path, Path], None]] = {
    "removed": _remove,
    "removed with its log": _remove_with_log,
    "replaced by a backup": _restore,
    "replaced by an empty file": _empty,
}


def run_replaced(folder: Path, full: bool) -> Report:
    """Each kind of replacement happens while events, deliveries and dead letters wait and hooks stream in."""
    rounds, hooks = (3, 30) if full else (1, 10)
    report = Report()
    for name in (files.QUEUE_DB, files.DLQ_DB):
        for number, (kind, act) in enumerate(list(KINDS.items()) * rounds):
            (here := folder / f"{name}-{number}").mkdir()
            one = _one(here, name, act, hooks)
            report.promised += one.promised
            report.delivered += one.delivered
            report.dead += one.dead
            report.duplicated += one.duplicated
            report.failures += [f"{name} {kind}: {failure}" for failure in one.failures]
    report.done = f"{2 * rounds * len(KINDS)} times a database removed or replaced while {hooks} hooks streamed in"
    report.nothing_lost()
    return report


def _one(folder: Path, name: str, act: Callable[[Path, Path], None], hooks: int) -> Report:
    report = Report()
    with Testbed(folder, 4 * hooks) as testbed:
        refused = {str(REFUSED), str(2 * REFUSED)}  # a third one without a success between holds the connection
        testbed.answer = lambda request: Reply(400 if request.json()["data"]["id"] in refused else 200)
        testbed.hooks(range(1, hooks + 1))
        wait_until(lambda: not testbed.waiting(), 30.0)
        path, backup = testbed.data / name, folder / "backup"
        with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(backup)) as target:
            source.backup(target)
            target.execute("PRAGMA journal_mode = WAL")
        # Deliveries wait for the receiver, and then events for Stash.
        testbed.receiver.down()
        testbed.hooks(range(hooks + 1, 2 * hooks + 1))
        wait_until(lambda: testbed.courier.log().count("gets nothing for now"), 15.0)
        testbed.courier.stash.stop()
        testbed.hooks(range(2 * hooks + 1, 3 * hooks + 1))
        running = [testbed.hook(scene) for scene in range(3 * hooks + 1, 3 * hooks + hooks // 2)]
        before = testbed.worker()
        act(path, backup)
        running += [testbed.hook(scene) for scene in range(3 * hooks + hooks // 2, 4 * hooks + 1)]
        for hook in running:
            report.expect(hook.end(), f"a hook promised nothing: {hook.stdout!r}")
        testbed.courier.stash.start()
        testbed.receiver.up()
        try:
            wait_until(lambda: TAKEN in testbed.courier.log(), 15.0)
            testbed.drain(60.0, expedite=True)
        except TimeoutError:
            report.failures.append("the worker took over nothing within 15 s")
            testbed.kill_worker()  # as a container ends; what is lost is lost now
            testbed.rouse()
            wait_until(lambda: not path.exists() or repair.is_sound(path), 15.0)
            testbed.drain(60.0, expedite=True)
        report.expect(testbed.workers() == [before], "the worker didn't go on")
        testbed.check_integrity(report)
        testbed.settle(report)
        dead = set(testbed.dead())
        report.expect(dead == {int(scene) for scene in refused}, f"dead letters of {sorted(dead)}")
        report.expect(not list(testbed.data.glob("*former*")), "what was taken over is still there")
    return report


ROWS = [
    Row(
        "replaced",
        run_replaced,
        [
            [Mutation("worker/main.py", "runtime.follow_files(GRACE_SECONDS)\n", "pass\n")],
            [Mutation("worker/runtime.py", "            replaced.keep(conn, path)\n", "            pass\n")],
        ],
        missing=lambda: "a file in use can't be replaced on Windows" if os.name == "nt" else "",
    ),
]
