"""What storage does to the queue: locked, damaged, full, failing at a sync. Hooks keep their promises in it."""

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
from pathlib import Path

from stash_courier.queue import control, files
from tests.faults.field import Field
from tests.faults.row import Mutation, Report, Row
from tests.support import durable
from tests.support.harness import wait_until
from tests.support.kill import can_trace

HOOK_SECONDS = 5.0  # a whole hook on a busy machine; a lock alone may cost it 0.25
SMALL = 2 << 20  # bytes of the small file system
LEFT = (1 << 18, 1 << 16, 1 << 15, 1 << 14, 12 << 10, 8 << 10, 4 << 10, 0)  # bytes that are left free in turn
BACK_SECONDS = 40.0  # after the cause is gone: all is delivered, without another change


# A hook that can't put its event into the queue says that it did.
NOT_SPOOLED = Mutation(
    "queue/store.py", 'raise QueueUnavailable(f"{files.QUEUE_DB}: {error}") from error', "return 0"
)


def run_locked(folder: Path, full: bool) -> Report:
    """Somebody holds the write lock of queue.db while changes go on."""
    seconds, hooks = (30.0, 40) if full else (3.0, 8)
    report = Report()
    slowest = 0.0
    with Field(folder, hooks + 1) as field:
        field.hooks([1])
        wait_until(lambda: field.taken, 15.0)
        with closing(sqlite3.connect(field.data / files.QUEUE_DB, isolation_level=None)) as holder:
            holder.execute("BEGIN IMMEDIATE")
            release = time.monotonic() + seconds
            for scene in range(2, hooks + 2):
                began = time.monotonic()
                report.expect(field.hook(scene, STASH_COURIER_WORKER="off").end(), "a hook promised nothing")
                slowest = max(slowest, time.monotonic() - began)
            time.sleep(max(0.0, release - time.monotonic()))
            holder.execute("ROLLBACK")
        _delivered_alone(field, report)
    report.done = f"write lock held {seconds:.0f} s while {hooks} hooks ran, the slowest for {slowest:.1f} s"
    report.expect(slowest < HOOK_SECONDS, f"a hook kept Stash waiting for {slowest:.1f} s")
    return report


def run_corrupt(folder: Path, full: bool) -> Report:
    """A page of queue.db is overwritten while twenty hooks write and others' deliveries wait."""
    rounds = 6 if full else 1
    report = Report()
    total = 0
    for number in range(rounds):
        (here := folder / str(number)).mkdir()
        with Field(here, 40) as field:
            field.receiver.down()
            field.hooks(range(1, 21))
            wait_until(lambda: field.courier.log().count("gets nothing for now"), 15.0)
            hooks = [field.hook(scene) for scene in range(21, 41)]
            # An index page: all rows can still be read, so all must be saved.
            _damage(field.data, "deliveries_due")
            for hook in hooks:
                report.expect(hook.end(), f"a hook promised nothing: {hook.stdout!r}")
            _until_noticed(field.data, "deliveries_due")
            field.receiver.up()
            field.drain(60.0, expedite=True)
            with field.queue() as queue:
                told = control.get(queue.connection, control.REPAIRED)
            report.expect(bool(told) and "was damaged" in str(told), "status tells nobody of the damage")
            field.sound(report)
            one = field.settle(Report())
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
    """Waits until the worker has set the file aside; damages it again where a write happened to mend the page."""
    for _ in range(5):
        with suppress(TimeoutError):
            wait_until(lambda: list(data.glob("queue.db.damaged-*")), 6.0)
            return
        with suppress(sqlite3.Error):  # it is being set aside just now
            _damage(data, index)
    raise TimeoutError("a damaged page is noticed by nobody")


