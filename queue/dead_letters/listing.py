"""Which dead letters a person means, and the list of them: its pages, and how many there are of each kind.

The page asks for it every few seconds, so it works on a connection that was opened for reading.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace

from stash_courier.queue.dead_letters import groups as dlq_groups
from stash_courier.queue.dead_letters import statements as sql
from stash_courier.queue.jobs import Summary
from stash_courier.queue.search import folded, scene_id
from stash_courier.queue.transactions import transaction

UNDO_SECONDS = 600.0  # for which a discard can be undone


@dataclass(frozen=True, slots=True)
class Selection:
    """Open dead letters that fit every field that isn't None."""

    ids: Collection[int] | None = None
    error_type: str | None = None
    destination: str | None = None  # its id
    group: str | None = None  # a group's key
    deleted: Collection[str] = ()  # ids of deleted connections, to which nothing can be sent again
    text: str | None = None  # part of the title or the path, or the scene's id
    as_of: float | None = None  # wall time: those that failed later aren't meant

    @property
    def parameters(self) -> Mapping[str, str | float | None]:
        """Parameters of the statements that take a selection, without the ids."""
        wanted = (self.text or "").strip()
        return {
            "error_type": self.error_type,
            "destination": self.destination,
            "group_key": self.group,
            "deleted": "\n".join(("", *self.deleted, "")),
            "text": folded(wanted) or None,
            "scene": scene_id(wanted),
            "as_of": self.as_of,
        }


ALL = Selection()


@dataclass(frozen=True, slots=True)
class Batch:
    """Dead letters that were discarded together."""

    at: float  # wall time, which identifies it
    count: int

    @property
    def until(self) -> float:
        """The wall time until which it can be restored."""
        return self.at + UNDO_SECONDS


@dataclass(frozen=True, slots=True)
class Group:
    """Open dead letters with the same cause."""

    key: str
    destination: str
    error_type: str
    text: str  # the status and the answer, without what differs from scene to scene
    count: int


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a list, as of a wall time: what failed later is only counted."""

    as_of: float
    matching: int = 0  # that fit and had failed by then
    newer: int = 0  # that fit and failed later
    number: int = 1
    pages: int = 1
    groups: tuple[Group, ...] = ()  # of all open dead letters, most first
    rows: tuple[Summary, ...] = ()  # newest first
    # Of all that wait for another: its id (0: it was delivered), how many, and its scene, title and destination.
    waiting: tuple[tuple[int, int, int | None, str | None, str | None], ...] = ()
    causes: Mapping[int, str] = field(default_factory=dict)  # by id of a row: what its receiver said


def page(conn: sqlite3.Connection, selection: Selection, now: float, number: int, size: int) -> Page:
    """A page of a selection, whose ids aren't looked at.

    Its ``as_of`` is that of the list; None for now. ``number`` counts from 1; the last page stands in for one that
    doesn't exist. ``size`` is in rows.
    """
    conn.execute("BEGIN")  # all of it as it was at one moment
    try:
        as_of = selection.as_of
        if as_of is None:  # those that failed while the clock was ahead are listed too
            as_of = max(now, conn.execute(sql.LATEST).fetchone()[0] or now)
        groups = tuple(Group(*row) for row in conn.execute(sql.GROUPS))
        wanted = replace(selection, as_of=as_of)
        rows = _rows(conn, wanted, number, size)
        matching, newer = _counts(conn, wanted, groups, len(rows) if number == 1 and len(rows) < size else None)
        pages = max(1, -(-matching // size))
        if number > pages:
            number = pages
            rows = _rows(conn, wanted, number, size)
        waiting = tuple(conn.execute(sql.WAITING))
        texts = {group.key: group.text for group in groups}
        causes = {row.id: _cause(conn, row, texts) for row in rows}
    finally:
        conn.execute("COMMIT")
    return Page(as_of, matching, newer, number, pages, groups, rows, waiting, causes)


def _cause(conn: sqlite3.Connection, row: Summary, groups: Mapping[str, str]) -> str:
    """What a dead letter's receiver said, or why it failed: with all that its group's text leaves out."""
    general = groups.get(row.group_key, "")
    if general and not dlq_groups.is_general(general):
        return general
    error_type, message, history, _ = conn.execute(sql.CAUSE, (row.id,)).fetchone()
    return dlq_groups.text_of(error_type, message, history, variable=())


def _rows(conn: sqlite3.Connection, wanted: Selection, number: int, size: int) -> tuple[Summary, ...]:
    where = {**wanted.parameters, "limit": size, "offset": (number - 1) * size}
    return tuple(Summary(*row) for row in conn.execute(sql.RECENT, where))


def _counts(
    conn: sqlite3.Connection, wanted: Selection, groups: Collection[Group], by_then: int | None
) -> tuple[int, int]:
    """How many fit and had failed by the selection's ``as_of``, and how many failed later.

    ``by_then`` is the first, if it is known: a search for a text looks at every row, so once is enough.
    """
    newer = conn.execute(sql.NEWER, wanted.parameters).fetchone()[0]
    if by_then is not None:
        return by_then, newer
    if wanted.parameters["text"] is not None:
        return conn.execute(sql.MATCHING, wanted.parameters).fetchone()[0], newer
    return sum(group.count for group in groups if _fits(group, wanted)) - newer, newer


def _fits(group: Group, wanted: Selection) -> bool:
    pairs = (
        (wanted.error_type, group.error_type),
        (wanted.destination, group.destination),
        (wanted.group, group.key),
    )
    return all(value in {None, its} for value, its in pairs)


def discarded(conn: sqlite3.Connection, now: float) -> Batch | None:
    """What was discarded last, if that can still be undone at a wall time."""
    last = conn.execute(sql.LAST_BATCH).fetchone()[0]
    if last is None or not now - UNDO_SECONDS < last <= now + UNDO_SECONDS:
        return None
    return Batch(last, conn.execute(sql.BATCH_COUNT, {"batch": last}).fetchone()[0])


def mark_reviewed(conn: sqlite3.Connection, ids: Collection[int], now: float) -> None:
    """Remembers that a person was shown these at a wall time, unless another program writes just now.

    The page looks again soon, and should not wait for that.
    """
    new = [(now, i) for i in ids if conn.execute(sql.UNREVIEWED, (i,)).fetchone()]
    if not new:
        return
    before = conn.execute("PRAGMA busy_timeout").fetchone()[0]
    conn.execute("PRAGMA busy_timeout = 0")
    with suppress(sqlite3.OperationalError), transaction(conn):
        conn.executemany(sql.REVIEWED, new)
    conn.execute(f"PRAGMA busy_timeout = {before}")
