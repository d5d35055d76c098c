"""Everything open while somebody works as the worker: queue, dead letters, dispatcher, wake pipe.

The worker process has one for its life; the button that delivers in the foreground has one for its
run. Whoever makes one holds the data folder's worker.lock.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from contextlib import ExitStack, closing
from pathlib import Path

from stash_courier.queue import control, files, migrate, repair, transfer
from stash_courier.queue.dlq import DeadLetterQueue
from stash_courier.queue.scene_queue import SceneQueue
from stash_courier.worker import VERSION
from stash_courier.worker.delivery.dispatcher import Dispatcher
from stash_courier.worker.http.redact import redact
from stash_courier.worker.stash.client import Stash
from stash_courier.worker.wakeup import Wakeup

LOOK_SECONDS = 1.0  # the safety net: looks at the inbox this often even if nobody wakes it
LOOK_SECONDS_DEAF = 0.1  # where hooks can't wake it
SPOOL_FILES = 1000  # taken in at once
UNSEEN_DAYS = 3  # said so long before dead letters are deleted that nobody was shown
DAY = 86_400.0

log = logging.getLogger("stash_courier")


class Runtime:
    """Everything open while the worker works, or while a button works in its place.

    Args:
        folder: the data folder; the caller holds its worker.lock.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._spoilt: set[str] = set()  # names in the spool that can't be read or removed
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
        self.dispatcher.close()
        self.queue.close()
        self.dlq.close()

    def _open(self, said: str | None = None) -> None:
        try:
            self._open_files()
        except sqlite3.DatabaseError as error:
            if not repair.is_damage(error):
                raise
            said = repair.repair(self.folder)
            self._open_files()
        if said is not None:
            control.put(self.queue.connection, control.REPAIRED, said)
        self.dispatcher = Dispatcher(self.queue, self.dlq, Stash(self.folder), self.wakeup)
        self._data_version = -1

    def _open_files(self) -> None:
        """Opens both files and settles what a kill left in them; if one is damaged, neither stays open.

        Those of an earlier version are brought up to date before.
        """
        migrate.migrate(self.folder)
        with ExitStack() as opened:
            self.queue = opened.enter_context(closing(SceneQueue(self.folder)))
            self.dlq = opened.enter_context(
                closing(DeadLetterQueue(self.folder, redact=self._redact, plugin_version=VERSION))
            )
            # Said to, or of, a worker that is gone.
            control.put(self.queue.connection, control.STOP, None)
            control.put(self.queue.connection, control.STASH, None)
            transfer.heal(self.queue, self.dlq)
            self.queue.recover()
            opened.pop_all()

    def reopen(self) -> None:
        """After damage: what was in flight is delivered again."""
        self.dispatcher.close()
        self.queue.close()
        self.dlq.close()
        self._open(repair.repair(self.folder))

    def _redact(self, text: str) -> str:
        return redact(text, self.dispatcher.registry.secrets)

    def take_spool(self) -> None:
        """Takes in what hooks could not put into the queue. A file goes when its event is safe."""
        folder = self.folder / files.SPOOL
        try:
            names = os.listdir(folder)  # noqa: PTH208  # in each round of the loop; pathlib is slow
        except OSError:
            return
        names = [name for name in sorted(names) if name.endswith(".json") and name not in self._spoilt]
        read = {}
        for file in (folder / name for name in names[:SPOOL_FILES]):
            try:
                read[file] = file.read_bytes()
            except OSError as error:
                self._leave(file, error)
        if read:
            log.info("taking in %d changes that hooks had to keep beside the queue", len(read))
            self.queue.put_many(read.values())
        for file in read:
            try:
                file.unlink()
            except OSError as error:
                self._leave(file, error)

    def _leave(self, file: Path, error: OSError) -> None:
        """Takes no notice of a file in the spool any more."""
        self._spoilt.add(file.name)
        log.error("%s can't be taken in or removed (%s): look at its owner and rights", file, error.strerror)

    def stop_wanted(self) -> bool:
        """Whether the stop button was pressed for this process."""
        return bool(control.get(self.queue.connection, control.STOP) == os.getpid())

    def sleep(self, seconds: float) -> None:
        """Sleeps until woken or until the next look at the inbox."""
        if self.wakeup.hears_hooks:
            self.wakeup.wait(min(seconds, LOOK_SECONDS))
            return
        give_up = time.monotonic() + min(seconds, LOOK_SECONDS)
        while not self.wakeup.wait(min(LOOK_SECONDS_DEAF, give_up - time.monotonic())):
            version = self.queue.connection.execute("PRAGMA data_version").fetchone()[0]
            if version != self._data_version or time.monotonic() >= give_up:
                self._data_version = version
                return

    def finish(self, grace_seconds: float) -> None:
        """Lets what is in flight end, then puts back what hasn't."""
        self.dispatcher.put_back(everything=False)
        give_up = time.monotonic() + grace_seconds
        while self.dispatcher.busy() and time.monotonic() < give_up:
            self.dispatcher.step(beginning=False)
            self.wakeup.wait(0.05)
        self.dispatcher.step(beginning=False)
        self.dispatcher.put_back(everything=True)
        self.queue.tidy()

    def purge(self) -> None:
        """Deletes dead letters past their retention; those that nobody was shown only days after saying so."""
        conn, registry = self.queue.connection, self.dispatcher.registry
        if registry.empty or any(p.setting == "dead_letter_retention_days" for p in registry.problems):
            return  # nobody knows for how long they are to be kept
        days = registry.settings.dead_letter_retention_days
        now = time.time()
        at, before = _announced(control.get(conn, control.UNSEEN_SAID), now)
        heard = now - at >= UNSEEN_DAYS * DAY
        self.dlq.delete_older_than(days, unseen_before=min(before, now - days * DAY) if heard else 0.0)

        unseen = self.dlq.count_unseen(days - UNSEEN_DAYS)
        if heard:
            at, before = now, now - (days - UNSEEN_DAYS) * DAY
        sentence = (
            f"{unseen} dead letters that nobody has looked at will be deleted from "
            f"{time.strftime('%Y-%m-%d', time.localtime(at + UNSEEN_DAYS * DAY))} on: press «Review dead letters»."
        )
        control.put(conn, control.UNSEEN, sentence if unseen else None)
        control.put(conn, control.UNSEEN_SAID, {"at": at, "before": before} if unseen else None)
        if unseen:
            log.warning("%s", sentence)


def _announced(said: object, now: float) -> tuple[float, float]:
    """When the deletion was announced, and of dead letters that failed before when; long ago if of none."""
    match said:
        case {"at": int() | float() as at, "before": int() | float() as before} if at <= now:
            return float(at), float(before)
    return 0.0, 0.0
