"""DeadLetterQueue: what could not be delivered, with everything needed to understand and re-send it.

Its own file, dlq.db, made on first use. Buttons read, discard and ask for a redrive here; only the
holder of the worker lock moves rows between this file and queue.db, see moves.py.
"""

from __future__ import annotations

import json
import logging
import os
import sqlite3
import time
import traceback
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from stash_courier.queue import codec, files, pickles, store
from stash_courier.queue.dlq_statements import CREATE, VERSION
from stash_courier.queue.jobs import Attempt, CorruptRow, DeadLetter, Delivery, Summary
from stash_courier.queue.transactions import shrink, transaction

BUSY_SECONDS = 10.0
PURGE_ROWS = 500  # deleted in one transaction, so that nobody waits for a purge
FREE_PAGES = 250  # given back to the file system after each such transaction: 1 MB
CHECKPOINT_PAGES = 1000  # buttons write here too, and no hook: whoever comes by checkpoints
LOOK_ROWS = 1000  # read at a time, however many there are
TRACE_CHARACTERS = 16_000
DAY = 86_400.0

_SUMMARY = (
    "id, job_id, scene_id, title, destination, event, error_type, error_message, retry_count, failed_at, state"
)
_OPEN = "state IN ('dead', 'asked')"
_KNOWN = "destination != '' AND scene_id > 0"  # else nobody can tell what it was about
_COLUMNS = (
    *("job_id", "scene_id", "destination", "event", "title", "job_data", "history", "error_type"),
    *("error_message", "stack_trace", "retry_count", "failed_at", "generation", "seq", "plugin_version"),
)
# What a new one joins. A row that can't be decoded may name no scene; its own id tells it from others then.
_SAME = (
    "FROM dead_letters WHERE scene_id = :scene_id AND destination = :destination "
    "AND (:scene_id > 0 OR job_id = :job_id)"
)
# One statement, and so one transaction without more ado, for nearly every one is the first of its scene.
_ADD = (
    f"INSERT INTO dead_letters ({', '.join(_COLUMNS)}) SELECT :{', :'.join(_COLUMNS)} "
    f"WHERE NOT EXISTS (SELECT 1 {_SAME})"
)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class OnTheWay:
    """A dead letter that is asked for or back, without what it holds."""

    id: int
    destination: str
    scene_id: int
    generation: int
    seq: int


