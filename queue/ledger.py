"""The ledger: what was sent last, per destination and scene. Bounded by the library.

Its rows are written in the transaction that removes the delivery, on the queue's connection.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Sent:
    """How the last delivery of a scene to a destination ended."""

    destination: str
    scene_id: int
    seq: int  # newest event it covered
    updated_at: str  # the scene's updated_at as Stash wrote it; "" after a destroy
    fetched_at: float  # wall time at which Stash was asked, unix seconds
    path: str  # the scene's path as Stash sees it
    outcome: Literal["sent", "filtered"]  # filtered: never sent, a filter excludes it
    cover: bytes = b""  # digest of the cover that the item has from us; b"" if none


def find(conn: sqlite3.Connection, destination: str, scene_id: int) -> Sent | None:
    """The scene's row, if it was ever sent to this destination or filtered for it."""
    row = conn.execute(
        "SELECT destination, scene_id, seq, updated_at, fetched_at, path, outcome, cover FROM sent "
        "WHERE destination = ? AND scene_id = ?",
        (destination, scene_id),
    ).fetchone()
    if row is None:
        return None
    cover = row[7] if isinstance(row[7], bytes) else b""
    return Sent(row[0], row[1], row[2], _read(row[3]), row[4], _read(row[5]), row[6], cover)


def write(conn: sqlite3.Connection, sent: Sent) -> None:
    """Remembers how a delivery ended; a scene that was sent once stays sent when it is filtered later.

    An empty ``cover`` keeps the stored one.
    """
    conn.execute(
        "INSERT INTO sent (destination, scene_id, seq, updated_at, fetched_at, path, outcome, cover) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, nullif(?, x'')) ON CONFLICT (destination, scene_id) DO UPDATE SET "
        "seq = max(seq, excluded.seq), updated_at = excluded.updated_at, fetched_at = excluded.fetched_at, "
        "path = excluded.path, outcome = CASE WHEN outcome = 'sent' THEN 'sent' ELSE excluded.outcome END, "
        "cover = coalesce(excluded.cover, cover)",
        (
            sent.destination,
            sent.scene_id,
            sent.seq,
            _storable(sent.updated_at),
            sent.fetched_at,
            _storable(sent.path),
            sent.outcome,
            sent.cover,
        ),
    )


def _storable(text: str) -> str | bytes:
    """A text as SQLite takes it: one that holds half a surrogate pair, as a path may, becomes bytes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")
    return text


def _read(stored: str | bytes) -> str:
    if isinstance(stored, str):
        return stored
    try:
        return stored.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return stored.decode("utf-8", "surrogateescape")  # a damaged text, as repair.py saves it


def forget(conn: sqlite3.Connection, destination: str, scene_id: int) -> None:
    """Drops the row of a scene whose destroy was delivered."""
    conn.execute("DELETE FROM sent WHERE destination = ? AND scene_id = ?", (destination, scene_id))


def rename(conn: sqlite3.Connection, old: str, new: str) -> None:
    """Gives a destination's rows to another name."""
    conn.execute("UPDATE OR REPLACE sent SET destination = ? WHERE destination = ?", (new, old))


def between(conn: sqlite3.Connection, destination: str, low: int, high: int) -> list[int]:
    """The scenes of a destination with ids above ``low`` and up to ``high``, ascending."""
    rows = conn.execute(
        "SELECT scene_id FROM sent WHERE destination = ? AND scene_id > ? AND scene_id <= ? ORDER BY scene_id",
        (destination, low, high),
    )
    return [scene_id for (scene_id,) in rows]


def highest(conn: sqlite3.Connection, destination: str) -> int:
    """The highest scene id of a destination, 0 if it has none."""
    row = conn.execute("SELECT max(scene_id) FROM sent WHERE destination = ?", (destination,)).fetchone()
    return row[0] or 0
