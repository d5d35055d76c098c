"""The worker's life: it takes the lock, sets up the log, runs the loop with its chores, and ends."""

from __future__ import annotations

import errno
import importlib
import logging
import os
import pkgutil
import signal
import sqlite3
import time
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Literal, NoReturn

from stash_courier.queue import control, repair
from stash_courier.queue.deliveries.scene_queue import SceneQueue
from stash_courier.queue.inbox import files, locks, store
from stash_courier.worker import VERSION, destinations, heartbeat, package, process
from stash_courier.worker.log_file import set_up_log
from stash_courier.worker.package import CodeWatch
from stash_courier.worker.runtime import Runtime
from stash_courier.worker.stash.address import NamedStash

CODE_SECONDS = 2.0  # between two looks at the code on disk
ATTEND_SECONDS = 1.0  # between two looks at what the owner wants, and for trouble to tell the owner of
FILES_SECONDS = 0.5  # between two looks at whether the open files are still those in the data folder
TIDY_SECONDS = 30.0
PURGE_SECONDS = 6 * 3600.0
RETRY_SECONDS = 1.0  # after the files were locked, or the disk full
GRACE_SECONDS = 8.0  # for deliveries in flight when the worker is asked to stop
STASH_GONE_SECONDS = 300.0  # after this long without Stash, a worker with nothing to deliver ends
LONGEST_LIFE_SECONDS = 86_400.0  # then it restarts itself

End = Literal["stopped", "Stash is gone", "new code", "another copy delivers", "removed", "replaced files"]
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
OTHER_CODE: tuple[End, ...] = ("new code", "another copy delivers")  # the process goes on with other code

log = logging.getLogger("stash_courier")


class Worker:
    """One worker for a data folder. ``root`` is the plugin's folder.

    Args:
        lock: the descriptor that holds worker.lock.
        named: in the foreground, what the environment says about Stash; None in the background.
        code: knows the files from which this worker was imported.
    """

    def __init__(self, folder: Path, root: Path, lock: int, named: NamedStash | None, code: CodeWatch) -> None:
        self._folder = folder
        self._root: Path | None = root  # of the code that this process becomes in the end
        self._lock = lock
        self._named = named
        self._stop = False
        self._runtime: Runtime | None = None
        self._started_at = time.time()
        self._started = time.monotonic()
        self._code = code
        # Seconds since the start: of the last heartbeat, and from which on dead letters may be deleted
        self._beat_at = self._purge_from = 0.0
        # Seconds since the start
        self._next = {"beat": 0.0, "code": 0.0, "attend": 0.0, "files": 0.0, "tidy": TIDY_SECONDS, "purge": 0.0}

    def stop(self, *_: object) -> None:
        """Asks the worker to end; a signal handler."""
        self._stop = True
        if self._runtime is not None:
            self._runtime.wakeup.notify()

    def secrets(self) -> tuple[str, ...]:
        """Words of the settings that must not appear in the log."""
        return self._runtime.dispatcher.registry.secrets if self._runtime else ()

    def run(self) -> None:
        """Works until there is a reason to end, then ends cleanly or becomes the new code."""
        while True:
            if (runtime := self._open()) is None:
                return
            with runtime as self._runtime:
                end = self._serve(runtime)
            if end in OTHER_CODE:
                for number in STOP_SIGNALS:  # from now on one ends the process, which has nothing open any more
                    signal.signal(number, signal.SIG_DFL)
                if self._stop or self._root is None:
                    return  # the copy that delivers is elsewhere, so only its hooks can start it
                foreground = self._named is not None
                process.become(str(self._folder), str(self._root), self._lock, foreground=foreground)
            if end != "Stash is gone":
                return
            # A hook that came after the last look found the lock taken: look again without it.
            os.close(self._lock)
            if not self._anything_new() or (lock := process.hold(str(self._folder))) is None:
                return
            self._lock = lock
            self._next["beat"] = 0.0  # taking the lock has moved the heartbeat away

    def _open(self) -> Runtime | None:
        """Opens the data folder as soon as possible; None if the worker must end before that."""
        while not self._stop and self._holds_lock():
            try:
                return Runtime(self._folder, self._named)
            except sqlite3.OperationalError as error:
                log.error("the data folder can't be opened now (%s): nothing is lost, retrying", error)
                time.sleep(RETRY_SECONDS)
        return None

    def _serve(self, runtime: Runtime) -> End:
        """Works until there is a reason to end. If a database is damaged, repairs it and goes on."""
        while True:
            try:
                end = self._work(runtime)
                log.info("ending: %s", end)
                if end == "replaced files":
                    self._leave()
                runtime.finish(partial(self._grace_seconds, runtime, end))
                return "stopped" if self._stopped(runtime) else end
            except sqlite3.DatabaseError as error:
                if not repair.is_damage(error):
                    raise
                log.error("a database is damaged (%s): it is set aside, and what can be read is saved", error)
                runtime.reopen()

    def _leave(self) -> NoReturn:
        """Ends without closing anything, because SQLite would remove the write-ahead log at the path.

        That may be another file's by now. While the lock is held, the process starts anew with what is there.
        """
        logging.shutdown()
        if self._holds_lock() and self._root is not None and not self._stop:
            foreground = self._named is not None
            process.become(str(self._folder), str(self._root), self._lock, foreground=foreground)
        os._exit(0)

    def _work(self, runtime: Runtime) -> End:
        while True:
            try:
                if self._due("files", FILES_SECONDS) and (not self._holds_lock() or runtime.moved):
                    return "replaced files"
                if (end := self._why_end(runtime)) is not None:
                    return end
                runtime.take_spool()
                wait = runtime.dispatcher.step()
                self._do_chores(runtime)
            except sqlite3.OperationalError as error:
                log.error("the data folder can't be written now (%s): nothing is lost, retrying", error)
                wait = RETRY_SECONDS
            runtime.sleep(wait)

    def _why_end(self, runtime: Runtime) -> End | None:
        if self._stopped(runtime):
            return "stopped"
        if self._due("code", CODE_SECONDS):
            if (changed := self._code.look()) is not None:
                return changed
            if (other := runtime.dispatcher.delivering) != package.ID:
                found = package.find(other)
                self._root = None if found is None else found.parent
                if self._root is None or other != package.PACKAGE or not package.incomplete(self._root):
                    return "another copy delivers"  # unless an update is just writing it
        if self._age() > LONGEST_LIFE_SECONDS and not runtime.dispatcher.busy():
            return "new code"
        gone = runtime.dispatcher.poller.gone_seconds > STASH_GONE_SECONDS
        if gone and self._named is None and runtime.queue.empty():
            return "Stash is gone"  # in the foreground nothing would start it again
        return None

    def _stopped(self, runtime: Runtime) -> bool:
        return self._stop or runtime.stop_wanted()

    def _grace_seconds(self, runtime: Runtime, end: End) -> float:
        """How long deliveries in flight may take to end. A stop may come while new code waits for them."""
        if end not in OTHER_CODE or self._stopped(runtime):
            return GRACE_SECONDS  # a person waits
        return runtime.dispatcher.registry.settings.worker_timeout_seconds  # what completes isn't sent twice

    def _holds_lock(self) -> bool:
        """Whether the lock file is still the one in the data folder. Otherwise another worker may run by now."""
        try:
            return files.identity(self._folder / files.WORKER_LOCK) == files.identity(self._lock)
        except OSError:
            return True  # the file system doesn't say

    def _anything_new(self) -> bool:
        with closing(SceneQueue(self._folder)) as queue:
            if control.get(queue.connection, control.STOP) == os.getpid():
                return False  # a stop button doesn't wait for this process any more
            return not queue.inbox_empty() or any((self._folder / files.SPOOL).glob("*.json"))

    def _do_chores(self, runtime: Runtime) -> None:
        if self._due("beat", heartbeat.HEARTBEAT_SECONDS):
            self._beat()
        if self._due("attend", ATTEND_SECONDS):
            runtime.attend()
        if self._due("tidy", TIDY_SECONDS):
            runtime.tidy()
        if runtime.dispatcher.poller.knows_settings and self._due("purge", PURGE_SECONDS):
            self._beat()  # the clock may have jumped since the last one
            if self._age() >= self._purge_from:
                runtime.purge()

    def _beat(self) -> None:
        age = self._age()
        self._purge_from = age + heartbeat.beat(self._folder, self._started_at, age - self._beat_at)
        self._beat_at = age

    def _age(self) -> float:
        return time.monotonic() - self._started

    def _due(self, chore: str, every: float) -> bool:
        if due := self._age() >= self._next[chore]:
            self._next[chore] = self._age() + every
        return due


