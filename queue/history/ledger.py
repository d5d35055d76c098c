"""The ledger: how the last delivery of each scene to each destination ended.

Its rows are written in the transaction that removes the delivery, on the queue's connection.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import Literal

from stash_courier.queue import codec
from stash_courier.queue.history import statements as sql

DELETED_ROWS = 1000  # in one transaction


# filtered: never sent, because a filter or the destination excludes it; absent: skipped, the media server doesn't
# have it
Outcome = Literal["sent", "filtered", "absent"]


@dataclass(frozen=True, slots=True)
class Sent:
    """How the last delivery of a scene to a destination ended."""

    destination: str
    scene_id: int
    seq: int  # newest event it covered
    updated_at: str  # the scene's updated_at as Stash wrote it; "" after a destroy
    fetched_at: float  # wall time at which Stash was asked, unix seconds
    path: str  # the scene's path as Stash sees it
    outcome: Outcome
    record: bytes | None = None  # what the destination wants to know next time; None: as stored, or there is none
    notes: frozenset[str] = frozenset()  # what the owner must know of it; see destinations/media/notes.py


@dataclass(frozen=True, slots=True)
class Noted:
    """The scenes of a destination with one note."""

    count: int
    scenes: tuple[int, ...]  # ids of the first of them


def find(conn: sqlite3.Connection, destination: str, scene_id: int) -> Sent | None:
    """The scene's row; None if it was never sent to this destination nor filtered for it."""
    row = conn.execute(sql.SENT_FIND, (destination, scene_id)).fetchone()
    if row is None:
        return None
    seq, updated_at, fetched_at, path, outcome, record, notes = row
    texts = _text(updated_at), fetched_at, _text(path)
    return Sent(destination, scene_id, seq, *texts, outcome, record, _notes(notes))


def write(conn: sqlite3.Connection, sent: Sent) -> None:
    """Remembers how a delivery ended. Its notes replace the stored ones.

    A filtered scene that was sent stays sent, and without a record the stored one stays.
    """
    texts = _storable(sent.updated_at), sent.fetched_at, _storable(sent.path)
    notes = "\n".join(sorted(codec.storable(" ".join(note.split())) for note in sent.notes))
    row = (sent.destination, sent.scene_id, sent.seq, *texts, sent.outcome, sent.record, notes or None)
    conn.execute(sql.SENT_WRITE, row)


def forget(conn: sqlite3.Connection, destination: str, scene_id: int) -> None:
    """Removes the row of a scene whose destroy was delivered."""
    conn.execute(sql.SENT_FORGET, (destination, scene_id))


def between(conn: sqlite3.Connection, destination: str, low: int, high: int) -> list[int]:
    """The scenes of a destination with ids above ``low`` and up to ``high``, ascending."""
    return [scene_id for (scene_id,) in conn.execute(sql.SENT_BETWEEN, (destination, low, high))]


def absent(conn: sqlite3.Connection, destination: str, after: int, limit: int) -> list[int]:
    """The next scenes, by ascending id, that a destination's server doesn't have."""
    return [scene_id for (scene_id,) in conn.execute(sql.SENT_ABSENT, (destination, after, limit))]


def count_absent(conn: sqlite3.Connection) -> dict[str, int]:
    """How many scenes each destination's server doesn't have. Reads an index of only those."""
    return dict(conn.execute(sql.SENT_COUNT_ABSENT))


def noted(conn: sqlite3.Connection, examples: int) -> dict[str, dict[str, Noted]]:
    """The scenes of each destination with each note. Reads an index of only those that have some."""
    noted_scenes: dict[str, dict[str, Noted]] = {}
    for destination, notes, count in conn.execute(sql.SENT_COUNT_NOTES).fetchall():
        scenes = [scene for (scene,) in conn.execute(sql.SENT_NOTED, (destination, notes, examples))]
        by_note = noted_scenes.setdefault(destination, {})
        for note in _notes(notes):
            before = by_note.get(note, Noted(0, ()))
            by_note[note] = Noted(before.count + count, tuple(sorted({*before.scenes, *scenes})[:examples]))
    return noted_scenes


def highest(conn: sqlite3.Connection, destination: str) -> int:
    """The highest scene id of a destination, 0 if it has none."""
    return conn.execute(sql.SENT_HIGHEST, (destination,)).fetchone()[0] or 0


def destinations(conn: sqlite3.Connection) -> list[str]:
    """The destinations that have rows. Each costs one look at the index, however many rows it has."""
    names: list[str] = []
    last = b""
    while (name := conn.execute(sql.SENT_NEXT_DESTINATION, (last,)).fetchone()[0]) is not None:
        names.append(name)
        last = name.encode("utf-8", "surrogateescape")  # as it is stored, also a damaged one
    return [name for name in names if codec.storable(name) == name]  # not the damaged ones


def delete(conn: sqlite3.Connection, destination: str) -> int:
    """Deletes all rows of a destination, some at a time, so that others can write. Returns how many."""
    deleted = 0
    while count := conn.execute(sql.SENT_DELETE, (destination, DELETED_ROWS)).rowcount:
        deleted += count
    return deleted


def _storable(text: str) -> str | bytes:
    """A text as SQLite accepts it. A path may hold a lone surrogate; then the text is stored as bytes."""
    return text.encode("utf-8", "surrogatepass") if codec.storable(text) != text else text


def _notes(stored: str | None) -> frozenset[str]:
    return frozenset(stored.split("\n")) if stored else frozenset()


def _text(stored: str | bytes) -> str:
    if isinstance(stored, str):
        return stored
    try:
        return stored.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return stored.decode("utf-8", "surrogateescape")  # a damaged text, which repair.py has kept as bytes