class DeadLetterQueue:
    """Dead letters in ``<data folder>/dlq.db``.

    Args:
        data_dir: the data folder; it exists.
        clock: wall time, unix seconds.
        redact: takes secrets out of a text before it is stored.

    Methods raise sqlite3.Error when the file can't be read or written.
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

    def close(self) -> None:
        """Closes the file."""
        if self._conn is not None:
            self._conn.close()
            self._conn = None

    def add(
        self, job: Delivery | CorruptRow, error: BaseException, retry_count: int, *, title: str = "", seq: int = 0
    ) -> int:
        """Buries a job: it is safe when this returns. A second one of the same scene and destination joins it.

        Args:
            job: the delivery, or the row that could not be decoded.
            error: why; its ``failure`` attribute, else its class, is the error type.
            retry_count: tries that were made.
            title: the scene's, for people.
            seq: newest event that the job covers, if the job doesn't say.

        Returns:
            The dead letter's id.
        """
        values = self._values(job, error, retry_count, title, seq)
        conn = self._open(create=True)
        assert conn is not None
        added = conn.execute(_ADD, values)
        if added.rowcount:
            return int(added.lastrowid or 0)
        with transaction(conn):
            found = conn.execute(f"SELECT id, history, generation {_SAME}", values).fetchone()
            if found is None:  # it was discarded in between
                return int(conn.execute(_ADD, values).lastrowid or 0)
            return self._join(conn, values, *found)

    def _values(
        self, job: Delivery | CorruptRow, error: BaseException, retry_count: int, title: str, seq: int
    ) -> dict[str, Any]:
        trace = _trace(error)[-TRACE_CHARACTERS:]
        content = {**_plain(job), "plugin_version": self._plugin_version}
        attempts = [_plain(a) for a in job.history] if isinstance(job, Delivery) else []
        if isinstance(job, Delivery):
            content["history"] = attempts
            content["changed"] = list(job.changed)
        return {
            "job_id": job.job_id if isinstance(job, Delivery) else f"{job.destination or 'inbox'}:{job.seq}",
            "scene_id": job.scene_id,
            "destination": job.destination,
            "event": job.event if isinstance(job, Delivery) else "unknown",
            "title": codec.storable(title),
            "job_data": pickles.dumps(content),
            "history": json.dumps(attempts),
            "error_type": str(getattr(error, "failure", type(error).__name__)),
            "error_message": codec.storable(self._redact(str(error))),
            "stack_trace": codec.storable(self._redact(trace)),
            "retry_count": retry_count,
            "failed_at": self._clock(),
            "generation": (job.generation if isinstance(job, Delivery) else 0) + 1,
            "seq": job.seq if isinstance(job, Delivery) else seq,
            "plugin_version": self._plugin_version,
        }

    @staticmethod
    def _join(
        conn: sqlite3.Connection, values: dict[str, Any], dead_letter: int, history: str, generation: int
    ) -> int:
        attempts = *(codec.history(history) or ()), *(codec.history(values["history"]) or ())
        known = codec.latest(list(dict.fromkeys(attempts)))  # a delivery brings along what was known
        values["history"] = json.dumps([_plain(attempt) for attempt in known])
        values["generation"] = max(values["generation"], generation + 1)
        sets = ", ".join(f"{name} = :{name}" for name in values if name not in {"scene_id", "destination"})
        conn.execute(
            f"UPDATE dead_letters SET {sets}, state = 'dead', reviewed_at = NULL WHERE id = :id",
            {**values, "id": dead_letter},
        )
        return dead_letter

    # For people

    def get_recent(
        self, limit: int = 10, *, error_type: str | None = None, destination: str | None = None
    ) -> list[Summary]:
        """The latest open dead letters, all or those that fit, newest first; nothing is unpickled."""
        conn = self._open()
        if conn is None:
            return []
        fitting, values = _fitting(error_type, destination)
        rows = conn.execute(
            f"SELECT {_SUMMARY} FROM dead_letters WHERE {_OPEN}{fitting} ORDER BY failed_at DESC LIMIT :limit",
            {**values, "limit": limit},
        )
        return [Summary(*row) for row in rows]

    def get_by_id(self, dead_letter_id: int) -> DeadLetter | None:
        """Everything about one dead letter, None if there is no such id."""
        conn = self._open()
        if conn is None:
            return None
        row = conn.execute(
            f"SELECT {_SUMMARY}, job_data, history, stack_trace, generation, seq, plugin_version "
            "FROM dead_letters WHERE id = ?",
            (dead_letter_id,),
        ).fetchone()
        if row is None:
            return None
        names = [field.name for field in fields(Summary)]
        data, history, trace, generation, seq, version = row[len(names) :]
        job, problem = None, ""
        try:
            job = pickles.loads(data if isinstance(data, bytes) else b"")
        except pickles.UnsafePickleError as error:
            problem = f"the stored job was not loaded: {error}"
        attempts = codec.history(history)
        if attempts is None:
            attempts, problem = (), f"{problem}; the stored history can't be decoded".removeprefix("; ")
        return DeadLetter(
            **{**dict(zip(names, row, strict=False)), "scene_id": _whole(row[names.index("scene_id")])},
            job=job,
            job_problem=problem,
            history=attempts,
            stack_trace=trace,
            generation=_whole(generation),
            seq=_whole(seq),
            plugin_version=version,
        )

    def get_count(self) -> int:
        """How many open dead letters there are."""
        conn = self._open()
        return 0 if conn is None else int(conn.execute("SELECT coalesce(sum(n), 0) FROM totals").fetchone()[0])

    def count_by_error(self) -> list[tuple[str, str, int]]:
        """Open dead letters as (error type, destination, how many), most first."""
        conn = self._open()
        if conn is None:
            return []
        return conn.execute(
            "SELECT error_type, destination, n FROM totals WHERE n > 0 ORDER BY n DESC, error_type, destination"
        ).fetchall()

    def mark_reviewed(self, ids: Collection[int]) -> None:
        """Remembers that a person was shown these."""
        conn = self._open()
        if conn is not None and ids:
            with transaction(conn):
                conn.executemany(
                    "UPDATE dead_letters SET reviewed_at = ? WHERE id = ?", [(self._clock(), i) for i in ids]
                )

    def ask(
        self,
        *,
        ids: Sequence[int] | None = None,
        error_type: str | None = None,
        destination: str | None = None,
    ) -> int:
        """Asks the worker to re-send dead letters: all, or those that fit. Returns how many.

        Those that name no scene or no destination stay: see ``count_unsendable``.
        """
        return self._change(
            f"UPDATE dead_letters SET state = 'asked' WHERE state = 'dead' AND {_KNOWN}",
            ids,
            error_type,
            destination,
        )

    def count_unsendable(
        self,
        *,
        ids: Sequence[int] | None = None,
        error_type: str | None = None,
        destination: str | None = None,
    ) -> int:
        """How many dead letters, of all or of those that fit, nobody can re-send: what they were about is lost."""
        conn = self._open()
        if conn is None:
            return 0
        fitting, values = _fitting(error_type, destination)
        found = conn.execute(
            f"SELECT id FROM dead_letters WHERE state = 'dead' AND NOT ({_KNOWN}){fitting}", values
        )
        return sum(1 for (dead_letter_id,) in found if ids is None or dead_letter_id in ids)

    def recall(self, destination: str, scene_ids: Collection[int], since: float) -> int:
        """Asks for dead letters of these scenes since a time: it was the destination's fault after all."""
        conn = self._open()
        if conn is None:
            return 0
        return sum(
            conn.execute(
                "UPDATE dead_letters SET state = 'asked' WHERE state = 'dead' AND destination = ? "
                "AND scene_id = ? AND failed_at >= ?",
                (destination, scene_id, since),
            ).rowcount
            for scene_id in scene_ids
        )

    def discard(
        self,
        *,
        ids: Sequence[int] | None = None,
        error_type: str | None = None,
        destination: str | None = None,
    ) -> int:
        """Deletes open dead letters for good: all, or those that fit. Returns how many."""
        deleted = self._change(f"DELETE FROM dead_letters WHERE {_OPEN}", ids, error_type, destination)
        if deleted:
            self._shrink()
        return deleted

    def _change(
        self, statement: str, ids: Sequence[int] | None, error_type: str | None, destination: str | None
    ) -> int:
        conn = self._open()
        if conn is None:
            return 0
        fitting, values = _fitting(error_type, destination)
        statement += fitting
        if ids is None:
            return conn.execute(statement, values).rowcount
        return sum(conn.execute(f"{statement} AND id = :id", {**values, "id": i}).rowcount for i in ids)

    def delete_older_than(self, days: float = 30, *, unseen_before: float | None = None) -> int:
        """Deletes dead letters that failed more than ``days`` ago, except those on their way back.

        Args:
            days: their least age.
            unseen_before: of those that nobody was shown only such as failed before this wall time.

        Logs and returns how many.
        """
        conn = self._open()
        at = self._clock() - days * DAY
        unseen_at = at if unseen_before is None else unseen_before
        deleted = 0
        while conn is not None:
            count = conn.execute(
                "DELETE FROM dead_letters WHERE id IN (SELECT id FROM dead_letters WHERE failed_at < ? AND "
                "(state = 'resolved' OR state = 'dead' AND (reviewed_at IS NOT NULL OR failed_at < ?)) "
                "ORDER BY failed_at LIMIT ?)",
                (at, unseen_at, PURGE_ROWS),
            ).rowcount
            deleted += count
            if count < PURGE_ROWS:
                break
            shrink(conn, FREE_PAGES)
        if deleted:
            self._shrink()
        log.info("purged %d dead letters older than %g days", deleted, days)
        return deleted

    def count_since(self, at: float) -> int:
        """Open dead letters that failed at or after a wall time."""
        conn = self._open()
        if conn is None:
            return 0
        return int(
            conn.execute(f"SELECT count(*) FROM dead_letters WHERE failed_at >= ? AND {_OPEN}", (at,)).fetchone()[
                0
            ]
        )

    def count_unseen(self, older_than_days: float) -> int:
        """Dead letters that failed more than so many days ago and that nobody was shown."""
        conn = self._open()
        if conn is None:
            return 0
        return int(
            conn.execute(
                "SELECT count(*) FROM dead_letters WHERE failed_at < ? AND state = 'dead' AND reviewed_at IS NULL",
                (self._clock() - older_than_days * DAY,),
            ).fetchone()[0]
        )

    # For the holder of the worker lock

    def rename(self, old: str, new: str) -> None:
        """Gives a destination's dead letters to another name."""
        conn = self._open()
        if conn is not None:
            with transaction(conn):
                names = {"old": old, "new": new}
                conn.execute("UPDATE dead_letters SET destination = :new WHERE destination = :old", names)
                conn.execute(
                    "INSERT INTO totals SELECT error_type, :new, n FROM totals WHERE destination = :old "
                    "ON CONFLICT (error_type, destination) DO UPDATE SET n = n + excluded.n",
                    names,
                )
                conn.execute("DELETE FROM totals WHERE destination = :old", names)

    def asked(self, limit: int = 100) -> list[DeadLetter]:
        """Dead letters that a person wants re-sent, oldest first."""
        conn = self._open()
        if conn is None:
            return []
        ids = conn.execute("SELECT id FROM dead_letters WHERE state = 'asked' ORDER BY id LIMIT ?", (limit,))
        found = [self.get_by_id(dead_letter_id) for (dead_letter_id,) in ids.fetchall()]
        return [dead_letter for dead_letter in found if dead_letter is not None]

    def on_the_way(self, state: str) -> Iterator[OnTheWay]:
        """Dead letters that are ``asked`` or ``back``, oldest first; their states may be changed meanwhile."""
        conn = self._open()
        last = 0
        while conn is not None:
            # The state stands in the text, so that the index of just these is used.
            rows = conn.execute(
                "SELECT id, destination, scene_id, generation, seq FROM dead_letters "
                f"WHERE state = '{state}' AND id > ? ORDER BY id LIMIT ?",
                (last, LOOK_ROWS),
            ).fetchall()
            if not rows:
                return
            yield from (OnTheWay(dead_letter, name, *map(_whole, numbers)) for dead_letter, name, *numbers in rows)
            last = rows[-1][0]

    def find(self, destination: str, scene_id: int) -> tuple[int, str, int, int] | None:
        """Id, state, generation and seq of a scene's dead letter."""
        conn = self._open()
        if conn is None:
            return None
        row: tuple[int, str, int, int] | None = conn.execute(
            "SELECT id, state, generation, seq FROM dead_letters WHERE scene_id = ? AND destination = ?",
            (scene_id, destination),
        ).fetchone()
        return row

    def set_state(self, dead_letter_id: int, state: str) -> None:
        """Moves a dead letter to ``back``, ``asked`` or ``resolved``."""
        conn = self._open()
        if conn is not None:
            conn.execute("UPDATE dead_letters SET state = ? WHERE id = ?", (state, dead_letter_id))

    def resolve(self, destination: str, scene_id: int) -> None:
        """The scene reached the destination: its dead letter needs nobody any more. Its history stays."""
        conn = self._open()
        if conn is not None:
            conn.execute(
                "UPDATE dead_letters SET state = 'resolved' "
                "WHERE scene_id = ? AND destination = ? AND state != 'resolved'",
                (scene_id, destination),
            )

    def _shrink(self) -> None:
        conn = self._open()
        if conn is not None:
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
                store.make(self._file, CREATE)
            conn = store.connect(self._file, BUSY_SECONDS)
            found = conn.execute("PRAGMA user_version").fetchone()[0]
            if found != VERSION:
                store.close_untouched(conn, self._file)
                if found == 0:
                    raise sqlite3.DatabaseError(f"{self.path} is no dead letter queue of Stash Courier")
                raise store.QueueUnavailable(store.other_version(self._file, found, VERSION))
            conn.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
            conn.text_factory = codec.readable
            self._conn = conn
        return self._conn


def _whole(value: object) -> int:
    """A number of a row; 0 for what damage has made of one."""
    return value if isinstance(value, int) else 0


def _trace(error: BaseException) -> str:
    """An error and those behind it as Python prints them, without marks below the lines: those cost most."""
    walked = traceback.walk_tb(error.__traceback__)
    frames = [(frame.f_code.co_filename, line, frame.f_code.co_name, None) for frame, line in walked]
    text = "".join(traceback.StackSummary.from_list(frames).format() + traceback.format_exception_only(error))
    if frames:
        text = f"Traceback (most recent call last):\n{text}"
    behind = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return text if behind is None else f"{_trace(behind)}\nwhich led to:\n\n{text}"


def _plain(row: Delivery | CorruptRow | Attempt) -> dict[str, Any]:
    """The fields of a row by name, as ``asdict`` gives them but without its deep copies."""
    return {name: getattr(row, name) for name in row.__dataclass_fields__}


def _fitting(error_type: str | None, destination: str | None) -> tuple[str, dict[str, Any]]:
    """What a WHERE clause needs besides, so that only these are chosen, and its values."""
    values = {"error_type": error_type, "destination": destination}
    return "".join(f" AND {column} = :{column}" for column in values if values[column] is not None), values
