"""The worker's life: lock, log, the loop with its chores, and the end. Deliveries are dispatcher.py's."""

from __future__ import annotations

import errno
import json
import logging
import logging.handlers
import os
import signal
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal

from stash_courier.queue import files, repair, store
from stash_courier.queue.scene_queue import SceneQueue
from stash_courier.worker import VERSION, process
from stash_courier.worker.http.redact import redact
from stash_courier.worker.runtime import Runtime

HEARTBEAT_SECONDS = 10.0
CODE_SECONDS = 2.0  # how often it looks whether its code has changed
TIDY_SECONDS = 30.0
PURGE_SECONDS = 6 * 3600.0
AGAIN_SECONDS = 1.0  # after the files were locked, or the disk full
GRACE_SECONDS = 8.0  # for deliveries in flight when the worker is told to stop
STASH_GONE_SECONDS = 300.0  # with nothing waiting, a worker without Stash ends after this
LONGEST_LIFE_SECONDS = 86_400.0  # then it starts afresh
LOG_BYTES, LOG_FILES = 1 << 20, 3
LONGEST_LINE = 16_000  # characters: room for a traceback, and no megabyte of somebody's title

End = Literal["stopped", "Stash is gone", "new code", "removed"]

log = logging.getLogger("stash_courier")


class CodeWatch:
    """Whether the plugin's files have changed since the worker started.

    A change counts when two looks in a row see the same, since an update deletes before it writes.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._running = self._before = self._files()

    def look(self) -> End | None:
        """What to do about the code on disk."""
        now, before, self._before = self._files(), self._before, self._files()
        if now == self._running or now != before:
            return None
        return "new code" if now else "removed"

    def _files(self) -> frozenset[tuple[str, int, int]]:
        found = set()
        for folder in ("plugin", "queue", "worker"):
            for file in (self._root / folder).rglob("*.py"):
                try:
                    stat = file.stat()
                except OSError:
                    continue  # deleted since it was listed
                found.add((str(file), stat.st_mtime_ns, stat.st_size))
        return frozenset(found)


class Worker:
    """One worker, the holder of the lock of one data folder.

    Args:
        folder: the data folder.
        root: the plugin's folder.
        lock: the descriptor that holds worker.lock.
    """

    def __init__(self, folder: Path, root: Path, lock: int) -> None:
        self._folder = folder
        self._root = root
        self._lock = lock
        self._stop = False
        self._session: Runtime | None = None
        self._secrets: tuple[str, ...] = ()
        self._started_at = time.time()
        self._started = time.monotonic()
        self._code = CodeWatch(root)
        self._next = {"beat": 0.0, "code": 0.0, "tidy": TIDY_SECONDS, "purge": 0.0}  # seconds of life

    def stop(self, *_: object) -> None:
        """Asks it to end; a signal handler."""
        self._stop = True
        if self._session is not None:
            self._session.wakeup.notify()

    def secrets(self) -> tuple[str, ...]:
        """Words of the settings that must not be seen in the log."""
        if self._session is not None:
            self._secrets = self._session.dispatcher.registry.secrets
        return self._secrets

    def run(self) -> None:
        """Works until there is a reason to end, then ends cleanly or becomes the new code."""
        while True:
            if (session := self._open()) is None:
                return
            with session as self._session:
                end = self._serve(session)
            self._session = None
            if end == "new code":
                process.become(str(self._folder), str(self._root), self._lock)
            if end != "Stash is gone":
                return
            # A hook that came after the last look saw the lock held: look again without it.
            os.close(self._lock)
            if not self._anything_new() or (lock := process.hold(str(self._folder))) is None:
                return
            self._lock = lock

    def _open(self) -> Runtime | None:
        """Opens the data folder as soon as it can be; None if the worker is stopped before."""
        while not self._stop:
            try:
                return Runtime(self._folder)
            except sqlite3.OperationalError as error:
                log.error("the data folder can't be opened now (%s): nothing is lost, it is tried again", error)
                time.sleep(AGAIN_SECONDS)
        return None

    def _serve(self, session: Runtime) -> End:
        while True:
            try:
                while not isinstance(end := self._turn(session), str):
                    session.sleep(end)
                log.info("ending: %s", end)
                timeout = session.dispatcher.registry.settings.delivery_timeout_seconds
                # Nobody waits for new code: what is on its way arrives or fails, and is not sent again.
                session.finish(timeout if end == "new code" else GRACE_SECONDS)
            except sqlite3.DatabaseError as error:
                if not repair.is_damage(error):
                    raise
                log.error("a database is damaged (%s): it is set aside, and what can be read is saved", error)
                session.reopen()
            else:
                return end

    def _turn(self, session: Runtime) -> End | float:
        """Does what there is to do; returns why to end, or the seconds until there is something to do."""
        try:
            if (end := self._why_end(session)) is not None:
                return end
            session.take_spool()
            wait = session.dispatcher.step()
            self._do_chores(session)
        except sqlite3.OperationalError as error:
            log.error("the data folder can't be written now (%s): nothing is lost, it is tried again", error)
            return AGAIN_SECONDS
        return wait

    def _why_end(self, session: Runtime) -> End | None:
        if self._stop or session.stop_wanted():
            return "stopped"
        if self._due("code", CODE_SECONDS) and (changed := self._code.look()) is not None:
            return changed
        if self._age() > LONGEST_LIFE_SECONDS and not session.dispatcher.busy():
            return "new code"
        if session.dispatcher.stash_gone_seconds > STASH_GONE_SECONDS and session.queue.empty():
            return "Stash is gone"
        return None

    def _anything_new(self) -> bool:
        queue = SceneQueue(self._folder)
        try:
            return not queue.inbox_empty() or any((self._folder / files.SPOOL).glob("*.json"))
        finally:
            queue.close()

    def _do_chores(self, session: Runtime) -> None:
        if self._due("beat", HEARTBEAT_SECONDS):
            self._beat()
        if self._due("tidy", TIDY_SECONDS):
            session.queue.tidy()
        if session.dispatcher.knows_settings and self._due("purge", PURGE_SECONDS):
            session.purge()

    def _age(self) -> float:
        return time.monotonic() - self._started

    def _due(self, chore: str, every: float) -> bool:
        if self._age() < self._next[chore]:
            return False
        self._next[chore] = self._age() + every
        return True

    def _beat(self) -> None:
        write_json(
            self._folder / files.WORKER_STATUS,
            {"pid": os.getpid(), "version": VERSION, "started_at": self._started_at, "heartbeat_at": time.time()},
        )


def write_json(path: Path, content: dict[str, object]) -> None:
    """Replaces a small file as a whole; without it people see less, so a full disk is no reason to stop."""
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        draft.write_text(json.dumps(content), encoding="ascii")
        draft.replace(path)
    except OSError as error:
        log.warning("%s can't be written: %s", path.name, error.strerror)


def find_data_folder(root: Path) -> Path | None:
    """The data folder of a worker that is started by hand: named, or that of the Stash the plugin is in."""
    named = os.environ.get("STASH_COURIER_DATA")
    if named:
        return Path(named).absolute()
    beside = root.parent.parent / "stash_courier"  # <Stash's folder>/plugins/<this plugin>
    return beside if (beside / files.CONNECTION).exists() else None


def main() -> int:
    """Runs the worker; returns the exit code."""
    root = Path(__file__).resolve().parent.parent
    try:
        folder = find_data_folder(root)
        if folder is None:
            sys.stderr.write(
                "No data folder: set STASH_COURIER_DATA to <folder of Stash's config.yml>/stash_courier.\n"
            )
            return 1
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))
        lock = process.hold(str(folder))
        if lock is None:
            sys.stderr.write(f"A worker already runs for {folder}: stop it with its button, or leave it be.\n")
            return 1
        os.chdir(folder)
        worker = Worker(folder, root, lock)
        set_up_log(folder, worker.secrets)
    except OSError as error:
        sys.stderr.write(
            f"{error.filename} can't be used ({error.strerror}): run the worker as the user that runs Stash, or "
            "give that user the data folder and all in it.\n"
        )
        return 1
    log.info("worker %s starts, pid %d", VERSION, os.getpid())
    signal.signal(signal.SIGTERM, worker.stop)
    signal.signal(signal.SIGINT, worker.stop)
    try:
        worker.run()
    except store.QueueUnavailable as error:
        log.error("%s", error)
        return 1
    except Exception:
        # Not raised again: Python would print it once more, past the formatter, for stderr is this log.
        log.exception("the worker dies of a bug; the next change starts another")
        return 1
    return end_process()


def end_process() -> int:
    """Ends without waiting for threads whose requests hang: what they did is put back or recorded."""
    log.info("worker ends")
    logging.shutdown()
    os._exit(0)


class Line(logging.Formatter):
    """One line a record, whatever text of others it holds; and the last guard: it holds no secret.

    Args:
        secrets: gives the words that must not be seen; what has the form of a secret goes without being named.
    """

    def __init__(self, secrets: Callable[[], Iterable[str]]) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s")
        self._secrets = secrets

    def format(self, record: logging.LogRecord) -> str:
        """The record as it stands in the log, without its newline."""
        text = redact(super().format(record), self._secrets())
        if len(text) > LONGEST_LINE:
            text = f"{text[:LONGEST_LINE]}…"
        return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def set_up_log(folder: Path, secrets: Callable[[], Iterable[str]]) -> None:
    """Sends the log to worker.log, which is rotated, and to the terminal if there is one.

    Args:
        folder: the data folder.
        secrets: gives the words of the settings that must not be seen.
    """
    file = logging.handlers.RotatingFileHandler(
        folder / files.WORKER_LOG,
        maxBytes=LOG_BYTES,
        backupCount=LOG_FILES,
        encoding="utf-8",
        errors="backslashreplace",
    )
    handlers: list[logging.Handler] = [file]
    if sys.stderr.isatty():
        handlers.append(logging.StreamHandler())
    for handler in handlers:
        handler.setFormatter(Line(secrets))
        logging.getLogger("stash_courier").addHandler(handler)
    logging.getLogger("stash_courier").setLevel(logging.INFO)
    threading.excepthook = _log_bug


def _log_bug(bug: threading.ExceptHookArgs) -> None:
    """What a thread dies of; Python itself would write it into the log as it is."""
    error = bug.exc_value
    log.error("a thread dies of a bug", exc_info=(bug.exc_type, error, bug.exc_traceback) if error else None)
