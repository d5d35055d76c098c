"""The ``data`` of Stash Courier's own events: dead letters, a connection that is down, and its recovery.

Each has a ``title`` and a ``summary``, so that every preset can send it. None has a scene's title: these messages
may go to other people than the scenes do.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from stash_courier.worker.destinations.webhook.values import timestamp

DEAD_LETTERS = "courier.dead_letters"
CONNECTION_DOWN = "courier.connection_down"
CONNECTION_UP = "courier.connection_up"
TYPES = (DEAD_LETTERS, CONNECTION_DOWN, CONNECTION_UP)

LISTED = 10  # scene ids of a batch of dead letters


def dead_letters(
    connection_id: str, connection: str, count: int, reason: str, scene_ids: Sequence[int]
) -> dict[str, object]:
    """``data`` of one message about a batch of dead letters of one connection.

    Args:
        connection_id: its stable id.
        connection: its name.
        count: the number of dead letters, at least 1.
        reason: sentences: what failed and what to do, without secrets.
        scene_ids: their scenes; the first ten are sent.
    """
    return {
        "summary": f"Dead letters of {connection}: {count}. They are not sent again by themselves.",
        "title": f"Dead letters: {connection}",
        "connection_id": connection_id,
        "connection": connection,
        "reason": reason,
        "count": count,
        "scenes": [str(scene_id) for scene_id in scene_ids[:LISTED]],
    }


def connection_down(
    connection_id: str, connection: str, since: float, reason: str, waiting: int
) -> dict[str, object]:
    """``data`` of a message that a connection has been held up.

    Args:
        connection_id: its stable id.
        connection: its name.
        since: unix seconds.
        reason: sentences: what it answers and what to do, without secrets.
        waiting: the number of its deliveries that wait.
    """
    when = datetime.fromtimestamp(since, UTC).strftime("%Y-%m-%d %H:%M UTC")
    return {
        "summary": f"{connection} has not accepted anything since {when}. Waiting: {waiting}.",
        "title": f"Down: {connection}",
        "connection_id": connection_id,
        "connection": connection,
        "reason": reason,
        "since": timestamp(since),
        "waiting": waiting,
    }


def connection_up(
    connection_id: str, connection: str, since: float, until: float, waiting: int
) -> dict[str, object]:
    """``data`` of a message that a connection works again.

    Args:
        connection_id: its stable id.
        connection: its name.
        since: when it went down, unix seconds.
        until: when it accepted something again, unix seconds.
        waiting: the number of its deliveries that still wait.
    """
    minutes = max(round((until - since) / 60), 0)
    return {
        "summary": f"{connection} accepts deliveries again, after {minutes} min. Waiting: {waiting}.",
        "title": f"Works again: {connection}",
        "connection_id": connection_id,
        "connection": connection,
        "since": timestamp(since),
        "until": timestamp(until),
        "waiting": waiting,
    }
