"""What waits in queue.db and what is being sent, for people: counts, and single deliveries.

Everything is read from a connection, so that a view needs no more than that.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from stash_courier.queue import codec
from stash_courier.queue.deliveries import statements as sql
from stash_courier.queue.failures import Failure
from stash_courier.queue.jobs import EDIT, PRIORITIES, Attempt, Backlog, Delivery, SceneEvent

INBOX_ROWS = 200  # newest events among which an edit is looked for

# settling: it waits for more edits · not_there_yet: for the media server to have the item · retrying: after a
# failure · waiting: for its turn, or for the destination
State = Literal["waiting", "settling", "sending", "retrying", "not_there_yet"]


@dataclass(frozen=True, slots=True)
class Live:
    """A delivery that waits or is being sent."""

    delivery: Delivery
    state: State

    @property
    def error(self) -> str:
        """Why the last attempt failed; "" if there was none."""
        return self.delivery.history[-1].message if self.delivery.history else ""

    @property
    def at(self) -> float:
        """Wall time of the last attempt, else of the first event that it covers."""
        return self.delivery.history[-1].at if self.delivery.history else self.delivery.at


# Counts


def by_destination(conn: sqlite3.Connection) -> dict[str, Backlog]:
    """What waits, per destination. It reads a whole index, so it is for people and not for the loop."""
    return {name: Backlog(*facts) for name, *facts in conn.execute(sql.BACKLOG)}


def failed(conn: sqlite3.Connection, destination: str) -> tuple[int, Attempt] | None:
    """A scene whose delivery failed and waits there, and its last attempt. Of several, that which is due first."""
    row = conn.execute(sql.FAILED, (destination,)).fetchone()
    job = None if row is None else codec.delivery(row)
    return (job.scene_id, job.history[-1]) if isinstance(job, Delivery) and job.history else None


def inbox_count(conn: sqlite3.Connection) -> int:
    """Events that are not routed yet."""
    return int(conn.execute(sql.INBOX_COUNT).fetchone()[0])


def deliveries_added(conn: sqlite3.Connection) -> int:
    """How many deliveries were ever added. The difference of two calls is how many came between them."""
    row = conn.execute(sql.EVER_ADDED).fetchone()
    return 0 if row is None else int(row[0])


def scenes(conn: sqlite3.Connection, destination: str | None) -> int:
    """How many deliveries of scenes to a destination, or to any, wait or are in flight."""
    return int(conn.execute(sql.LIVE_COUNT, {"destination": destination}).fetchone()[0])


# Single deliveries


def find(conn: sqlite3.Connection, destination: str, scene_id: int, now: float) -> Live | None:
    """A scene's delivery to a destination; None if there is none."""
    return _live(conn.execute(sql.LIVE_FIND, (destination, scene_id)).fetchone(), now)


def some(conn: sqlite3.Connection, destinations: Collection[str], now: float, limit: int) -> list[Live]:
    """At most ``limit`` deliveries: those in flight, then those that wait, the latest first.

    The cost doesn't grow with the number of deliveries.
    """
    rows = conn.execute(sql.LIVE_IN_FLIGHT, (limit,)).fetchall()
    for name in destinations:
        rows += conn.execute(sql.LIVE_COUNTED, {"destination": name, "limit": limit}).fetchall()
        for priority in PRIORITIES:
            values = {"destination": name, "priority": priority, "now": now, "limit": limit}
            rows += conn.execute(sql.LIVE_LATER, values).fetchall()
            rows += conn.execute(sql.LIVE_DUE, values).fetchall()
    found = [
        one for row in rows if (one := _live(row, now)) is not None and one.delivery.destination in destinations
    ]
    return sorted(found, key=lambda one: (one.state == "sending", one.at), reverse=True)[:limit]


def edited_since(conn: sqlite3.Connection, destination: str, since: float, now: float) -> Live | None:
    """A delivery to a destination that covers only edits since a wall time."""
    row = conn.execute(sql.LIVE_EDITED, {"destination": destination, "since": since}).fetchone()
    return None if row is None else _live(conn.execute(sql.LIVE_ROW, row).fetchone(), now)


def arrived(conn: sqlite3.Connection, destination: str, since: float) -> int | None:
    """The scene of the newest edit since a wall time that isn't routed yet and may go to a destination."""
    for row in conn.execute(sql.INBOX_LATEST, (INBOX_ROWS,)):
        event = codec.event(*row)
        if not isinstance(event, SceneEvent) or event.at < since or event.priority != EDIT:
            continue
        if not event.to or destination in event.to:
            return event.scene_id
    return None


def _live(row: Sequence[Any] | None, now: float) -> Live | None:
    job = None if row is None else codec.delivery(row[:-1])
    if row is None or not isinstance(job, Delivery) or job.scene_id <= 0:
        return None
    return Live(job, "sending" if row[-1] == 2 else _state(job, now))


def _state(job: Delivery, now: float) -> State:
    if job.not_found and job.history and job.history[-1].failure == Failure.NOT_THERE_YET:
        return "not_there_yet"
    if job.attempts:
        return "retrying"
    return "settling" if job.due > now else "waiting"
