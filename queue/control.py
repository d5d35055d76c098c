"""What worker and task buttons tell each other in queue.db: pause, stop, notices, each destination's state.

A destination's state is stored as JSON and understood by its owner, worker/breaker.py.
"""

from __future__ import annotations

import json
import sqlite3
from typing import Any

from stash_courier.queue.schema import DELIVERIES

PAUSED = "paused"  # wall time since which nothing is delivered
STOP = "stop"  # the pid of the worker that is to stop
HURRY = "hurry"  # a person wants everything tried now, whatever it waits for
REPAIRED = "repaired"  # a sentence about a damaged file that was set aside
UNSEEN = "unseen"  # a sentence about dead letters that will be deleted soon and nobody was shown
LAST_SUCCESS = "last_success"  # {"at", "destination", "scene_id"}
STASH = "stash"  # {"since", "reason"} while Stash can't be asked
DISABLED = "disabled"  # true while the plugin is switched off in Stash
SWEEP = "sweep"  # the last sweep's mark: worker/listing.py's Mark
SWEEP_MET = "sweep_met"  # {destination: wall time since which sweeps know it}
PROBLEMS = "problems"  # [[setting, message], …] of the settings that hold now


def get(conn: sqlite3.Connection, key: str) -> Any:
    """The value of a key, None if it isn't set."""
    row = conn.execute("SELECT value FROM control WHERE key = ?", (key,)).fetchone()
    return None if row is None else json.loads(row[0])


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


def deliveries_added(conn: sqlite3.Connection) -> int:
    """How many deliveries were ever added: two looks tell how many came between."""
    row = conn.execute("SELECT seq FROM sqlite_sequence WHERE name = ?", (DELIVERIES,)).fetchone()
    return 0 if row is None else int(row[0])


def states(conn: sqlite3.Connection) -> dict[str, dict[str, Any]]:
    """The stored state of every destination that was ever configured."""
    rows = conn.execute("SELECT destination, state FROM destinations")
    return {name: json.loads(state) for name, state in rows}


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
