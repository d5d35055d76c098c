"""What a person does with dead letters: send them again, all at once or one first, discard them, undo that.

A retry is one transaction: a caller that is killed has asked for all of it or for nothing. Many are discarded in
parts, which can all be undone.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from stash_courier.queue import dlq_statements as sql
from stash_courier.queue.dlq_selection import Selection
from stash_courier.queue.transactions import transaction

UNDO_SECONDS = 600.0  # for which a discard can be undone
ROWS = 1000  # discarded or brought back in one transaction


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
    """Remembers that a person was shown these; ``now`` is wall time."""
    new = [(now, one) for one in ids if conn.execute(sql.UNREVIEWED, (one,)).fetchone()]
    if new:  # the page looks every few seconds, and nobody should wait for that
        with transaction(conn):
            conn.executemany(sql.REVIEWED, new)


def ask(conn: sqlite3.Connection, selection: Selection) -> int:
    """Asks for a selection, as far as it can be sent again. Returns how many dead letters."""
    with transaction(conn):
        return _change(conn, sql.ASK, sql.ASK_ONE, selection)


def ask_carefully(conn: sqlite3.Connection, selection: Selection) -> tuple[int, int]:
    """Asks for one of a selection; the others wait for it. Returns how many are asked for, and how many wait."""
    with transaction(conn):
        first = _first(conn, selection)
        if first is None:
            return 0, 0
        waiting = _change(conn, sql.WAIT_FOR, sql.WAIT_FOR_ONE, selection, first=first)
        conn.execute(sql.ASK_ONE, {**Selection(deleted=selection.deleted).parameters, "id": first})
    return 1, waiting


def _first(conn: sqlite3.Connection, selection: Selection) -> int | None:
    """The one to send first: the first of the ids that can be sent again, or the newest of the selection."""
    if selection.ids is None:
        found = conn.execute(sql.SENDABLE_FIRST, selection.parameters).fetchone()
        return None if found is None else int(found[0])
    for dead_letter_id in selection.ids:
        if conn.execute(sql.SENDABLE_ONE, {**selection.parameters, "id": dead_letter_id}).fetchone():
            return dead_letter_id
    return None


def discard(conn: sqlite3.Connection, selection: Selection, now: float) -> Batch:
    """Discards a selection at a wall time, which becomes its batch's, a little later if another has it."""
    with transaction(conn):
        batch = round(now, 3)
        while conn.execute(sql.BATCH, (batch,)).fetchone()[0]:
            batch = round(batch + 0.001, 3)
        count = _change(conn, sql.DISCARD, sql.DISCARD_ONE, selection, batch=batch, limit=ROWS)
    parameters = {**selection.parameters, "batch": batch}
    if selection.ids is None and count == ROWS:
        count += _in_parts(conn, sql.DISCARD, parameters)
    return Batch(batch, count)


def restore(conn: sqlite3.Connection, batch: float) -> int:
    """Undoes a discard. Returns how many dead letters it brought back."""
    return _in_parts(conn, sql.RESTORE, {"batch": batch})


def discarded(conn: sqlite3.Connection, now: float) -> Batch | None:
    """What was discarded last, if that can still be undone."""
    (last,) = conn.execute(sql.LAST_BATCH).fetchone()
    if last is None or not now - UNDO_SECONDS < last <= now + UNDO_SECONDS:
        return None
    return Batch(last, conn.execute(sql.BATCH, (last,)).fetchone()[0])


def _in_parts(conn: sqlite3.Connection, statement: str, parameters: Mapping[str, object]) -> int:
    """Executes a statement until there is nothing left to change, so that others can write in between."""
    changed, count = 0, ROWS
    while count == ROWS:
        count = conn.execute(statement, {**parameters, "limit": ROWS}).rowcount
        changed += count
    return changed


def _change(
    conn: sqlite3.Connection, statement: str, statement_for_one: str, selection: Selection, **more: float
) -> int:
    parameters = {**selection.parameters, **more}
    if selection.ids is None:
        return conn.execute(statement, parameters).rowcount
    return sum(conn.execute(statement_for_one, {**parameters, "id": i}).rowcount for i in selection.ids)
