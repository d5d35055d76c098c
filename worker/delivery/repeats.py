"""Recognizes an edit that a hook of another copy of the plugin reports once more."""

from __future__ import annotations

import sqlite3

from stash_courier.queue.history import receipts
from stash_courier.queue.history.ledger import Sent
from stash_courier.queue.jobs import Delivery, Scene
from stash_courier.worker.stash.queries import moment_of

# How long an edit waits for the hook of the other copy. What Stash is asked for after that has every edit of the
# second in which the scene was changed: ``updated_at`` has whole seconds.
COPY_SECONDS = 2.0


def is_repeat(conn: sqlite3.Connection, delivery: Delivery, scene: Scene | None, sent: Sent | None) -> bool:
    """Whether the destination already got what this hook reports.

    Args:
        conn: of queue.db.
        delivery: as claimed.
        scene: as Stash has it now.
        sent: the ledger's row for this scene and destination.
    """
    if delivery.event == "destroy":
        last = receipts.find(conn, delivery.destination, delivery.scene_id)
        return sent is None and last is not None and last.outcome == "deleted"
    if scene is None or sent is None or sent.outcome != "sent" or sent.updated_at != scene.updated_at:
        return False
    edited = delivery.event == "create" or bool(delivery.changed)  # hooks of edits name what changed
    try:
        return edited and sent.fetched_at >= moment_of(scene.updated_at) + COPY_SECONDS
    except ValueError:
        return False