def run_full_disk(folder: Path, full: bool) -> Report:
    """The data folder's file system fills up under a worker and hooks, and is emptied again."""
    hooks = 60 if full else 15
    report = Report()
    config = folder / "config"
    config.mkdir()
    refused = 0
    with _small_disk(config / "stash_courier"), Field(folder, hooks + 2) as field:
        field.receiver.down()
        field.hooks([1])
        wait_until(lambda: field.courier.log().count("gets nothing for now"), 15.0)
        with field.queue() as queue:  # what the log has room for is no full disk
            queue.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        filler = field.data / "filler"
        with filler.open("wb", buffering=0) as file:
            for scene in range(2, hooks + 2):
                _leave(LEFT[(scene - 2) * len(LEFT) // hooks], file.fileno(), field.data)
                hook = field.hook(scene)
                if not hook.end():
                    refused += 1
                    said = durable.failed(hook.process.returncode, hook.stdout, hook.stderr)
                    report.expect("could not be kept" in said, f"unclear: {said}")
        filler.unlink()
        field.receiver.up()
        _delivered_alone(field, report, expedite=True)
        report.expect(field.hook(hooks + 2).end(), "with the disk free again a hook still promises nothing")
        field.drain()
        field.sound(report)
        field.settle(report)
    report.done = f"file system full while {hooks} hooks ran: {refused} said that they could not keep their event"
    report.expect(refused > 0, "the disk never got full")
    report.nothing_lost()
    return report


def _leave(left: int, fd: int, where: Path) -> None:
    """Lets a file grow or shrink until so many bytes of its file system are free."""
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
        return "a small file system can only be mounted by root on Linux"
    tried = subprocess.run(
        ["unshare", "-m", "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True, check=False
    )
    return "" if tried.returncode == 0 else "a file system can't be mounted here"


def run_io_error(folder: Path, full: bool) -> Report:
    """fdatasync answers EIO, first to hooks, then to the worker."""
    hooks = 40 if full else 6
    report = Report()
    refused = 0
    with Field(folder, 3 * hooks + 1) as field:
        field.hooks([1])
        wait_until(lambda: field.taken, 15.0)
        once = ("strace", "-f", "-o", os.devnull, "-e", "trace=fdatasync,fsync", "-e")
        for scene in range(2, hooks + 2):
            hook = field.hook(scene, *once, "inject=fdatasync:error=EIO")
            report.expect(hook.end(), f"a hook that could keep its event elsewhere did not: {hook.stdout!r}")
        for scene in range(hooks + 2, 2 * hooks + 2):
            hook = field.hook(scene, *once, "inject=fdatasync,fsync:error=EIO", STASH_COURIER_WORKER="off")
            kept = hook.end()
            refused += not kept
            if not kept:
                said = durable.failed(hook.process.returncode, hook.stdout, hook.stderr)
                report.expect("could not be kept" in said, f"unclear: {said}")
        field.drain()
        injected = [*once, "inject=fdatasync,fsync:error=EIO", "-p", str(field.worker())]
        with subprocess.Popen(injected, stderr=subprocess.DEVNULL) as strace:
            time.sleep(0.5)
            for scene in range(2 * hooks + 2, 3 * hooks + 2):
                report.expect(field.hook(scene, STASH_COURIER_WORKER="off").end(), "a hook promised nothing")
            wait_until(lambda: "can't be written" in field.courier.log(), 15.0)
            time.sleep(2.0)
            strace.send_signal(signal.SIGTERM)
        _delivered_alone(field, report)
    report.done = (
        f"EIO at fdatasync for {hooks} hooks, at every sync for {hooks} ({refused} said so), and for the worker"
    )
    return report


def _delivered_alone(field: Field, report: Report, *, expedite: bool = False) -> None:
    """Once the cause is gone all arrives, by the worker that is there: nothing else needs to happen."""
    before = field.workers()
    give_up = time.monotonic() + BACK_SECONDS
    while field.waiting() and time.monotonic() < give_up:
        if expedite:
            field.expedite()
        time.sleep(0.1)
    report.expect(bool(before), "the worker died of it")
    field.sound(report)
    field.settle(report)
    report.nothing_lost()


def _no_strace() -> str:
    return "" if can_trace() else "strace is missing or may not trace here (apt-get install strace)"


ROWS = [
    Row(
        "locked",
        run_locked,
        [
            [
                Mutation(
                    "queue/store.py", 'raise QueueUnavailable(f"{files.QUEUE_DB}: {error}") from error', "return 0"
                )
            ],
            [
                Mutation(
                    "worker/main.py",
                    """        except sqlite3.OperationalError as error:
            log.error("the data folder can't be written""",
                    """        except ZeroDivisionError as error:
            log.error("the data folder can't be written""",
                )
            ],
        ],
        proof_full=True,  # what the worker does with a lock shows after the ten seconds that it waits
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
        [
            [
                Mutation(
                    "queue/store.py", 'raise QueueUnavailable(f"{files.QUEUE_DB}: {error}") from error', "return 0"
                )
            ]
        ],
        missing=_no_strace,
    ),
]
