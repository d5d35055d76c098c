"""SceneQueue: the inbox, and one delivery per destination and scene. The worker's side of queue.db.

That at most one delivery per scene and destination is in flight, and that the newest event wins, follows from the
table's UNIQUE constraint and ``seq``/``taken``, not from its callers.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import persistqueue
from persistqueue.serializers import json as json_serializer

from stash_courier.queue import codec, transactions
from stash_courier.queue.deliveries import backlog, coalesce
from stash_courier.queue.deliveries import statements as sql
from stash_courier.queue.deliveries.coalesce import Content, Pending
from stash_courier.queue.deliveries.late_sync import LateSync
from stash_courier.queue.inbox import files, schema, store
from stash_courier.queue.jobs import PRIORITIES, Attempt, Backlog, CorruptRow, Delivery, SceneEvent
from stash_courier.queue.transactions import BUSY_SECONDS
from stash_courier.queue.troubles import NOTICE

LAST = (1 << 63) - 1  # no seq is higher
ROUTE_ROWS = 200  # inbox rows in one transaction: a few milliseconds, in which hooks wait
PROBE_DEPTH = 1000  # waiting deliveries that are looked at for one that never failed
LONGEST_WAIT = 1.2 * 7 * 86_400.0  # seconds: the longest entry of a retry schedule, with its jitter
FREE_PAGES = 2000  # given back to the file system at a time: 8 MB
# The write-ahead log is reused rather than truncated: while it grows, each sync costs several times as much.
LOG_PAGES, LOG_BYTES = 1000, 5 << 20  # checkpoint and truncate when it is larger


class SceneQueue(persistqueue.SQLiteAckQueue):  # type: ignore[misc]  # it is not typed
    """persist-queue's SQLiteAckQueue as an inbox of scene events, and the table of their deliveries.

    ``get``, ``ack`` and the like are refused, since taking rows one by one can't keep this queue's promises.

    Args:
        folder: the data folder; it exists.
        clock: wall time, unix seconds.

    Raises:
        sqlite3.DatabaseError: queue.db is damaged.
        store.QueueUnavailable: it has a schema version that this code doesn't know.
    """

    def __init__(self, folder: Path, *, clock: Callable[[], float] = time.time) -> None:
        self.folder = folder
        self._clock = clock
        super().__init__(
            str(folder),
            auto_resume=False,
            name="inbox",
            timeout=BUSY_SECONDS,
            serializer=json_serializer,
            db_file_name=files.QUEUE_DB,
        )

    def _init(self) -> None:
        """Opens the file as the hook does. persist-queue's own way races on creation and counts all rows."""
        self._getter = self._putter = None  # for __del__, in case opening fails
        # The ledger and control tables are changed through this connection too, in the same transactions.
        self.connection, self._gate = store.open_queue(str(self.folder), BUSY_SECONDS, patient=True)
        self.connection.execute(f"PRAGMA wal_autocheckpoint = {LOG_PAGES}")
        self.connection.text_factory = codec.exact
        self._late_sync = LateSync(self.connection, str(self.folder / files.QUEUE_DB))
        self._getter = self._putter = self.connection

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Makes the block one durable transaction.

        Raises:
            sqlite3.OperationalError: another connection holds the write lock, or the disk is full. If the disk
                can't be synced, the transaction is committed all the same: what follows must bear a repetition.
        """
        with self._late_sync.unsynced(), transactions.transaction(self.connection):
            yield
        self._late_sync.sync()

    def close(self) -> None:
        """Closes the file and releases the gate. What is in flight stays in flight until ``recover``."""
        if self._getter is not None:
            self._getter = self._putter = None
            self._late_sync.close()
            self.connection.close()
            os.close(self._gate)

    __del__ = close

    # The inbox

    def put(self, item: dict[str, object]) -> int:
        """Puts an event into the inbox and returns its seq. Without a lock: a SceneQueue belongs to one thread."""
        return int(self.connection.execute(schema.INSERT, (store.encode(item), self._clock())).lastrowid or 0)

    def put_many(self, events: Iterable[bytes]) -> None:
        """Puts encoded events into the inbox in one transaction."""
        at = self._clock()
        with self.transaction():
            self.connection.executemany(schema.INSERT, ((event, at) for event in events))

    def inbox_rows(self, limit: int = ROUTE_ROWS, *, up_to: int = LAST) -> list[SceneEvent | CorruptRow]:
        """The oldest events, decoded: at most ``limit``, and none with a seq above ``up_to``."""
        return [codec.event(*row) for row in self.connection.execute(sql.INBOX_ROWS, (up_to, limit)).fetchall()]

    def route(
        self,
        events: Collection[SceneEvent | CorruptRow],
        destinations: Mapping[str, float],
        until: Mapping[str, float] | None = None,
    ) -> None:
        """Moves events from the inbox to one delivery per destination and scene, in one transaction.

        Corrupt rows are removed, so bury them first. Without destinations the events are dropped.

        Args:
            destinations: by id, how many seconds the first event of a scene waits for others.
            until: by id, the wall time from which on events don't go there.
        """
        with self.transaction():
            for event in events:
                if isinstance(event, SceneEvent):
                    for destination, settle_seconds in destinations.items():
                        ended = until is not None and event.at >= until.get(destination, event.at + 1)
                        if not ended and (not event.to or destination in event.to):
                            self._add(event, destination, settle_seconds)
                self.connection.execute(sql.INBOX_DELETE, (event.seq,))

    def redrive(self, event: SceneEvent, destination: str, generation: int) -> None:
        """Makes a dead letter's event, with a new seq, a delivery again, or merges it into the present one."""
        with self.transaction():
            self._add(event, destination, 0.0, generation=generation)

    def next_seq(self) -> int:
        """A seq for an event that comes from no hook."""
        with self.transaction():
            return self._next_seq()

    def _next_seq(self) -> int:
        seq = int(self.connection.execute(schema.INSERT, (b"", 0.0)).lastrowid or 0)
        self.connection.execute(sql.INBOX_DELETE, (seq,))
        return seq

    def notify(self, destination: str, slot: int, notice: str, at: float) -> None:
        """Queues a message about trouble, or joins it to the one in its slot. Within a transaction.

        ``at`` is wall time. What is in a notice and what slots are is in troubles.py.
        """
        self._add(SceneEvent(self._next_seq(), slot, NOTICE, (), at, notice=notice), destination, 0.0)

    def _add(
        self,
        event: SceneEvent,
        destination: str,
        settle_seconds: float,
        *,
        generation: int = 0,
    ) -> None:
        row = self.connection.execute(sql.PENDING, (destination, event.scene_id)).fetchone()
        pending = None if row is None else Pending(*row)
        columns = coalesce.delivery_columns(
            event, pending, self._clock(), settle_seconds=settle_seconds, generation=generation
        )
        if pending is None:
            self.connection.execute(sql.ADD, {**columns, "destination": destination})
        else:
            join = sql.JOIN_IN_FLIGHT if pending.in_flight else sql.JOIN_WAITING
            self.connection.execute(join, {**columns, "row_id": pending.row_id})

    # Deliveries

    def claim(self, destination: str, limit: int, now: float, *, edits: bool) -> list[Delivery | CorruptRow]:
        """Takes at most ``limit`` due deliveries of a destination, in the order to send them.

        Either edits only, or only the rest: what comes from dead letters and sweeps before what comes from bulk.
        None that was in flight when a worker died: see ``claim_counted``.
        """
        values = {"destination": destination, "limit": limit, "now": now}
        return self._claimed(sql.CLAIM_EDITS if edits else sql.CLAIM_REST, values)

    def claim_counted(self, destination: str, limit: int = 1) -> list[Delivery | CorruptRow]:
        """Takes deliveries that were in flight when a worker died, and so were due; the fewest deaths first."""
        return self._claimed(sql.CLAIM_COUNTED, {"destination": destination, "limit": limit})

    def fewest_deaths(self, destination: str) -> int:
        """The lowest count of deaths that a waiting delivery has; 0 if none has one."""
        row = self.connection.execute(sql.FEWEST_DEATHS, {"destination": destination}).fetchone()
        return 0 if row is None else int(row[0])

    def claim_probe(self, destination: str, now: float) -> list[Delivery | CorruptRow]:
        """Takes the delivery that is most likely to succeed, to probe a held destination.

        That is the newest edit that never failed, then one of a lower priority that never failed, then the one
        that has waited longest, due or not. None with a count of deaths.
        """
        found = self._find(sql.NEWEST_UNTRIED_EDIT, destination, now)
        for priority in PRIORITIES:
            found = found or self._find(sql.OLDEST_UNTRIED, destination, now, priority)
        found = found or self._find(sql.LONGEST_WAITING, destination, now)
        return [] if found[0] is None else self._claimed(sql.CLAIM_ONE, found[:1])

    def newest_untried_edit(self, destination: str, now: float) -> float | None:
        """Wall time of the newest due edit that never failed, as far as it is found at once; else None."""
        found = self._find(sql.NEWEST_UNTRIED_EDIT, destination, now)
        return None if found is None else _time(found[1])

    def _find(self, statement: str, destination: str, now: float, priority: int = 0) -> Any:
        values = {"destination": destination, "now": now, "priority": priority, "depth": PROBE_DEPTH}
        return self.connection.execute(statement, values).fetchone()

    def _claimed(self, statement: str, values: Any) -> list[Delivery | CorruptRow]:
        with self._late_sync.unsynced():  # a claim that a power cut undoes waits again, as any claim after it
            rows = self.connection.execute(statement, values).fetchall()
        rows.sort(key=lambda row: row[-2:])  # by priority and due: RETURNING has no order
        return [codec.delivery(row) for row in rows]

    def next_due(self, destination: str) -> tuple[float | None, float | None]:
        """When the next edit and the next of the rest are due: wall times, None if none waits.

        Those with a count of deaths aside.
        """
        values = {"destination": destination}
        edit = self.connection.execute(sql.NEXT_EDIT_DUE, values).fetchone()[0]
        rest = self.connection.execute(sql.NEXT_REST_DUE, values).fetchone()[0]
        return _time(edit), _time(rest)

    def superseded(self, delivery: Delivery) -> bool:
        """Whether a newer event of the scene came in while this delivery was in flight."""
        row = self.connection.execute(sql.SUPERSEDED, (delivery.row_id,)).fetchone()
        return row is not None and bool(row[0])

    def done(self, delivery: Delivery) -> None:
        """Ends a delivery that succeeded. What came in meanwhile becomes the next one."""
        if not self.connection.execute(sql.DONE, (delivery.row_id,)).rowcount:
            self.connection.execute(sql.START_LATER, (delivery.row_id,))

    def back(self, delivery: Delivery, due: float | None, attempt: Attempt | None = None) -> None:
        """Puts a delivery back to wait. Within a transaction.

        A newer event that came in meanwhile is merged into it, sets its due time and resets the counts.

        Args:
            delivery: as claimed, with its counts increased by the caller.
            due: wall time; None keeps the due time.
            attempt: the failure to remember; None if no attempt has ended.
        """
        row = self.connection.execute(sql.LATER, (delivery.row_id,)).fetchone()
        if row is None:
            return
        *later, later_due = row
        content = coalesce.content_of(delivery, (*delivery.history, attempt) if attempt else delivery.history)
        values: dict[str, object] = {
            "row_id": delivery.row_id,
            "unended": attempt is None,
            "due": due,
            "counted_attempts": delivery.counted_attempts,
            "attempts": delivery.attempts,
            "not_found": delivery.not_found,
        }
        if later[0] is not None:
            content = coalesce.joined(content, Content(*later))
            values |= {"due": later_due, "counted_attempts": 0, "attempts": 0, "not_found": 0}
        self.connection.execute(sql.BACK, values | content._asdict())

    def remove(self, row_id: int) -> None:
        """Deletes a delivery whose dead letter is safe. Within a transaction."""
        self.connection.execute(sql.REMOVE, (row_id,))

    def waiting(self, destination: str, limit: int) -> list[Delivery | CorruptRow]:
        """Deliveries to a destination that aren't in flight, at most ``limit``, in no order."""
        return [codec.delivery(row) for row in self.connection.execute(sql.WAITING, (destination, limit))]

    def discard(self, destination: str, limit: int) -> None:
        """Deletes deliveries that aren't in flight, at most ``limit``. Within a transaction."""
        self.connection.execute(sql.DISCARD, (destination, limit))

    def give_back(self, destination: str, scene_ids: Collection[int]) -> None:
        """Takes back one counted attempt of waiting deliveries. Within a transaction."""
        self.connection.executemany(sql.GIVE_BACK, ((destination, scene_id) for scene_id in scene_ids))

    def make_due(self, now: float, destination: str | None = None, *, only_failed: bool = False) -> int:
        """Makes due now what waits for one destination or, without one, for all. Returns how many deliveries.

        ``only_failed`` leaves out what has not been tried yet and what a media server doesn't know yet.
        """
        values = {"now": now, "destination": destination, "only_failed": only_failed}
        return int(self.connection.execute(sql.MAKE_DUE, values).rowcount)

    def shift(self, seconds: float) -> None:
        """Moves all due times along with a jump of the wall clock. Within a transaction.

        One that is then further away than anything waits was set by another clock: it becomes due now.
        """
        self.connection.execute(sql.SHIFT, (seconds,))
        self._reset_due()

    def _reset_due(self) -> None:
        now = self._clock()
        self.connection.execute(sql.RESET_DUE, {"now": now, "latest": now + LONGEST_WAIT})

    def recover(self, *, died: bool = True) -> None:
        """Puts back what was in flight when the last worker ended. Needs the worker lock.

        A worker that ends cleanly leaves nothing in flight. If it ``died``, that counts for all that it has left.
        """
        with self.transaction():
            self._reset_due()
            if died:
                self.connection.execute(sql.COUNT_DEATH)
            for delivery in self.in_flight():
                if isinstance(delivery, Delivery):
                    self.back(delivery, None)
                else:
                    self.connection.execute(sql.UNCLAIM, (delivery.seq,))

    def in_flight(self) -> list[Delivery | CorruptRow]:
        """Claimed deliveries whose outcome is not known."""
        return [codec.delivery(row) for row in self.connection.execute(sql.IN_FLIGHT).fetchall()]

    def generation(self, destination: str, scene_id: int) -> int | None:
        """How often a scene's delivery has moved between queue and dead letters; None if there is no delivery."""
        row = self.connection.execute(sql.GENERATION, (destination, scene_id)).fetchone()
        return None if row is None else int(row[0])

    # Counts

    def backlog(self) -> dict[str, Backlog]:
        """What waits, per destination; see ``backlog.by_destination``."""
        return backlog.by_destination(self.connection)

    def holds(self, destination: str) -> bool:
        """Whether there is a delivery to this destination, in flight or not."""
        return self.connection.execute(sql.HOLDS, (destination,)).fetchone() is not None

    def inbox_count(self) -> int:
        """Events that are not routed yet."""
        return backlog.inbox_count(self.connection)

    def newest_seq(self) -> int:
        """The seq of the newest event that isn't routed yet; 0 if all are."""
        return int(self.connection.execute(sql.INBOX_NEWEST).fetchone()[0] or 0)

    def inbox_empty(self) -> bool:
        """Whether every event has been routed."""
        return self.connection.execute(sql.INBOX_ANY).fetchone() is None

    def empty(self) -> bool:
        """Whether neither an event nor a delivery waits."""
        return self.inbox_empty() and self.connection.execute(sql.ANY).fetchone() is None

    @property
    def size(self) -> int:
        """Events and deliveries in the file. persist-queue's own count is per process."""
        return self.inbox_count() + int(self.connection.execute(sql.COUNT).fetchone()[0])

    def tidy(self) -> None:
        """Gives free pages back to the file system and checkpoints.

        It doesn't wait for readers: a checkpoint that waits for one keeps all hooks from writing.
        """
        transactions.shrink(self.connection, FREE_PAGES)
        try:
            large = (self.folder / f"{files.QUEUE_DB}-wal").stat().st_size > LOG_BYTES
        except OSError:
            large = False  # another program has switched the file out of WAL mode
        self.connection.execute("PRAGMA busy_timeout = 0")
        try:
            self.connection.execute(f"PRAGMA wal_checkpoint({'TRUNCATE' if large else 'PASSIVE'})").fetchone()
        finally:
            self.connection.execute(f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000:.0f}")

    # What persist-queue offers and this queue can't support

    def _refused(self, *_: Any, **__: Any) -> NoReturn:
        raise NotImplementedError("SceneQueue has route(), claim(), done() and back() instead")

    get = get_nowait = ack = ack_failed = nack = update = queue = task_done = _refused
    resume_unack_tasks = clear_acked_data = shrink_disk_usage = active_size = _refused
    unack_count = acked_count = ready_count = ack_failed_count = _refused


def _time(stored: object) -> float | None:
    """A wall time; None if it is unset, or damaged, which must not stop the loop."""
    return float(stored) if isinstance(stored, int | float) else None
