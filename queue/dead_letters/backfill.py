"""Backfills columns of dead letters that an earlier version wrote: their group, path, and the text to search."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from stash_courier.queue import codec
from stash_courier.queue.checks import or_default, text
from stash_courier.queue.codec import as_text
from stash_courier.queue.dead_letters import groups as dlq_groups
from stash_courier.queue.dead_letters import pickles
from stash_courier.queue.search import search_text

# With the functions of register(). Each fills only what is empty.
BACKFILL = """
UPDATE dead_letters SET group_text = group_text(CAST(error_type AS BLOB), CAST(error_message AS BLOB),
    CAST(history AS BLOB), CAST(title AS BLOB)) WHERE group_key = '';
UPDATE dead_letters SET group_key = group_key(CAST(destination AS BLOB), CAST(error_type AS BLOB),
    CAST(group_text AS BLOB)) WHERE group_key = '';
UPDATE dead_letters SET path = stored_path(CAST(job_data AS BLOB), CAST(scene_id AS INTEGER)) WHERE path = '';
UPDATE dead_letters SET search = search_text(CAST(title AS BLOB), CAST(path AS BLOB)) WHERE search = '';"""


def register(conn: sqlite3.Connection, sent: Iterable[tuple[int, str]] = ()) -> None:
    """Gives a connection the SQL functions that ``BACKFILL`` and migrate.py use. Their texts are BLOBs.

    Only the job of a deleted scene has a path. ``sent`` are the ids and paths of scenes in the ledger, which stand
    in for the others.
    """
    known = dict(sent)
    conn.create_function("group_text", 4, lambda *given: dlq_groups.text_of(*map(as_text, given)))
    conn.create_function("group_key", 3, lambda *given: dlq_groups.key_of(*map(as_text, given)))
    conn.create_function("stored_path", 2, lambda job, scene: _path_in(job) or known.get(scene, ""))
    conn.create_function("search_text", 2, lambda title, path: search_text(as_text(title), as_text(path)))


def _path_in(job: object) -> str:
    """The path in a stored job; "" if it has none, or the bytes aren't safe to load."""
    try:
        fields = pickles.loads(job if isinstance(job, bytes) else b"")
    except pickles.UnsafePickleError:
        return ""
    return codec.storable(or_default(text, fields.get("path"), ""))
