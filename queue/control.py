"""Notes that the worker and the buttons leave for each other in queue.db, and each destination's state.

A destination's state is stored as JSON; its fields belong to worker/delivery/breaker.py. A value that can't be
decoded, or has another form than its reader wants, counts as not set.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from typing import Any

from stash_courier.queue import codec

_CONTROL_GET = "SELECT value FROM control WHERE key = ?"
_CONTROL_PUT = """
INSERT INTO control (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value"""
_CONTROL_REMOVE = "DELETE FROM control WHERE key = ?"

_STATES = "SELECT destination, state FROM destinations"
_STATE_PUT = """
INSERT INTO destinations (destination, state) VALUES (?, ?)
ON CONFLICT (destination) DO UPDATE SET state = excluded.state"""
_STATE_REMOVE = "DELETE FROM destinations WHERE destination = ?"


PAUSED = "paused"  # wall time since which nothing is delivered
STOP = "stop"  # the pid of the worker that is to stop
EXPEDITE = "expedite"  # what a person wants tried now, whatever it waits for: true for all, or [destination, …]
REPAIRED = "repaired"  # a sentence about a damaged file that was set aside
UNSEEN = "unseen"  # a sentence about dead letters that will be deleted soon and that no person was shown
UNSEEN_SAID = "unseen_said"  # {"at", "before"}: when that was logged, and for dead letters before which wall time
LAST_SUCCESS = "last_success"  # {"at", "destination", "scene_id"}
STASH = "stash"  # {"since", "reason"} while Stash doesn't answer
STASH_SLOW = "stash_slow"  # seconds that Stash takes for each scene, while that is long
DISABLED = "disabled"  # true while the plugin is disabled in Stash
SWEEP = "sweep"  # the last sweep's mark: worker/stash/listing.py's Mark
SWEEP_MET = "sweep_met"  # {destination: wall time since which sweeps know it}
LEDGER_LEFT = "ledger_left"  # {destination: wall time since which it has only rows of the ledger}
PROBLEMS = "problems"  # [[connection or "", field, message], …] of what is set up now
FORGET = "forget"  # {removed destination to forget: "dead_letter" or "discard", for what waits}
TOLD = "told"  # {outlet: {trouble: [since, told, ended, end told]}}: worker/troubles.py's Told


def get(conn: sqlite3.Connection, key: str, form: Callable[[Any], Any] | None = None) -> Any:
    """The value of a key, None if it isn't set or can't be decoded.

    ``form`` makes of the decoded value what the caller wants. It may raise one of codec.DAMAGE.
    """
    row = conn.execute(_CONTROL_GET, (key,)).fetchone()
    return None if row is None else _decoded(row[0], form)


def times(stored: Any) -> dict[str, float]:
    """The form of {name: wall time}."""
    return {name: float(at) for name, at in stored.items()}


def put(conn: sqlite3.Connection, key: str, value: object) -> None:
    """Sets a key; None removes it."""
    if value is None:
        conn.execute(_CONTROL_REMOVE, (key,))
    else:
        conn.execute(_CONTROL_PUT, (key, json.dumps(value)))


def expedite(conn: sqlite3.Connection, destination: str | None = None) -> None:
    """Has what waits for a destination, or for all of them, tried now. Within a transaction."""
    wanted = get(conn, EXPEDITE)
    everything = destination is None or wanted is True
    put(conn, EXPEDITE, True if everything else sorted({*(wanted or ()), destination}))


def states(conn: sqlite3.Connection) -> dict[str, dict[str, Any]]:
    """The stored states of all destinations that were ever configured, without those that can't be decoded."""
    stored = {name: _decoded(state) for name, state in conn.execute(_STATES).fetchall() if _is_text(name)}
    return {name: state for name, state in stored.items() if isinstance(state, dict)}


def put_state(conn: sqlite3.Connection, destination: str, state: dict[str, Any] | None) -> None:
    """Stores a destination's state; None forgets the destination."""
    if state is None:
        conn.execute(_STATE_REMOVE, (destination,))
    else:
        conn.execute(_STATE_PUT, (destination, json.dumps(state)))


def _is_text(name: object) -> bool:
    """Whether it is a text that SQLite accepts again, and not damaged."""
    return isinstance(name, str) and codec.storable(name) == name


def _decoded(cell: str | bytes, form: Callable[[Any], Any] | None = None) -> Any:
    try:
        value = codec.loads(cell)
        return value if form is None else form(value)
    except codec.DAMAGE:
        return None
