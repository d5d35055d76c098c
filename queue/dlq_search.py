"""What a search in the dead letters looks at: the scene's title and path, without the difference of case."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from stash_courier.queue import codec, pickles
from stash_courier.queue.checks import or_default, text
from stash_courier.queue.dlq_selection import folded

# Gives those a path and a text to search that have none, with the functions of register().
FILL = """
UPDATE dead_letters SET path = stored_path(CAST(job_data AS BLOB), CAST(scene_id AS INTEGER)) WHERE path = '';
UPDATE dead_letters SET search = search_text(CAST(title AS BLOB), CAST(path AS BLOB)) WHERE search = '';"""


def search_text(title: str, path: str) -> str:
    """The column that a search looks at."""
    return folded(f"{title}\n{path}")


def path_in(job: object) -> str:
    """The path in a stored job; "" if it has none, or the bytes aren't safe to load."""
    try:
        fields = pickles.loads(job if isinstance(job, bytes) else b"")
    except pickles.UnsafePickleError:
        return ""
    return codec.storable(or_default(text, fields.get("path"), ""))


def register(conn: sqlite3.Connection, sent: Iterable[tuple[int, str]] = ()) -> None:
    """Gives a connection the SQL functions that ``FILL`` uses.

    Only the job of a deleted scene has a path. ``sent`` are the ids and paths of scenes in the ledger, which stand
    in for the others.
    """
    known = dict(sent)
    conn.create_function("stored_path", 2, lambda job, scene: path_in(job) or known.get(scene, ""))
    conn.create_function("search_text", 2, lambda title, path: search_text(_text(title), _text(path)))


def _text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
