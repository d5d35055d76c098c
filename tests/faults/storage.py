"""Storage faults: a locked or damaged database, a full disk, failing syncs. Hooks keep their promises."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path

from stash_courier.queue import control
from stash_courier.queue.inbox import files
from tests.faults.row import Mutation, Report, Row
from tests.faults.testbed import Testbed
from tests.support import durable
from tests.support.harness import wait_until
from tests.support.kill import can_trace

HOOK_SECONDS = 5.0  # a whole hook on a busy machine; waiting for a lock takes 0.25 of it at most
SMALL = 2 << 20  # size of the small file system in bytes
FREE = (1 << 18, 1 << 16, 1 << 15, 1 << 14, 12 << 10, 8 << 10, 4 << 10, 0)  # free bytes, in this order
RECOVERY_SECONDS = 40.0  # from the end of the fault until all is delivered, without another edit


# A hook that can't put its event into the queue reports success instead of spooling it.
NOT_SPOOLED = Mutation(
    "queue/inbox/store.py", 'raise QueueUnavailable(f"{files.QUEUE_DB}: {error}") from error', "return 0"
)


def run_locked(folder: Path, full: bool) -> Report:
    """Another process holds the write lock of queue.db while hooks run."""
    seconds, hooks = (30.0, 40) if full else (3.0, 8)
    report = Report()
    slowest = 0.0
    with Testbed(folder, hooks + 1) as testbed:
        testbed.hooks([1])
        wait_until(lambda: testbed.taken, 15.0)
        with closing(sqlite3.connect(testbed.data / files.QUEUE_DB, isolation_level=None)) as holder:
            holder.execute("BEGIN IMMEDIATE")
            release = time.monotonic() + seconds
            for scene in range(2, hooks + 2):
                began = time.monotonic()
                report.expect(testbed.hook(scene, STASH_COURIER_WORKER="off").end(), "a hook promised nothing")
                slowest = max(slowest, time.monotonic() - began)
            time.sleep(max(0.0, release - time.monotonic()))
            holder.execute("ROLLBACK")
        _delivered_alone(testbed, report)
    report.done = f"write lock held {seconds:.0f} s while {hooks} hooks ran, the slowest for {slowest:.1f} s"
    report.expect(slowest < HOOK_SECONDS, f"a hook took {slowest:.1f} s")
    return report


def run_corrupt(folder: Path, full: bool) -> Report:
    """A page of queue.db is overwritten while twenty hooks write and twenty deliveries wait."""
    rounds = 6 if full else 1
    report = Report()
    total = 0
    for number in range(rounds):
        (here := folder / str(number)).mkdir()
        with Testbed(here, 40) as testbed:
            testbed.receiver.down()
            testbed.hooks(range(1, 21))
            wait_until(lambda: testbed.courier.log().count("gets nothing for now"), 15.0)
            hooks = [testbed.hook(scene) for scene in range(21, 41)]
            # An index page: all rows are still readable, so all must be saved.
            _damage(testbed.data, "deliveries_due")
            for hook in hooks:
                report.expect(hook.end(), f"a hook promised nothing: {hook.stdout!r}")
            _until_noticed(testbed.data, "deliveries_due")
            testbed.receiver.up()
            testbed.drain(60.0, expedite=True)
            with testbed.queue() as queue:
                notice = control.get(queue.connection, control.REPAIRED)
            report.expect(bool(notice) and "was damaged" in str(notice), "status doesn't report the damage")
            testbed.check_integrity(report)
            one = testbed.settle(Report())
        report.promised += one.promised
        report.delivered += one.delivered
        report.duplicated += one.duplicated
        report.failures += one.failures
        total += len(hooks)
    report.done = f"{rounds} times a page of queue.db overwritten while 20 hooks wrote and 20 deliveries waited"
    report.nothing_lost()
    return report


def _damage(data: Path, index: str) -> None:
    path = data / files.QUEUE_DB
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True, timeout=30.0)) as conn:
        wait_until(lambda: conn.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0, 30.0)
        root, size = (
            conn.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", (index,)).fetchone()[0],
            conn.execute("PRAGMA page_size").fetchone()[0],
        )
        with path.open("r+b") as file:
            file.seek((root - 1) * size)
            file.write(b"\xff" * size)


def _until_noticed(data: Path, index: str) -> None:
    """Waits until the worker has set the file aside; damages it again if a write restored the page."""
    for _ in range(5):
        with suppress(TimeoutError):
            wait_until(lambda: list(data.glob("queue.db.damaged-*")), 6.0)
            return
        with suppress(sqlite3.Error):  # it is being set aside just now
            _damage(data, index)
    raise TimeoutError("the worker didn't notice the damaged page")


def run_full_disk(folder: Path, full: bool) -> Report:
    """The file system of the data folder fills up while a worker and hooks run, and gets room again."""
    hooks = 60 if full else 15
    report = Report()
    config = folder / "config"
    config.mkdir()
    refused = 0
    with _small_disk(config / "stash_courier"), Testbed(folder, hooks + 2) as testbed:
        testbed.receiver.down()
        testbed.hooks([1])
        wait_until(lambda: testbed.courier.log().count("gets nothing for now"), 15.0)
        with testbed.queue() as queue:  # empty the WAL, whose free frames would hide the full disk
            truncate = partial(queue.connection.execute, "PRAGMA wal_checkpoint(TRUNCATE)")
            wait_until(lambda: truncate().fetchone()[0] == 0, 30.0)  # not while the worker reads
        filler = testbed.data / "filler"
        with filler.open("wb", buffering=0) as file:
            for scene in range(2, hooks + 2):
                _leave(FREE[(scene - 2) * len(FREE) // hooks], file.fileno(), testbed.data)
                hook = testbed.hook(scene)
                if not hook.end():
                    refused += 1
                    message = durable.failed(hook.process.returncode, hook.stdout, hook.stderr)
                    report.expect("could not be kept" in message, f"unclear message: {message}")
        filler.unlink()
        testbed.receiver.up()
        _delivered_alone(testbed, report, expedite=True)
        report.expect(testbed.hook(hooks + 2).end(), "a hook promised nothing after the disk had room again")
        testbed.drain()
        testbed.check_integrity(report)
        testbed.settle(report)
    report.done = (
        f"file system full while {hooks} hooks ran; {refused} reported that they could not keep their event"
    )
    report.expect(refused > 0, "the disk was never full")
    report.nothing_lost()
    return report


def _leave(left: int, fd: int, where: Path) -> None:
    """Resizes a file until ``left`` bytes of its file system are free."""
    os.ftruncate(fd, max(0, os.lseek(fd, 0, os.SEEK_END) - max(0, left - shutil.disk_usage(where).free)))
    os.lseek(fd, 0, os.SEEK_END)
    try:
        while (free := shutil.disk_usage(where).free) > left:
            os.write(fd, bytes(max(512, min(free - left, 1 << 16))))
    except OSError:
        return  # full


@contextmanager
def _small_disk(where: Path) -> Iterator[None]:
    where.mkdir(mode=0o700)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SMALL},mode=0700", "tmpfs", str(where)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(where)], check=True)


def _no_mount() -> str:
    if sys.platform != "linux" or os.geteuid() != 0:
        return "only root on Linux can mount a small file system"
    tried = subprocess.run(
        ["unshare", "-m", "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True, check=False
    )
    return "" if tried.returncode == 0 else "mounting a file system is not allowed here"


def run_io_error(folder: Path, full: bool) -> Report:
    """fdatasync fails with EIO, first for hooks, then for the worker."""
    hooks = 40 if full else 6
    report = Report()
    refused = 0
    with Testbed(folder, 3 * hooks + 1) as testbed:
        testbed.hooks([1])
        wait_until(lambda: testbed.taken, 15.0)
        once = ("strace", "-f", "-o", os.devnull, "-e", "trace=fdatasync,fsync", "-e")
        for scene in range(2, hooks + 2):
            hook = testbed.hook(scene, *once, "inject=fdatasync:error=EIO")
            report.expect(hook.end(), f"a hook didn't spool its event: {hook.stdout!r}")
        for scene in range(hooks + 2, 2 * hooks + 2):
            hook = testbed.hook(scene, *once, "inject=fdatasync,fsync:error=EIO", STASH_COURIER_WORKER="off")
            kept = hook.end()
            refused += not kept
            if not kept:
                message = durable.failed(hook.process.returncode, hook.stdout, hook.stderr)
                report.expect("could not be kept" in message, f"unclear message: {message}")
        testbed.drain()
        injected = [*once, "inject=fdatasync,fsync:error=EIO", "-p", str(testbed.worker())]
        with subprocess.Popen(injected, stderr=subprocess.DEVNULL) as strace:
            time.sleep(0.5)
            for scene in range(2 * hooks + 2, 3 * hooks + 2):
                report.expect(testbed.hook(scene, STASH_COURIER_WORKER="off").end(), "a hook promised nothing")
            wait_until(lambda: "can't be written" in testbed.courier.log(), 15.0)
            time.sleep(2.0)
            strace.send_signal(signal.SIGTERM)
        _delivered_alone(testbed, report)
    report.done = (
        f"EIO at fdatasync for {hooks} hooks, at every sync for {hooks} ({refused} reported it) and for the worker"
    )
    return report


def _delivered_alone(testbed: Testbed, report: Report, *, expedite: bool = False) -> None:
    """After the end of the fault the same worker delivers everything, without another event."""
    before = testbed.workers()
    give_up = time.monotonic() + RECOVERY_SECONDS
    while testbed.waiting() and time.monotonic() < give_up:
        if expedite:
            testbed.expedite()
        time.sleep(0.1)
    report.expect(bool(before), "the worker died")
    testbed.check_integrity(report)
    testbed.settle(report)
    report.nothing_lost()


def _no_strace() -> str:
    return "" if can_trace() else "strace is missing or not allowed to trace (apt-get install strace)"


ROWS = [
    Row(
        "locked",
        run_locked,
        [
            [NOT_SPOOLED],
            [
                Mutation(
                    "worker/main.py",
                    """            except sqlite3.OperationalError as error:
                log.error("the data folder can't be written""",
                    """            except ZeroDivisionError as error:
                log.error("the data folder can't be written""",
                )
            ],
        ],
        proof_full=True,  # the worker waits ten seconds for a lock, which is longer than the reduced run
    ),
    Row(
        "corrupt",
        run_corrupt,
        [[Mutation("queue/repair.py", "    saved = _save(unread, path)\n", "    saved = 0\n")]],
    ),
    Row(
        "full_disk",
        run_full_disk,
        [
            [
                Mutation(
                    "plugin/hook.py",
                    "        spool.put(folder, data)\n    except OSError as error:\n",
                    "        spool.put(folder, data)\n    except OSError as error:\n        return\n",
                )
            ]
        ],
        missing=_no_mount,
    ),
    Row(
        "io_error",
        run_io_error,
        [[NOT_SPOOLED]],
        missing=_no_strace,
    ),
]
