"""Moves between queue.db and dlq.db: bury and redrive, and ``heal`` after a kill in the middle of one.

Two files can't change in one transaction. So every move writes its target first and clears its source second:
between the two the job is in both files, never in neither. Each move raises the job's generation, which tells
``heal`` the newer of the two. Only for the holder of the worker lock.
"""

from __future__ import annotations

from typing import cast

from stash_courier.queue import control, troubles
from stash_courier.queue.dead_letters.dlq import DeadLetterQueue
from stash_courier.queue.dead_letters.rows import InTransit
from stash_courier.queue.deliveries.scene_queue import SceneQueue
from stash_courier.queue.history import ledger, receipts
from stash_courier.queue.inbox.events import EVENTS
from stash_courier.queue.jobs import CATCH_UP, CorruptRow, DeadLetter, Delivery, Event, SceneEvent, row_id_of


def bury(
    queue: SceneQueue,
    dlq: DeadLetterQueue,
    job: Delivery | CorruptRow,
    error: BaseException,
    *,
    now: float,
    title: str = "",
    path: str = "",
    updated_at: str = "",
) -> int | None:
    """Makes a claimed delivery, or a corrupt row of the deliveries table, a dead letter.

    A delivery that a newer event supersedes is put back instead. ``now`` is wall time. Title and path are the
    scene's, for people; ``updated_at`` is the scene's, for sweeps. Returns the dead letter's id, or None if the
    delivery was put back.

    Raises:
        sqlite3.Error: dlq.db can't be written; the delivery is still in the queue.
    """
    if isinstance(job, Delivery) and queue.superseded(job):
        with queue.transaction():
            queue.back(job, None)
        return None
    dead_letter = dlq.add(job, error, _retries(job), title=title, path=path or _known_path(queue, job))
    with queue.transaction():
        queue.remove(row_id_of(job))
        receipts.write_dead(queue.connection, job, now, str(error), names=(title, path), updated_at=updated_at)
    return dead_letter


def bury_waiting(
    queue: SceneQueue, dlq: DeadLetterQueue, destination: str, error: BaseException, limit: int
) -> None:
    """Makes dead letters of deliveries to a destination that wait, at most ``limit``.

    After a kill in the middle a delivery may be in both files. Call it again until none waits: the next call joins
    the two.
    """
    for job in queue.waiting(destination, limit):
        dlq.add(job, error, _retries(job), path=_known_path(queue, job))
        with queue.transaction():
            queue.remove(row_id_of(job))


def _retries(job: Delivery | CorruptRow) -> int:
    return job.attempts if isinstance(job, Delivery) else 0


def _known_path(queue: SceneQueue, job: Delivery | CorruptRow) -> str:
    """The path of a scene that Stash wasn't asked for; "" if it is unknown."""
    if not isinstance(job, Delivery):
        return ""
    sent = ledger.find(queue.connection, job.destination, job.scene_id)
    return job.path or (sent.path if sent is not None else "")


def redrive(queue: SceneQueue, dlq: DeadLetterQueue, dead_letter: DeadLetter, now: float) -> bool:
    """Puts a dead letter's scene back into the queue, to deliver its current state. Returns whether it did.

    It doesn't if a person has discarded it meanwhile, if something newer was sent, which resolves the dead letter,
    or if its destination or scene is unknown. A message about trouble says what it said. The seq is new, or
    receivers would mistake it for the delivery that failed. A forgotten destination is stored as removed from the
    settings, so that its delivery expires like those of any other.
    """
    sent = ledger.find(queue.connection, dead_letter.destination, dead_letter.scene_id)
    if sent is not None and sent.outcome == "sent" and sent.seq > dead_letter.seq:
        dlq.end(dead_letter.id, delivered=False)
        return False
    job = dead_letter.job or {}
    notice, changed = str(job.get("notice", "")), job.get("changed")
    changed = changed if isinstance(changed, list) else []
    if not dead_letter.destination or not (notice or dead_letter.scene_id > 0):
        dlq.set_state(dead_letter.id, "dead")
        return False
    event = SceneEvent(
        seq=queue.next_seq(),
        scene_id=dead_letter.scene_id,
        event=troubles.NOTICE if notice else _kind(dead_letter.event),
        changed=tuple(name for name in changed if str(name).isidentifier()),
        at=now,
        priority=CATCH_UP,
        path=str(job.get("path", "")),
        oshash=str(job.get("oshash", "")),
        checksum=str(job.get("checksum", "")),
        notice=notice,
    )
    with dlq.redriving(dead_letter.id) as asked:
        if asked:
            if dead_letter.destination not in control.states(queue.connection):
                control.put_state(queue.connection, dead_letter.destination, {"removed_at": now})
            queue.redrive(event, dead_letter.destination, dead_letter.generation + 1)
    return asked


def _kind(stored: str) -> Event:
    """The event of a dead letter. That of a row that can't be decoded is unknown: its scene counts as changed."""
    return cast(Event, stored) if stored in EVENTS else "update"


def heal(queue: SceneQueue, dlq: DeadLetterQueue) -> None:
    """Removes what a kill left in both files: the higher generation stays. Call it before ``recover``."""
    for delivery in queue.in_flight():
        found = dlq.find(delivery.destination, delivery.scene_id) if delivery.scene_id else None
        if isinstance(delivery, Delivery) and found is not None:
            known, state, generation, seq = found
            buried = state in {"dead", "asked", "discarded"}
            if buried and generation > delivery.generation and seq >= delivery.seq:
                _end_buried(queue, delivery, dlq.get_by_id(known))
    for was in ("asked", "back"):
        for dead_letter in dlq.in_transit(was):
            state = _correct_state(queue, was, dead_letter)
            if state in {"delivered", "resolved"}:
                dlq.end(dead_letter.id, delivered=state == "delivered")
            elif state != was:
                dlq.set_state(dead_letter.id, state)
    dlq.end_waiting()


def _end_buried(queue: SceneQueue, delivery: Delivery, dead_letter: DeadLetter | None) -> None:
    """Does what ``bury`` does after the dead letter is written."""
    with queue.transaction():
        queue.remove(delivery.row_id)
        if dead_letter is not None:
            told = dead_letter.failed_at, dead_letter.error_message
            receipts.write_dead(queue.connection, delivery, *told, names=(dead_letter.title, dead_letter.path))


def _correct_state(queue: SceneQueue, was: str, dead_letter: InTransit) -> str:
    """The state that a dead letter should have according to the queue; ``delivered``: resolved by a delivery."""
    generation = queue.generation(dead_letter.destination, dead_letter.scene_id)
    if generation is not None and generation > dead_letter.generation:
        return "back"
    if was == "asked":
        return was
    sent = ledger.find(queue.connection, dead_letter.destination, dead_letter.scene_id)
    if sent is None or sent.seq < dead_letter.seq:
        return "asked"
    # A redrive gets a new seq, and it doesn't begin if something newer was sent already.
    return "delivered" if sent.outcome == "sent" and sent.seq > dead_letter.seq else "resolved"
