"""DeadLetterQueue: what could not be delivered, with everything needed to understand it and to send it again.

It has a file of its own, dlq.db, made on first use. Buttons read and discard dead letters and ask for them to be
sent again. Only the holder of the worker lock moves them between this file and queue.db: see transfer.py.
"""

from __future__ import annotations

import logging
import math
import os
import sqlite3
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from stash_courier.queue import codec
from stash_courier.queue.dead_letters import groups as dlq_groups
from stash_courier.queue.dead_letters import listing, rows
from stash_courier.queue.dead_letters import statements as sql
from stash_courier.queue.dead_letters.listing import ALL, UNDO_SECONDS, Batch, Group, Selection
from stash_courier.queue.dead_letters.rows import InTransit
from stash_courier.queue.inbox import files, store
from stash_courier.queue.jobs import CorruptRow, DeadLetter, Delivery, Summary
from stash_courier.queue.transactions import BUSY_SECONDS, shrink, transaction

DISCARDED_ROWS = 2000  # deleted for good at once: some tenths of a second
CHANGED_ROWS = 500  # changed or deleted in one transaction, so that others can write in between
FREE_PAGES = 250  # given back to the file system at a time: 1 MB
PAGE_ROWS = 1000  # read at a time, however many there are
ASKED_ROWS = 100  # sent again at a time
DAY = 86_400.0

log = logging.getLogger(__name__)


