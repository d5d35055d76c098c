"""Moves between queue.db and dlq.db: bury and redrive, and what a kill in the middle of one leaves.

Two files can't change in one transaction, so every move writes its target first and clears its
source second; between the two the job is in both, never in neither. Each move raises the job's
generation, so that ``heal`` knows of a pair which one is newer. Only for the holder of the worker lock.
"""

from __future__ import annotations

from stash_courier.queue import control, ledger
from stash_courier.queue.dlq import DeadLetterQueue, OnTheWay
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
    """Makes a delivery a dead letter; one that a newer event has overtaken is not buried but goes on.

    Returns:
        The dead letter's id, or None if the delivery goes on.

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
    """Puts what a dead letter stands for back into the queue: "deliver the current state".

    It gets a seq of its own, so that receivers don't take it for the delivery that failed. A destination
    that was forgotten is remembered as one that the settings don't name, else nobody would ever look at it.

    Returns:
        False if something newer was sent meanwhile, which resolves it, or if nobody can tell any
        more what it was about.
    """
    sent = ledger.find(queue.connection, dead_letter.destination, dead_letter.scene_id)
    if sent is not None and sent.outcome == "sent" and sent.seq > dead_letter.seq:
        dlq.set_state(dead_letter.id, "resolved")
        return False
    if not dead_letter.destination or dead_letter.scene_id <= 0:
        dlq.set_state(dead_letter.id, "dead")
        return False
    job = dead_letter.job or {}
    changed = job.get("changed")
    names = changed if isinstance(changed, list) else ()
    event = SceneEvent(
        seq=queue.next_seq(),
        scene_id=dead_letter.scene_id,
        event=_event(dead_letter.event),
        changed=tuple(name for name in names if isinstance(name, str) and name.isidentifier()),
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
    """Gives all that is kept of a destination to a name of which nothing is kept yet."""
    dlq.rename(old, new)
    with queue.transaction():
        queue.rename(old, new)


def heal(queue: SceneQueue, dlq: DeadLetterQueue) -> None:
    """At start, before ``recover``: settles what a kill left in both files. The higher generation stays."""
    for delivery in queue.in_flight():
        dead_letter = dlq.find(delivery.destination, delivery.scene_id) if delivery.scene_id else None
        if isinstance(delivery, Delivery) and dead_letter is not None:
            _, state, generation, seq = dead_letter
            if state in {"dead", "asked"} and generation > delivery.generation and seq >= delivery.seq:
                with queue.transaction():
                    queue.remove(delivery.row_id)
    for was in ("asked", "back"):
        for moving in dlq.on_the_way(was):
            found = _settled(queue, was, moving)
            if found != was:
                dlq.set_state(moving.id, found)


def _settled(queue: SceneQueue, was: str, dead_letter: OnTheWay) -> str:
    """The state that a dead letter should have, by what the queue knows."""
    generation = queue.generation(dead_letter.destination, dead_letter.scene_id)
    if generation is not None and generation > dead_letter.generation:
        return "back"
    if was == "asked":
        return was
    sent = ledger.find(queue.connection, dead_letter.destination, dead_letter.scene_id)
    return "resolved" if sent is not None and sent.seq >= dead_letter.seq else "asked"


def _event(name: str) -> Event:
    return "create" if name == "create" else "destroy" if name == "destroy" else "update"
