"""SceneQueue: the inbox, and one delivery per destination and scene. The worker's side of queue.db.

Which delivery is due, and what becomes of it, is decided elsewhere; here it is made durable. At most
one delivery in flight per scene and destination, and newest wins, follow from the table's UNIQUE
constraint and ``seq``/``taken``, not from the code that calls.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import persistqueue
from persistqueue.serializers import json as json_serializer

from stash_courier.queue import codec, control, files, ledger, schema, store, transactions
from stash_courier.queue import statements as sql
from stash_courier.queue.jobs import Attempt, Backlog, CorruptRow, Delivery, Event, SceneEvent

LAST = (1 << 63) - 1  # no seq is higher
ROUTE_ROWS = 1000  # inbox rows in one transaction: cheap, and a hook that waits for it waits little
BUSY_SECONDS = 10.0
FREE_PAGES = 2000  # given back to the file system at a time: 8 MB
# The log is written over again and again: where it must grow, each sync costs several times as much.
LOG_PAGES, LOG_BYTES = 1000, 5 << 20  # moved into the file when it has so many; cut when it is larger


_INSERT = schema.INSERT.format(table_name=schema.INBOX)


class SceneQueue(persistqueue.SQLiteAckQueue):  # type: ignore[misc]  # it is not typed
    """persist-queue's SQLiteAckQueue for scene events, with deliveries behind it.

    ``put`` puts what persist-queue's own puts. Taking rows one by one with ``get`` and ``ack`` can't promise
    what this queue promises, so those are refused; ``route``, ``claim``, ``done`` and ``back``
    stand for them.

    Args:
        folder: the data folder; it exists.
        clock: wall time, unix seconds.

    Raises:
        sqlite3.DatabaseError: queue.db is damaged.
        store.QueueUnavailable: it has a schema version that this code doesn't know.
    """

    _TABLE_NAME = "ack_queue"
    _SQL_INSERT = schema.INSERT

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
        """Opens the file as the hook does; persist-queue's own way races on creation and counts all rows."""
        self._getter = self._putter = None  # for its __del__, should opening fail
        self._conn, self._gate = store.open_queue(str(self.folder), BUSY_SECONDS, patient=True)
        self._conn.execute(f"PRAGMA wal_autocheckpoint = {LOG_PAGES}")
        self._conn.text_factory = codec.exact
        self._getter = self._putter = self._conn
        self.tran_lock = threading.Lock()
        self.action_lock = threading.Lock()
        self.put_event = threading.Event()

    @property
    def connection(self) -> sqlite3.Connection:
        """The connection, for the ledger and control tables, whose rows change in the same transactions."""
        return self._conn

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """One durable transaction around what stands in the block."""
        with transactions.transaction(self._conn):
            yield

    def close(self) -> None:
        """Closes the file and lets go of the gate; what is in flight stays so until ``recover``."""
        if self._getter is not None:
            self._getter = self._putter = None
            self._conn.close()
            os.close(self._gate)

    __del__ = close

    # The inbox

    def put(self, item: dict[str, object]) -> int:
        """Puts an event into the inbox: the row that persist-queue's own put makes, and a hook. Returns its id.

        Without persist-queue's locks, since one thread has this queue.
        """
        return int(self._conn.execute(_INSERT, (store.encode(item), self._clock())).lastrowid or 0)

    def put_many(self, events: Iterable[bytes]) -> None:
        """Puts encoded events into the inbox in one transaction."""
        at = self._clock()
        with self.transaction():
            self._conn.executemany(self._sql_insert, ((event, at) for event in events))

    def inbox_rows(self, limit: int = ROUTE_ROWS, *, up_to: int = LAST) -> list[SceneEvent | CorruptRow]:
        """The oldest events, decoded: at most ``limit``, and none with a seq above ``up_to``."""
        return [codec.event(*row) for row in self._conn.execute(sql.INBOX_ROWS, (up_to, limit)).fetchall()]

    def route(
        self, events: Collection[SceneEvent | CorruptRow], destinations: Collection[str], settle_seconds: float
    ) -> None:
        """Moves events from the inbox to one delivery per destination and scene, in one transaction.

        Args:
            events: what ``inbox_rows`` returned; broken ones are removed, so bury them first.
            destinations: ids; empty drops the events.
            settle_seconds: how long the first event of a scene waits for others.
        """
        with self.transaction():
            for event in events:
                if isinstance(event, SceneEvent):
                    for destination in destinations:
                        self._add(event, destination, settle_seconds)
                self._conn.execute(sql.INBOX_DELETE, (event.seq,))

    def redrive(self, event: SceneEvent, destination: str, generation: int) -> None:
        """Puts a dead letter's event back as a delivery, or merges it into the one that is there."""
        with self.transaction():
            self._add(event, destination, 0.0, generation)

    def next_seq(self) -> int:
        """A seq for an event that comes from no hook."""
        with self.transaction():
            seq = int(self._conn.execute(self._sql_insert, (b"", 0.0)).lastrowid or 0)
            self._conn.execute(sql.INBOX_DELETE, (seq,))
        return seq

    def _add(self, event: SceneEvent, destination: str, settle_seconds: float, generation: int = 0) -> None:
        kind: Event = event.event
        changed, data = " ".join(event.changed), json.dumps(codec.facts(event))
        row = self._conn.execute(sql.FIND, (destination, event.scene_id)).fetchone()
        waiting_due = None  # of what settles; what backs off is due anew
        if row is not None:
            row_id, status, *waits, row_due, attempts, row_generation = row[:8]
            in_flight = status == 2
            if in_flight:
                *waits, row_due = row[8:]
            if in_flight or attempts == 0:
                waiting_due = row_due
            if waits[0] is not None:
                # A dead letter's event is older than whatever came in since.
                halves = [waits, (kind, changed, data)]
                kind, changed, data = codec.joined(*(reversed(halves) if generation else halves))
        # An event from before the clock was set back isn't later than now, and a destroy waits for nothing.
        due = min(event.at, self._clock()) + (0.0 if kind == "destroy" else settle_seconds)
        new = {
            "destination": destination,
            "scene_id": event.scene_id,
            "data": data,
            "at": event.at,
            "event": kind,
            "changed": changed,
            "seq": event.seq,
            "due": due if waiting_due is None else min(waiting_due, due),
            "priority": int(event.bulk),
            "generation": generation,
        }
        if row is None:
            self._conn.execute(sql.ADD, new)
            return
        known = row_generation if control.is_whole(row_generation) else 0
        new |= {"row_id": row_id, "generation": max(known, generation)}
        self._conn.execute(sql.JOIN_IN_FLIGHT if in_flight else sql.JOIN_WAITING, new)

    # Deliveries

    def claim(
        self, destination: str, limit: int, now: float, *, suspects: bool = False
    ) -> list[Delivery | CorruptRow]:
        """Takes due deliveries of a destination, edits before bulk, oldest due first.

        Args:
            destination: its id.
            limit: how many at most.
            now: wall time.
            suspects: at most one, of those that were in flight when a worker died; else none of them.
        """
        return self._claimed(sql.CLAIM_SUSPECT if suspects else sql.CLAIM, destination, limit, now)

    def claim_probe(self, destination: str) -> list[Delivery | CorruptRow]:
        """Takes the delivery that has waited longest, due or not, to try an ill destination; no suspect."""
        return self._claimed(sql.CLAIM_PROBE, destination, 1, 0.0)

    def _claimed(self, statement: str, destination: str, limit: int, now: float) -> list[Delivery | CorruptRow]:
        rows = self._conn.execute(statement, {"destination": destination, "limit": limit, "now": now}).fetchall()
        rows.sort(key=lambda row: row[-2:])  # RETURNING has no order
        return [codec.delivery(row[:-2]) for row in rows]

    def next_due(self, destination: str) -> float | None:
        """Wall time at which the destination's next delivery that is no suspect is due; None if none waits."""
        return _time(self._conn.execute(sql.NEXT_DUE, {"destination": destination}).fetchone()[0])

    def suspect_due(self, destination: str) -> float | None:
        """As ``next_due``, of those that were in flight when a worker died."""
        return _time(self._conn.execute(sql.SUSPECT_DUE, (destination,)).fetchone()[0])

    def next_suspect(self, destination: str, now: float) -> tuple[int, float] | None:
        """Deaths and wall time of the suspect that ``claim`` would take; None if none is due."""
        row = self._conn.execute(sql.NEXT_SUSPECT, {"destination": destination, "now": now}).fetchone()
        return None if row is None else (row[0], row[1])

    def superseded(self, delivery: Delivery) -> bool:
        """Whether a newer event of the scene came in while this delivery was in flight."""
        row = self._conn.execute(sql.SUPERSEDED, (delivery.row_id,)).fetchone()
        return row is not None and bool(row[0])

    def done(self, delivery: Delivery) -> None:
        """Ends a delivery; what came in meanwhile becomes the next one. Alone, or within a transaction."""
        if not self._conn.execute(sql.DONE, (delivery.row_id,)).rowcount:
            self._conn.execute(sql.START_LATER, (delivery.row_id,))

    def back(self, delivery: Delivery, due: float | None, attempt: Attempt | None = None) -> None:
        """Puts a delivery back to wait. Within a transaction.

        A newer event that came in meanwhile is merged, is due by its own time and resets the counts.

        Args:
            delivery: as claimed, with its counts increased by the caller.
            due: wall time; None leaves it due as it was.
            attempt: the failure to remember; None if no try ended.
        """
        row = self._conn.execute(sql.LATER, (delivery.row_id,)).fetchone()
        if row is None:
            return
        later, later_changed, later_due, later_data = row
        history = (*delivery.history, attempt) if attempt else delivery.history
        was = delivery.event, " ".join(delivery.changed), json.dumps(codec.facts(delivery, history))
        kind, changed, data = was if later is None else codec.joined(was, (later, later_changed, later_data))
        values: dict[str, object] = {
            "row_id": delivery.row_id,
            "event": kind,
            "changed": changed,
            "data": data,
            "unended": attempt is None,
            "due": due,
            "counted_attempts": delivery.counted_attempts,
            "attempts": delivery.attempts,
            "not_found": delivery.not_found,
        }
        if later is not None:
            values |= {"due": later_due, "counted_attempts": 0, "attempts": 0, "not_found": 0}
        self._conn.execute(sql.BACK, values)

    def remove(self, row_id: int) -> None:
        """Deletes a delivery whose dead letter is safe. Within a transaction."""
        self._conn.execute(sql.REMOVE, (row_id,))

    def give_back(self, destination: str, scene_ids: Collection[int]) -> None:
        """Takes back one counted attempt of waiting deliveries. Within a transaction."""
        self._conn.executemany(sql.GIVE_BACK, ((destination, scene_id) for scene_id in scene_ids))

    def make_due(self, now: float, destination: str | None = None, *, only_failed: bool = False) -> int:
        """Makes what waits due now, of one destination or of all; returns how many.

        Args:
            now: wall time.
            destination: None for all.
            only_failed: not what settles, nor what a media server doesn't know yet.
        """
        values = {"now": now, "destination": destination, "only_failed": only_failed}
        return int(self._conn.execute(sql.MAKE_DUE, values).rowcount)

    def rename(self, old: str, new: str) -> None:
        """Gives all that is kept of a destination to a name that has no delivery. Within a transaction."""
        self._conn.execute(sql.RENAME, (new, old))
        ledger.rename(self._conn, old, new)
        control.rename(self._conn, old, new)

    def shift(self, seconds: float) -> None:
        """Moves what is due along with a jump of the wall clock. Within a transaction."""
        self._conn.execute(sql.SHIFT, (seconds,))

    def recover(self) -> None:
        """Takes back what was in flight when the last worker ended; only for the holder of the worker lock.

        All of it is suspect. A death counts for the suspect that was watched, or for what was in flight alone.
        """
        with self.transaction():
            self._conn.execute(sql.MEND_DUE)  # what is due at no time would wait for ever
            found = self.in_flight()
            self._conn.execute(sql.SUSPECT, (len(found) == 1,))
            for delivery in found:
                if isinstance(delivery, Delivery):
                    self.back(delivery, None)
                else:
                    self._conn.execute(sql.UNCLAIM, (delivery.seq,))

    def in_flight(self) -> list[Delivery | CorruptRow]:
        """Claimed deliveries whose end is not known."""
        return [codec.delivery(row) for row in self._conn.execute(sql.IN_FLIGHT).fetchall()]

    def generation(self, destination: str, scene_id: int) -> int | None:
        """How often a scene's delivery has moved between queue and dead letters; None if there is none."""
        row = self._conn.execute(sql.GENERATION, (destination, scene_id)).fetchone()
        return None if row is None else int(row[0])

    # What is in it

    def backlog(self) -> dict[str, Backlog]:
        """What waits, per destination. Reads the whole index: for people, not for the loop."""
        return {row[0]: Backlog(*row[1:]) for row in self._conn.execute(sql.BACKLOG)}

    def holds(self, destination: str) -> bool:
        """Whether there is a delivery to this destination, in flight or not."""
        return self._conn.execute(sql.HOLDS, (destination,)).fetchone() is not None

    def inbox_count(self) -> int:
        """Events that are not routed yet."""
        count: int = self._conn.execute(sql.INBOX_COUNT).fetchone()[0]
        return count

    def newest_seq(self) -> int:
        """The newest event that isn't routed yet; 0 if all are."""
        return int(self._conn.execute(sql.INBOX_NEWEST).fetchone()[0] or 0)

    def inbox_empty(self) -> bool:
        """Whether every event has been routed."""
        return self._conn.execute(sql.INBOX_ANY).fetchone() is None

    def empty(self) -> bool:
        """Whether neither an event nor a delivery waits."""
        return self.inbox_empty() and self._conn.execute(sql.ANY).fetchone() is None

    @property
    def size(self) -> int:
        """Events and deliveries in the file, counted there: persist-queue's own count is per process."""
        deliveries: int = self._conn.execute(sql.COUNT).fetchone()[0]
        return self.inbox_count() + deliveries

    def tidy(self) -> None:
        """Checkpoints and gives free pages back to the file system; the worker alone does this.

        It waits for nobody: a checkpoint that waits for a reader keeps all hooks from writing.
        """
        transactions.shrink(self._conn, FREE_PAGES)
        try:
            large = (self.folder / f"{files.QUEUE_DB}-wal").stat().st_size > LOG_BYTES
        except OSError:
            large = False  # another program has taken the file out of WAL mode
        self._conn.execute("PRAGMA busy_timeout = 0")
        try:
            self._conn.execute(f"PRAGMA wal_checkpoint({'TRUNCATE' if large else 'PASSIVE'})").fetchone()
        finally:
            self._conn.execute(f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000:.0f}")

    # What persist-queue offers and this queue can't honour

    def _refused(self, *_: Any, **__: Any) -> NoReturn:
        """Refused: rows are routed and claimed, never taken one by one."""
        raise NotImplementedError("SceneQueue has route(), claim(), done() and back() instead")

    get = get_nowait = ack = ack_failed = nack = update = queue = task_done = _refused
    resume_unack_tasks = clear_acked_data = shrink_disk_usage = active_size = _refused
    unack_count = acked_count = ready_count = ack_failed_count = _refused


def _time(due: object) -> float | None:
    """A time from a row; None for what damage has made of one, which ``recover`` mends."""
    return float(due) if isinstance(due, int | float) else None
