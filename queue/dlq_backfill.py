"""Gives dead letters of earlier versions the path and the text that a search looks at."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from stash_courier.queue import codec, pickles
from stash_courier.queue.checks import or_default, text
from stash_courier.queue.search import as_text, search_text

# Gives those a path and a text to search that have none, with the functions of register().
FILL = """
UPDATE dead_letters SET path = stored_path(CAST(job_data AS BLOB), CAST(scene_id AS INTEGER)) WHERE path = '';
UPDATE dead_letters SET search = search_text(CAST(title AS BLOB), CAST(path AS BLOB)) WHERE search = '';"""


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
    conn.create_function("search_text", 2, lambda title, path: search_text(as_text(title), as_text(path)))
