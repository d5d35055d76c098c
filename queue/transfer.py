"""Moves between queue.db and dlq.db: bury and redrive, and ``heal`` after a kill in the middle of one.

Two files can't change in one transaction. So every move writes its target first and clears its source second:
between the two the job is in both files, never in neither. Each move raises the job's generation, which tells
``heal`` the newer of the two. Only for the holder of the worker lock.
"""

from __future__ import annotations

from stash_courier.queue import codec, control, ledger
from stash_courier.queue.checks import or_default
from stash_courier.queue.dlq import DeadLetterQueue, InTransit
from stash_courier.queue.jobs import CorruptRow, DeadLetter, Delivery, Event, SceneEvent
from stash_courier.queue.scene_queue import SceneQueue


def bury(
    queue: SceneQueue,
    dlq: DeadLetterQueue,
    delivery: Delivery | CorruptRow,
    error: BaseException,
    *,
    title: str = "",
) -> int | None:
    """Makes a delivery a dead letter. A delivery that a newer event supersedes is put back instead.

    Args:
        queue: from which the delivery goes.
        dlq: to which it goes.
        delivery: claimed, or a corrupt row of the deliveries table.
        error: why it can't be delivered.
        title: the scene's title, for people.

    Returns:
        The dead letter's id, or None if the delivery was put back.

    Raises:
        sqlite3.Error: dlq.db can't be written; the delivery is still in the queue.
    """
    if isinstance(delivery, Delivery) and queue.superseded(delivery):
        with queue.transaction():
            queue.back(delivery, None)
        return None
    retries = delivery.attempts if isinstance(delivery, Delivery) else 0
    dead_letter = dlq.add(delivery, error, retries, title=title)
    row_id = delivery.row_id if isinstance(delivery, Delivery) else delivery.seq
    with queue.transaction():
        queue.remove(row_id)
    return dead_letter


def redrive(queue: SceneQueue, dlq: DeadLetterQueue, dead_letter: DeadLetter, now: float) -> bool:
    """Puts a dead letter's scene back into the queue, to deliver its current state.

    It gets a new seq, so that receivers don't mistake it for the delivery that failed. If the destination was
    forgotten, it is stored as removed from the settings, so that its delivery expires like those of any other.

    Returns:
        False if it was not put back: something newer was sent meanwhile, which resolves the dead letter, or its
        scene or destination is unknown.
    """
    sent = ledger.find(queue.connection, dead_letter.destination, dead_letter.scene_id)
    if sent is not None and sent.outcome == "sent" and sent.seq > dead_letter.seq:
        dlq.set_state(dead_letter.id, "resolved")
        return False
    if not dead_letter.destination or dead_letter.scene_id <= 0:
        dlq.set_state(dead_letter.id, "dead")
        return False
    job = dead_letter.job or {}
    event = SceneEvent(
        seq=queue.next_seq(),
        scene_id=dead_letter.scene_id,
        event=_event(dead_letter.event),
        changed=or_default(codec.field_names, job.get("changed"), ()),
        at=now,
        path=str(job.get("path", "")),
        oshash=str(job.get("oshash", "")),
        checksum=str(job.get("checksum", "")),
    )
    if dead_letter.destination not in control.states(queue.connection):
        control.put_state(queue.connection, dead_letter.destination, {"removed_at": now})
    queue.redrive(event, dead_letter.destination, dead_letter.generation + 1)
    dlq.set_state(dead_letter.id, "back")
    return True


def rename(queue: SceneQueue, dlq: DeadLetterQueue, old: str, new: str) -> None:
    """Gives all rows of a destination, in both files, to a name that has none yet."""
    dlq.rename(old, new)
    with queue.transaction():
        queue.rename(old, new)


def heal(queue: SceneQueue, dlq: DeadLetterQueue) -> None:
    """Removes what a kill left in both files: the higher generation stays. Call it before ``recover``."""
    for delivery in queue.in_flight():
        found = dlq.find(delivery.destination, delivery.scene_id) if delivery.scene_id else None
        if isinstance(delivery, Delivery) and found is not None:
            _, state, generation, seq = found
            if state in {"dead", "asked"} and generation > delivery.generation and seq >= delivery.seq:
                with queue.transaction():
                    queue.remove(delivery.row_id)
    for was in ("asked", "back"):
        for dead_letter in dlq.in_transit(was):
            state = _correct_state(queue, was, dead_letter)
            if state != was:
                dlq.set_state(dead_letter.id, state)


def _correct_state(queue: SceneQueue, was: str, dead_letter: InTransit) -> str:
    """The state that a dead letter should have according to the queue."""
    generation = queue.generation(dead_letter.destination, dead_letter.scene_id)
    if generation is not None and generation > dead_letter.generation:
        return "back"
    if was == "asked":
        return was
    sent = ledger.find(queue.connection, dead_letter.destination, dead_letter.scene_id)
    return "resolved" if sent is not None and sent.seq >= dead_letter.seq else "asked"


def _event(name: str) -> Event:
    return "create" if name == "create" else "destroy" if name == "destroy" else "update"
