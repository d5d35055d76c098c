"""How several events of a scene become one delivery. Pure: no I/O, and no clock but the time passed in."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from stash_courier.queue import codec, troubles
from stash_courier.queue.jobs import Attempt, Delivery, Event, SceneEvent


class Content(NamedTuple):
    """What a delivery says, as three columns hold it."""

    event: Any  # one of EVENTS, unless the row is damaged
    changed: Any  # field names, separated by spaces
    data: Any  # JSON: path, oshash, checksum, history, notice


class Pending(NamedTuple):
    """What already waits in the scene's row when a new event arrives. The first columns may be damaged."""

    row_id: int
    in_flight: int  # 1: the rest is about what came in during the delivery
    event: Any  # this and the next two as in Content; None: nothing came in during the delivery
    changed: Any
    data: Any
    due: float | None  # wall time at which it is due; None if a new due time is to be computed
    generation: int


def content_of(job: SceneEvent | Delivery, history: Sequence[Attempt] = ()) -> Content:
    """An event or a delivery as the columns hold it."""
    return Content(job.event, " ".join(job.changed), json.dumps(codec.facts(job, history)))


def merged(older: str, newer: str) -> Event:
    """One kind of event for two: create stays create, and destroy beats all but a later create."""
    if newer == troubles.NOTICE:
        return troubles.NOTICE
    if newer == "destroy" or (older == "destroy" and newer != "create"):
        return "destroy"
    return "create" if "create" in (older, newer) else "update"


def joined(older: Content, newer: Content) -> Content:
    """One content for two. Damaged columns of either count as empty."""
    changed = {*str(older.changed or "").split(), *str(newer.changed or "").split()}
    first, second = _facts(older.data), _facts(newer.data)
    data = {**first, **second}
    if newer.event == troubles.NOTICE:
        messages = [facts["notice"] for facts in (first, second) if "notice" in facts]
        data["notice"] = troubles.joined(messages[0], messages[-1]) if len(messages) > 1 else messages[0]
    elif older.event == "destroy" and newer.event == "update":
        # The scene is gone: only the older event knows where its file was.
        data |= {name: first[name] for name in codec.FILE_FACTS if name in first}
    return Content(merged(older.event, newer.event), " ".join(sorted(changed)), json.dumps(data))


def delivery_columns(
    event: SceneEvent,
    pending: Pending | None,
    now: float,
    *,
    settle_seconds: float,
    generation: int,
) -> dict[str, object]:
    """The columns of the delivery that covers a new event and what waits already.

    ``now`` is wall time. ``settle_seconds`` is how long the first event of a scene waits for others; a destroy
    doesn't. The ``generation`` is above 0 for a dead letter's event, which
    is older than anything that waits.
    """
    content = content_of(event)
    if pending is not None and pending.event is not None:
        waiting = Content(pending.event, pending.changed, pending.data)
        content = joined(content, waiting) if generation else joined(waiting, content)
    # If the clock was set back, an older event may lie in the future.
    due = min(event.at, now) + (0.0 if content.event == "destroy" else settle_seconds)
    if pending is not None:
        due = min(due, due if pending.due is None else pending.due)
        generation = max(generation, pending.generation)
    return {
        **content._asdict(),
        "scene_id": event.scene_id,
        "at": event.at,
        "seq": event.seq,
        "due": due,
        "priority": event.priority,
        "generation": generation,
    }


def _facts(data: Any) -> dict[str, Any]:
    try:
        return dict(json.loads(data))
    except codec.DAMAGE:
        return {}
