"""What a person does with dead letters: send them again, all at once or one first, discard them, undo that.

Many are changed in parts, between which the worker can write. A careful retry is one transaction, which is short.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from stash_courier.queue.checks import number, or_default
from stash_courier.queue.dead_letters import statements as sql
from stash_courier.queue.dead_letters.listing import Selection
from stash_courier.queue.transactions import transaction

UNDO_SECONDS = 600.0  # for which a discard can be undone
ROWS = 500  # changed in one transaction


@dataclass(frozen=True, slots=True)
class Batch:
    """Dead letters that were discarded together."""

    at: float  # wall time, which identifies it
    count: int

    @property
    def until(self) -> float:
        """The wall time until which it can be restored."""
        return self.at + UNDO_SECONDS


def mark_reviewed(conn: sqlite3.Connection, ids: Collection[int], now: float) -> None:
    """Remembers that a person was shown these, unless another program writes just now. ``now`` is wall time.

    The page looks every few seconds, and should not wait for that.
    """
    new = [(now, one) for one in ids if conn.execute(sql.UNREVIEWED, (one,)).fetchone()]
    if not new:
        return
    before = conn.execute("PRAGMA busy_timeout").fetchone()[0]
    conn.execute("PRAGMA busy_timeout = 0")
    with suppress(sqlite3.OperationalError), transaction(conn):
        conn.executemany(sql.REVIEWED, new)
    conn.execute(f"PRAGMA busy_timeout = {before}")


def ask(conn: sqlite3.Connection, selection: Selection) -> int:
    """Asks for those of a selection that can be sent again. Returns how many dead letters."""
    return _each(conn, sql.ASK, _meant(conn, sql.ASKABLE, selection), selection.parameters)


def ask_carefully(conn: sqlite3.Connection, selection: Selection) -> tuple[int | None, int]:
    """Asks for one of a selection; the others wait for it. Returns its id, or None, and how many wait."""
    with transaction(conn):
        first = _first(conn, selection)
        if first is None:
            return None, 0
        parameters = {**selection.parameters, "first": first}
        if selection.ids is None:
            waiting = conn.execute(sql.WAIT_FOR, parameters).rowcount
        else:
            waiting = conn.executemany(sql.WAIT_FOR_ONE, ({**parameters, "id": i} for i in selection.ids)).rowcount
        conn.execute(sql.ASK, {**parameters, "id": first})
    return first, waiting


def _first(conn: sqlite3.Connection, selection: Selection) -> int | None:
    """The one to send first: the first of the ids that can be sent again, or the newest of the selection."""
    if selection.ids is None:
        found = conn.execute(sql.ASKABLE_FIRST, selection.parameters).fetchone()
        return None if found is None else int(found[0])
    for dead_letter_id in selection.ids:
        if conn.execute(sql.ASKABLE_ONE, {**selection.parameters, "id": dead_letter_id}).fetchone():
            return dead_letter_id
    return None


def discard(conn: sqlite3.Connection, selection: Selection, now: float) -> Batch:
    """Discards a selection at a wall time, which becomes its batch's, a little later if another has it."""
    batch = round(now, 3)
    while conn.execute(sql.BATCH_COUNT, {"batch": batch}).fetchone()[0]:
        batch = round(batch + 0.001, 3)
    ids = _meant(conn, sql.SELECTED, selection)
    return Batch(batch, _each(conn, sql.DISCARD, ids, {**selection.parameters, "batch": batch}))


def restore(conn: sqlite3.Connection, batch: float) -> int:
    """Undoes a discard. Returns how many dead letters it brought back."""
    parameters = {"batch": batch}
    ids = [found for (found,) in conn.execute(sql.BATCH, parameters)]
    return _each(conn, sql.RESTORE, ids, parameters)


def discarded(conn: sqlite3.Connection, now: float) -> Batch | None:
    """What was discarded last, if that can still be undone."""
    last = or_default(number, conn.execute(sql.LAST_BATCH).fetchone()[0], None)
    if last is None or not now - UNDO_SECONDS < last <= now + UNDO_SECONDS:
        return None
    return Batch(last, conn.execute(sql.BATCH_COUNT, {"batch": last}).fetchone()[0])


def _meant(conn: sqlite3.Connection, statement: str, selection: Selection) -> Sequence[int]:
    """A selection's ids or, if it names none, those that a statement finds."""
    if selection.ids is not None:
        return [*selection.ids]
    return [found for (found,) in conn.execute(statement, selection.parameters)]


def _each(
    conn: sqlite3.Connection, statement: str, ids: Sequence[int], parameters: Mapping[str, str | float | None]
) -> int:
    """Executes a statement with each id, in parts. Returns how many rows it changed."""
    changed = 0
    for start in range(0, len(ids), ROWS):
        began = time.monotonic()
        with transaction(conn):
            changed += conn.executemany(
                statement, ({**parameters, "id": one} for one in ids[start : start + ROWS])
            ).rowcount
        if start + ROWS < len(ids):
            # SQLite polls while it waits: without a pause another process would rarely find the lock free.
            time.sleep((time.monotonic() - began) / 2)
    return changed