class DeadLetterQueue:
    """Dead letters in ``<data folder>/dlq.db``.

    Args:
        data_dir: the data folder; it exists.
        clock: wall time, unix seconds.
        redact: removes secrets from a text before it is stored.
        plugin_version: stored with each dead letter.

    Methods raise sqlite3.Error when the file can't be read or written, and store.QueueUnavailable when it has a
    schema version that this code doesn't know.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        clock: Callable[[], float] = time.time,
        redact: Callable[[str], str] = str,
        plugin_version: str = "",
    ) -> None:
        self.path = data_dir / files.DLQ_DB
        self._file = str(self.path)
        self._clock = clock
        self._redact = redact
        self._plugin_version = plugin_version
        self._conn: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None  # of the open file

    def close(self) -> None:
        """Closes the file."""
        if self._conn is not None:
            self._conn.close()
            self._conn = None

    def add(
        self,
        job: Delivery | CorruptRow,
        error: BaseException,
        retry_count: int,
        *,
        title: str = "",
        path: str = "",
    ) -> int:
        """Adds a dead letter, durably, or joins it to the one that the scene has there already. Returns its id.

        Args:
            job: the delivery, or the row that could not be decoded.
            error: why; its ``failure`` attribute, else its class, is the error type.
            retry_count: attempts since the newest event. Earlier ones that its history has are counted too.
            title: the scene's title, for people.
            path: the scene's path as Stash sees it; by default the job's, which has that of a deleted scene.
        """
        columns = {
            **rows.job_columns(job, self._plugin_version),
            **rows.error_columns(error, self._redact),
            "title": codec.storable(title),
            "path": codec.storable(path or (job.path if isinstance(job, Delivery) else "")),
            "failed_at": self._clock(),
        }
        columns |= rows.group_columns(columns, getattr(error, "cause", "")) | rows.computed(columns, retry_count)
        conn = self.opened()
        with transaction(conn):
            added = conn.execute(sql.ADD, columns)
            if added.rowcount:
                return int(added.lastrowid or 0)
            known, history, generation, old_title, old_path = conn.execute(sql.FIND_SAME, columns).fetchone()
            columns["title"] = columns["title"] or old_title
            columns["path"] = columns["path"] or old_path
            columns["history"] = rows.joined_history(history, columns["history"])
            columns["generation"] = max(columns["generation"], generation + 1)
            columns |= rows.computed(columns, retry_count)
            conn.execute(sql.JOIN, {**columns, "id": known})
            return int(known)

    # For people

    def get_recent(self, limit: int = 10, selection: Selection = ALL) -> list[Summary]:
        """The latest open dead letters of a selection, newest first; its ids are not looked at."""
        return [
            Summary(*row) for row in self._read(sql.RECENT, {**selection.parameters, "limit": limit, "offset": 0})
        ]

    def get_by_id(self, dead_letter_id: int) -> DeadLetter | None:
        """Everything about one dead letter; None if there is no such id."""
        found = self._read(sql.BY_ID, (dead_letter_id,))
        return rows.dead_letter(found[0]) if found else None

    def get_count(self) -> int:
        """How many open dead letters there are."""
        return self._number(sql.COUNT)

    def groups(self) -> list[Group]:
        """Open dead letters by cause, most first."""
        return [Group(*row) for row in self._read(sql.GROUPS)]

    def count_since(self, at: float) -> int:
        """Open dead letters that failed at or after a wall time."""
        return self._number(sql.COUNT_SINCE, (at,))

    def count_unseen(self, older_than_days: float) -> int:
        """Dead letters that failed more than this many days ago and that no person was shown."""
        return self._number(sql.COUNT_UNSEEN, (self._clock() - older_than_days * DAY,))

    def count_unsendable(self, selection: Selection = ALL) -> int:
        """Dead letters of a selection that can't be sent again, because scene or connection is unknown."""
        return self._count(sql.UNSENDABLE, selection)

    def count_newer(self, selection: Selection) -> int:
        """Open dead letters that a selection doesn't mean only because they failed after its ``as_of``."""
        return self._count(sql.NEWER_IDS, selection)

    def _count(self, statement: str, selection: Selection) -> int:
        """How many of the dead letters that a statement finds are among a selection's ids, if it has some."""
        found = self._read(statement, selection.parameters)
        return sum(selection.ids is None or dead_letter_id in selection.ids for (dead_letter_id,) in found)

    def mark_reviewed(self, ids: Collection[int]) -> None:
        """Remembers that a person was shown these."""
        if (conn := self._open()) is not None:
            listing.mark_reviewed(conn, ids, self._clock())

    def ask(self, selection: Selection = ALL) -> int:
        """Asks the worker to send a selection again, as far as that is possible. Returns how many dead letters."""
        return self._each(sql.ASK, self._meant(sql.ASKABLE, selection), selection.parameters)

    def ask_carefully(self, selection: Selection = ALL) -> tuple[int | None, int]:
        """Asks for one dead letter of a selection. The others are asked for when that one is delivered.

        It is the first of the ids that can be sent again, or else the newest. If it ends in any other way, the
        others stay dead. Returns its id, None if there is none, and how many wait.
        """
        conn = self._open()
        if conn is None:
            return None, 0
        with transaction(conn):
            first = self._first(selection)
            if first is None:
                return None, 0
            parameters = {**selection.parameters, "first": first}
            if selection.ids is None:
                waiting = conn.execute(sql.WAIT_FOR, parameters).rowcount
            else:
                each = ({**parameters, "id": dead_letter_id} for dead_letter_id in selection.ids)
                waiting = conn.executemany(sql.WAIT_FOR_ONE, each).rowcount
            conn.execute(sql.ASK, {**parameters, "id": first})
        return first, waiting

    def _first(self, selection: Selection) -> int | None:
        if selection.ids is None:
            found = self._read(sql.ASKABLE_FIRST, selection.parameters)
            return found[0][0] if found else None
        parameters = selection.parameters
        can = (i for i in selection.ids if self._read(sql.ASKABLE_ONE, {**parameters, "id": i}))
        return next(can, None)

    def discard(self, selection: Selection = ALL) -> Batch:
        """Discards the open dead letters of a selection, together. ``restore`` undoes it for ``UNDO_SECONDS``."""
        self.delete_discarded()
        batch = round(self._clock(), 3)
        while self._number(sql.BATCH_COUNT, {"batch": batch}):  # another one was discarded in this millisecond
            batch = round(batch + 0.001, 3)
        parameters = {**selection.parameters, "batch": batch}
        return Batch(batch, self._each(sql.DISCARD, self._meant(sql.SELECTED, selection), parameters))

    def restore(self, batch: float) -> int:
        """Undoes a discard. Returns how many dead letters it brought back."""
        parameters = {"batch": batch}
        return self._each(sql.RESTORE, [found for (found,) in self._read(sql.BATCH, parameters)], parameters)

    def _meant(self, statement: str, selection: Selection) -> Sequence[int]:
        """A selection's ids or, if it names none, those that a statement finds."""
        if selection.ids is not None:
            return [*selection.ids]
        return [found for (found,) in self._read(statement, selection.parameters)]

    def _each(self, statement: str, ids: Sequence[int], parameters: Mapping[str, str | float | None]) -> int:
        """Executes a statement with each id, in parts, between which the worker can write. Returns the changes."""
        conn, changed = self._open(), 0
        if conn is None:
            return 0
        for start in range(0, len(ids), CHANGED_ROWS):
            began = time.monotonic()
            with transaction(conn):
                each = ({**parameters, "id": i} for i in ids[start : start + CHANGED_ROWS])
                changed += conn.executemany(statement, each).rowcount
            if start + CHANGED_ROWS < len(ids):
                # SQLite polls while it waits: without a pause another process would rarely find the lock free.
                time.sleep((time.monotonic() - began) / 2)
        return changed

    def delete_discarded(self) -> int:
        """Deletes for good what was discarded more than ``UNDO_SECONDS`` ago, a part of it at each call.

        Deliveries wait meanwhile. Returns how many dead letters.
        """
        now = self._clock()
        times = {"before": now - UNDO_SECONDS, "after": now + UNDO_SECONDS}
        return self._delete(sql.PURGE_DISCARDED, times, DISCARDED_ROWS) if self._number(sql.OVER, times) else 0

    def delete_older_than(self, days: float = 30, *, unseen_before: float | None = None) -> int:
        """Deletes dead letters by age, except those on their way back. Logs and returns how many.

        Those that no person was shown are deleted only if they failed before the wall time ``unseen_before`` too;
        None makes no difference between them.
        """
        before = self._clock() - days * DAY
        times = {"before": before, "unseen_before": before if unseen_before is None else unseen_before}
        deleted = self._delete(sql.PURGE, times)
        log.info("purged %d dead letters older than %g days", deleted, days)
        return deleted

    # For the holder of the worker lock

    def recall(self, destination: str, scene_ids: Collection[int], since: float) -> int:
        """Asks for the dead letters of these scenes since a wall time, because the destination was at fault."""
        return sum(self._write(sql.RECALL, (destination, scene_id, since)) for scene_id in scene_ids)

    def unreported_since(self) -> float | None:
        """Wall time of the first dead letter that the owner wasn't sent a message about; None if there is none."""
        found: list[tuple[float | None]] = self._read(sql.UNREPORTED_SINCE)
        return found[0][0] if found else None

    def unreported(self) -> list[Group]:
        """Dead letters that the owner wasn't sent a message about, by cause.

        A group's text is what one of them says, without paths, addresses and the title.
        """
        found = []
        for *facts, newest in self._read(sql.UNREPORTED):
            group = Group(*facts)
            if dlq_groups.is_general(group.text):
                (letter,) = self._read(sql.CAUSE, (newest,))
                group = replace(group, text=dlq_groups.text_of(*letter, variable=dlq_groups.PRIVATE))
            found.append(group)
        return found

    def mark_reported(self) -> None:
        """Remembers that messages about all dead letters are in the queue."""
        self._write(sql.REPORTED, ())

    def asked(self) -> list[DeadLetter]:
        """Dead letters that a person wants sent again, oldest first, as many as are moved at a time."""
        if self._number(sql.RELEASED):  # by the delivery that they waited for
            self._write(sql.ASK_RELEASED, (ASKED_ROWS,))
        return [rows.dead_letter(row) for row in self._read(sql.ASKED, (ASKED_ROWS,))]

    def in_transit(self, state: str) -> Iterator[InTransit]:
        """Dead letters that are ``asked`` or ``back``, oldest first. Their states may be changed meanwhile."""
        last = 0
        while found := self._read(sql.IN_TRANSIT[state], (last, PAGE_ROWS)):
            for row in found:
                yield InTransit(*row)
            last = row[0]

    def find(self, destination: str, scene_id: int) -> tuple[int, str, int, int] | None:
        """Id, state, generation and seq of a scene's dead letter."""
        found = self._read(sql.BY_SCENE, (scene_id, destination))
        return found[0] if found else None

    def set_state(self, dead_letter_id: int, state: str) -> None:
        """Moves a dead letter to another state."""
        self._write(sql.SET_STATE, (state, dead_letter_id))

    @contextmanager
    def redriving(self, dead_letter_id: int) -> Iterator[bool]:
        """Makes a dead letter ``back`` when the block has ended, unless it isn't asked for any more.

        The block gets whether it is. It can't be discarded meanwhile.
        """
        with transaction(self.opened()):
            yield self._write(sql.REDRIVEN, (dead_letter_id,)) == 1

    def resolve(self, destination: str, scene_id: int, *, delivered: bool) -> None:
        """Resolves a scene's dead letter, because it was delivered, or because there is nothing to deliver.

        Its history stays. If it was delivered, those that wait for it are asked for; else they are just dead.
        """
        for (dead_letter_id,) in self._read(sql.RESOLVABLE, (scene_id, destination)):
            self.end(dead_letter_id, delivered=delivered)

    def end(self, dead_letter_id: int, *, delivered: bool) -> None:
        """Resolves a dead letter by its id; see ``resolve``."""
        with transaction(self.opened()):
            if delivered:
                self._write(sql.RELEASE, (dead_letter_id,))
            self._write(sql.SET_STATE, ("resolved", dead_letter_id))

    def end_waiting(self, destination: str | None = None) -> None:
        """Makes those just dead that wait for one that isn't on its way.

        With a destination, which is deleted: its own, and those that wait for one of its.
        """
        if destination is None:
            self._write(sql.END_WAITING, ())
        else:
            self._write(sql.END_WAITING_OF, {"destination": destination})

    # The file

    @property
    def moved(self) -> bool:
        """Whether the open file was removed or replaced."""
        return self._conn is not None and files.identity(self._file) != self._identity

    def opened(self) -> sqlite3.Connection:
        """The connection to the file, which is made if it is missing."""
        conn = self._open(create=True)
        assert conn is not None
        return conn

    def _read(self, statement: str, parameters: Any = ()) -> list[Any]:
        conn = self._open()
        return [] if conn is None else conn.execute(statement, parameters).fetchall()

    def _number(self, statement: str, parameters: Any = ()) -> int:
        found = self._read(statement, parameters)
        return int(found[0][0]) if found else 0

    def _write(self, statement: str, parameters: Any) -> int:
        conn = self._open()
        return 0 if conn is None else conn.execute(statement, parameters).rowcount

    def _delete(self, statement: str, parameters: Mapping[str, float], most: float = math.inf) -> int:
        """Deletes what a statement names, a part at a time. Returns how many."""
        deleted, count = 0, CHANGED_ROWS
        while count == CHANGED_ROWS and deleted < most:
            count = self._write(statement, {**parameters, "limit": CHANGED_ROWS})
            deleted += count
        if deleted:
            self._shrink()
        return deleted

    def _shrink(self) -> None:
        conn = self.opened()
        conn.execute(sql.EMPTY_GROUPS)
        free = conn.execute("PRAGMA freelist_count").fetchone()[0]
        for _ in range(free // FREE_PAGES + 1):
            shrink(conn, FREE_PAGES)
        conn.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()

    def _open(self, *, create: bool = False) -> sqlite3.Connection | None:
        """The connection; None while there is no file and none is to be made."""
        if self._conn is None:
            if not os.path.exists(self._file):  # noqa: PTH110  # asked after each delivery; pathlib is slow
                if not create:
                    return None
                store.make(self._file, sql.CREATE)
            self._identity = files.identity(self._file)
            self._conn = store.connect(self._file, BUSY_SECONDS, sql.VERSION)
            self._conn.execute("PRAGMA wal_autocheckpoint = 1000")  # no hook writes here
            self._conn.text_factory = codec.readable
        return self._conn
