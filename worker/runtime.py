"""Everything that is open while deliveries run: queue, dead letters, dispatcher, wake pipe.

The worker process has one for its life, the button "Deliver now" one for its run.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from stash_courier.queue import control, migrate, repair, transfer
from stash_courier.queue.dead_letters.dlq import DAY, DeadLetterQueue
from stash_courier.queue.deliveries.scene_queue import SceneQueue
from stash_courier.queue.history import ledger, receipts
from stash_courier.queue.inbox import files
from stash_courier.worker import VERSION
from stash_courier.worker.delivery.dispatcher import Dispatcher
from stash_courier.worker.http.redact import redact
from stash_courier.worker.stash.address import NamedStash
from stash_courier.worker.stash.client import Stash
from stash_courier.worker.troubles import Troubles
from stash_courier.worker.wakeup import Wakeup

LOOK_SECONDS = 1.0  # between two looks at the inbox even if nothing wakes the worker: a safety net
LOOK_SECONDS_UNREACHABLE = 0.1  # the same where hooks can't wake it
SPOOL_FILES = 1000  # taken in at once
UNSEEN_DAYS = 3  # between the announcement and the deletion of dead letters that were never shown
LEDGER_DAYS = 30  # how long the ledger of a removed destination is kept, in case it comes back

log = logging.getLogger("stash_courier")


class Runtime:
    """Everything that is open while deliveries run. The caller holds the data folder's worker.lock."""

    def __init__(self, folder: Path, named: NamedStash | None = None) -> None:
        self.folder = folder
        self._named = named  # a Stash that the environment names
        self._queue_db = folder / files.QUEUE_DB
        self._ignored: set[str] = set()  # names in the spool that can't be read or removed
        self.wakeup = Wakeup(folder)
        try:
            self._open()
        except BaseException:
            self.wakeup.close()
            raise

    def __enter__(self) -> Runtime:
        return self

    def __exit__(self, *_: object) -> None:
        self.wakeup.close()
        self._opened.close()

    def _open(self, *, after_damage: bool = False) -> None:
        """Opens everything; ``after_damage`` if this process met damage while it had the files open."""
        repaired = repair.repair(self.folder, after_damage=after_damage)
        try:
            self._open_files(died=not after_damage)
        except sqlite3.DatabaseError as error:
            if not repair.is_damage(error):
                raise
            repaired = repair.repair(self.folder, after_damage=True)
            self._open_files(died=not after_damage)
        if repaired is not None:
            control.put(self.queue.connection, control.REPAIRED, repaired)
        self.dispatcher = Dispatcher(self.queue, self.dlq, Stash(self.folder, named=self._named), self.wakeup)
        self._opened.callback(self.dispatcher.close)
        self._troubles = Troubles(self.queue, self.dlq, self.dispatcher.registry)
        self._data_version = -1

    def _open_files(self, *, died: bool) -> None:
        """Migrates and opens both files and cleans up after a kill. If one is damaged, neither stays open."""
        migrate.migrate(self.folder)
        with ExitStack() as opened:
            before = files.identity(self._queue_db)
            self.queue = opened.enter_context(closing(SceneQueue(self.folder)))
            # What was there before it was opened: a file that was replaced since is noticed.
            self._queue_identity = before or files.identity(self._queue_db)
            dlq = DeadLetterQueue(self.folder, redact=self._redact, plugin_version=VERSION)
            self.dlq = opened.enter_context(closing(dlq))
            # These were for the previous worker.
            control.put(self.queue.connection, control.STOP, None)
            control.put(self.queue.connection, control.STASH, None)
            transfer.heal(self.queue, self.dlq)
            self.queue.recover(died=died)
            self._opened = opened.pop_all()

    @property
    def moved(self) -> bool:
        """Whether queue.db or dlq.db was removed or replaced: what is open here isn't the file at its path."""
        try:
            return files.identity(self._queue_db) != self._queue_identity or self.dlq.moved
        except OSError as error:
            log.warning("the data folder can't be looked at (%s)", error)
            return False

    def reopen(self) -> None:
        """Repairs a damaged file and opens everything again. What was in flight is delivered again."""
        self._opened.close()
        self._open(after_damage=True)

    def _redact(self, text: str) -> str:
        return redact(text, self.dispatcher.registry.secrets)

    def attend(self) -> None:
        """Does what the owner asked for, and tells of trouble. Call it about once a second."""
        if self.dispatcher.poller.knows_settings:
            self.dispatcher.forgetting.work()
            self.dispatcher.registry.leave()
            self._troubles.update()

    def tidy(self) -> None:
        """Deletes receipts and counts that are too old or too many, and dead letters that were discarded for good.

        Gives space back to the file system.
        """
        conn, now = self.queue.connection, time.time()
        while rows := receipts.surplus(conn, now):
            with self.queue.transaction():
                receipts.delete(conn, rows)
        receipts.drop_counts(conn, now)
        self.dlq.delete_discarded()
        self.queue.tidy()

    def take_spool(self) -> None:
        """Takes in what hooks could not put into the queue. A file is removed when its event is in the queue."""
        folder = self.folder / files.SPOOL
        try:
            names = os.listdir(folder)  # noqa: PTH208  # runs in each turn of the loop; pathlib is slow
        except OSError:
            return
        names = [name for name in sorted(names) if name.endswith(".json") and name not in self._ignored]
        read = {}
        for file in (folder / name for name in names[:SPOOL_FILES]):
            try:
                read[file] = file.read_bytes()
            except OSError as error:
                self._ignore(file, error)
        if read:
            log.info("events taken in from the spool: %d", len(read))
            self.queue.put_many(read.values())
        for file in read:
            try:
                file.unlink()
            except OSError as error:
                self._ignore(file, error)

    def _ignore(self, file: Path, error: OSError) -> None:
        self._ignored.add(file.name)
        log.error("%s can't be read or removed (%s): check its owner and permissions", file, error.strerror)

    def stop_wanted(self) -> bool:
        """Whether the stop button was pressed for this process."""
        return bool(control.get(self.queue.connection, control.STOP) == os.getpid())

    def sleep(self, seconds: float) -> None:
        """Sleeps until woken or until the next look at the inbox, at most for ``seconds``."""
        if self.wakeup.reachable_by_hooks:
            self.wakeup.wait(min(seconds, LOOK_SECONDS))
            return
        give_up = time.monotonic() + min(seconds, LOOK_SECONDS)
        while not self.wakeup.wait(min(LOOK_SECONDS_UNREACHABLE, give_up - time.monotonic())):
            version = self.queue.connection.execute("PRAGMA data_version").fetchone()[0]
            if version != self._data_version or time.monotonic() >= give_up:
                self._data_version = version
                return

    def finish(self, grace_seconds: Callable[[], float]) -> None:
        """Lets deliveries in flight end for at most ``grace_seconds``, then puts back those that haven't.

        It is asked again and again, because it may become shorter meanwhile.
        """
        self.dispatcher.hold()
        began = time.monotonic()
        while self.dispatcher.busy() and time.monotonic() - began < grace_seconds():
            self.dispatcher.step(beginning=False)
            self.dispatcher.hold()  # what Stash has answered since would be ready, and wait for a start
            self.wakeup.wait(0.05)
        self.dispatcher.step(beginning=False)
        self.dispatcher.put_back(everything=True)
        self.queue.tidy()

    def purge(self) -> None:
        """Deletes dead letters past their retention, and the ledger of destinations that were removed long ago.

        Dead letters that were never shown are announced days before. Without trusted settings nothing is deleted.
        """
        days = self.dispatcher.registry.retention_days
        if days is not None:
            self._purge_dead_letters(days)
            self._purge_ledger()

    def _purge_ledger(self) -> None:
        conn, now, registry = self.queue.connection, time.time(), self.dispatcher.registry
        known = {*control.states(conn), *registry.targets, *registry.removed}
        before = control.get(conn, control.LEDGER_LEFT, control.times) or {}
        left = {name: min(before.get(name, now), now) for name in ledger.destinations(conn) if name not in known}
        for name in [name for name, since in left.items() if now - since >= LEDGER_DAYS * DAY]:
            log.info("%s was removed long ago: rows of its ledger deleted: %d", name, ledger.delete(conn, name))
            del left[name]
        control.put(conn, control.LEDGER_LEFT, left or None)

    def _purge_dead_letters(self, days: int) -> None:
        conn, now = self.queue.connection, time.time()
        announced_at, announced_before = control.get(conn, control.UNSEEN_SAID, _announcement) or (0.0, 0.0)
        if announced_at > now:  # by a wrong clock
            announced_at = announced_before = 0.0
        over = now - announced_at >= UNSEEN_DAYS * DAY  # the announced ones may be deleted
        self.dlq.delete_older_than(days, unseen_before=min(announced_before, now - days * DAY) if over else 0.0)

        unseen = self.dlq.count_unseen(days - UNSEEN_DAYS)
        if over:
            announced_at, announced_before = now, now - (days - UNSEEN_DAYS) * DAY
        date = time.strftime("%Y-%m-%d", time.localtime(announced_at + UNSEEN_DAYS * DAY))
        notice = (
            f"Dead letters that were never reviewed: {unseen}. They will be deleted from {date} on. "
            'Press "Review dead letters".'
        )
        control.put(conn, control.UNSEEN, notice if unseen else None)
        announcement = {"at": announced_at, "before": announced_before}
        control.put(conn, control.UNSEEN_SAID, announcement if unseen else None)
        if unseen:
            log.warning("%s", notice)


def _announcement(stored: Any) -> tuple[float, float]:
    """The form of control.UNSEEN_SAID."""
    return float(stored["at"]), float(stored["before"])
