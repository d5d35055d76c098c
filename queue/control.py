"""What worker and task buttons tell each other in queue.db: pause, stop, notices, each destination's state.

A destination's state is stored as JSON and understood by its owner, worker/delivery/breaker.py. Bytes from a
database are never trusted: what isn't what was written here counts as not set.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Mapping
from typing import Any

from stash_courier.queue.schema import DELIVERIES

PAUSED = "paused"  # wall time since which nothing is delivered
STOP = "stop"  # the pid of the worker that is to stop
EXPEDITE = "expedite"  # a person wants tried now what waits, whatever for: true, or [destination, …]
REPAIRED = "repaired"  # a sentence about a damaged file that was set aside
UNSEEN = "unseen"  # a sentence about dead letters that will be deleted soon and nobody was shown
UNSEEN_SAID = "unseen_said"  # {"at", "before"}: of which that was said, and since when; wall times
LAST_SUCCESS = "last_success"  # {"at", "destination", "scene_id"}
STASH = "stash"  # {"since", "reason"} while Stash can't be asked
DISABLED = "disabled"  # true while the plugin is switched off in Stash
SWEEP = "sweep"  # the last sweep's mark: worker/stash/listing.py's Mark
SWEEP_MET = "sweep_met"  # {destination: wall time since which sweeps know it}
PROBLEMS = "problems"  # [[setting, message], …] of the settings that hold now

LATEST = 1e11  # wall times are below: far beyond any date, and all arithmetic with them works


def is_time(value: object) -> bool:
    """Whether a value read from JSON is a wall time that can be reckoned with."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < LATEST


def is_whole(value: object) -> bool:
    """Whether a value read from JSON is a whole number as SQLite takes it."""
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 63


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_true(value: object) -> bool:
    return value is True


def _are_names(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def _are_problems(value: object) -> bool:
    return isinstance(value, list) and all(_are_names(problem) and len(problem) == 2 for problem in value)


def _are_times(value: object) -> bool:
    return isinstance(value, dict) and all(map(is_time, value.values()))


def _record(**fields: Callable[[object], bool]) -> Callable[[object], bool]:
    """Whether a value is an object with these fields, each of its kind."""

    def fits(value: object) -> bool:
        return isinstance(value, dict) and all(name in value and fields[name](value[name]) for name in fields)

    return fits


_KINDS: Mapping[str, Callable[[object], bool]] = {
    PAUSED: is_time,
    STOP: is_whole,
    EXPEDITE: lambda value: value is True or _are_names(value),
    REPAIRED: _is_text,
    UNSEEN: _is_text,
    UNSEEN_SAID: _record(at=is_time, before=is_time),
    LAST_SUCCESS: _record(at=is_time, destination=_is_text, scene_id=is_whole),
    STASH: _record(since=is_time, reason=_is_text),
    DISABLED: _is_true,
    SWEEP: _record(at=is_time, last_id=is_whole, total=is_whole),
    SWEEP_MET: _are_times,
    PROBLEMS: _are_problems,
}


def get(conn: sqlite3.Connection, key: str) -> Any:
    """The value of a key, None if it isn't set or can't be read."""
    row = conn.execute("SELECT value FROM control WHERE key = ?", (key,)).fetchone()
    value = None if row is None else _decoded(row[0])
    return value if _KINDS[key](value) else None


def put(conn: sqlite3.Connection, key: str, value: object) -> None:
    """Sets a key; None removes it."""
    if value is None:
        conn.execute("DELETE FROM control WHERE key = ?", (key,))
    else:
        conn.execute(
            "INSERT INTO control (key, value) VALUES (?, ?) "
            "ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            (key, json.dumps(value)),
        )


def expedite(conn: sqlite3.Connection, destination: str | None = None) -> None:
    """A person wants tried now what waits for a destination, or for all. Within a transaction."""
    known = get(conn, EXPEDITE)
    everything = destination is None or known is True
    put(conn, EXPEDITE, True if everything else sorted({*(known or ()), destination}))


def deliveries_added(conn: sqlite3.Connection) -> int:
    """How many deliveries were ever added: two looks tell how many came between."""
    row = conn.execute("SELECT seq FROM sqlite_sequence WHERE name = ?", (DELIVERIES,)).fetchone()
    return 0 if row is None else int(row[0])


def states(conn: sqlite3.Connection) -> dict[str, dict[str, Any]]:
    """The stored state of every destination that was ever configured; one that can't be read isn't there."""
    rows = conn.execute("SELECT destination, state FROM destinations").fetchall()
    found = {name: _decoded(state) for name, state in rows if _is_name(name)}
    return {name: state for name, state in found.items() if isinstance(state, dict)}


def put_state(conn: sqlite3.Connection, destination: str, state: dict[str, Any] | None) -> None:
    """Stores a destination's state; None forgets the destination."""
    if state is None:
        conn.execute("DELETE FROM destinations WHERE destination = ?", (destination,))
    else:
        conn.execute(
            "INSERT INTO destinations (destination, state) VALUES (?, ?) "
            "ON CONFLICT (destination) DO UPDATE SET state = excluded.state",
            (destination, json.dumps(state)),
        )


def rename(conn: sqlite3.Connection, old: str, new: str) -> None:
    """Gives a destination's state, and what sweeps know of it, to another name."""
    conn.execute("UPDATE OR REPLACE destinations SET destination = ? WHERE destination = ?", (new, old))
    met = get(conn, SWEEP_MET)
    if met is not None and old in met:
        put(conn, SWEEP_MET, {new if name == old else name: at for name, at in met.items()})


def _decoded(cell: object) -> Any:
    """What a cell holds; None if that is no JSON."""
    try:
        return json.loads(cell if isinstance(cell, str | bytes) else "")
    except (ValueError, RecursionError):
        return None


def _is_name(value: object) -> bool:
    """Whether it can be a destination's id: whatever is read with this name can be written with it too."""
    try:
        return isinstance(value, str) and bool(value.encode())
    except UnicodeEncodeError:
        return False