def import_all() -> None:
    """Imports everything that the worker may need: later, an update may have deleted the files."""
    for part in ("queue", "worker"):
        for found in pkgutil.walk_packages([str(package.ROOT / part)], f"stash_courier.{part}."):
            importlib.import_module(found.name)
    destinations.kinds()  # kept, because they are found by their folders


def _data_folder(root: Path) -> Path | None:
    """The one that STASH_COURIER_DATA names, or that of the Stash in whose plugins folder this plugin is."""
    if named := os.environ.get("STASH_COURIER_DATA"):
        return Path(named).absolute()
    # <Stash's folder>/plugins/<this plugin>; a source may have a folder of its own in between.
    beside = (folder / "stash_courier" for folder in root.parents)
    return next((folder for folder in beside if (folder / files.STASH).exists()), None)


def main() -> int | str:
    """Runs the worker. Returns what ``sys.exit`` takes: the exit code, or why it can't run."""
    root = package.ROOT
    import_all()
    code = CodeWatch(root)
    if package.replaced():
        raise ImportError("they were replaced meanwhile")
    try:
        named = NamedStash.read(os.environ) if process.in_foreground() else None
        folder = _data_folder(root)
        if folder is None:
            return "No data folder: set STASH_COURIER_DATA to <config.yml's folder>/stash_courier."
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))
        lock = process.hold(str(folder))
        if lock is None:
            return f"A worker already runs for {folder}. Stop it with its button first."
        if named is None:  # in the background; elsewhere the owner decides about priority
            process.give_way()  # a first full send must not slow down Stash's hooks
        os.chdir(folder)
        worker = Worker(folder, root, lock, named, code)
        set_up_log(folder, worker.secrets, foreground=named is not None)
    except (ValueError, locks.LocksUnavailable) as error:
        return str(error)
    except OSError as error:
        return (
            f"{error.filename} can't be used ({error.strerror}): run the worker as the user that runs Stash, or "
            "make that user the owner of the data folder and everything in it."
        )
    return _run(worker)


def _run(worker: Worker) -> int:
    log.info("worker %s starts, pid %d", VERSION, os.getpid())
    for number in STOP_SIGNALS:
        signal.signal(number, worker.stop)
    try:
        worker.run()
    except store.QueueUnavailable as error:
        log.error("%s", error)
        return 1
    except Exception:
        # Not raised again: Python would print the traceback to stderr, which is this log, without the formatter.
        log.exception("the worker died of a bug; the next change in Stash starts another")
        return 1
    log.info("worker ends")
    logging.shutdown()
    os._exit(0)  # doesn't wait for threads whose requests hang: what they did is put back or recorded
