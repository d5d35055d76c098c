"""What became of a delivery, as its receipt says it. Pure."""

from __future__ import annotations

from stash_courier.queue.history import receipts
from stash_courier.queue.history.receipts import Code, Detail, Names, Receipt
from stash_courier.queue.jobs import Delivery, Scene
from stash_courier.queue.troubles import NOTICE
from stash_courier.worker.delivery.pool import Outcome
from stash_courier.worker.destinations.media.notes import LOCKED_FIELDS, LOCKED_ITEM, SHARED_ITEM


def receipt_of(outcome: Outcome, now: float) -> Receipt | None:
    """The receipt of a delivery that its destination accepted or left out; None for a message about trouble.

    ``now`` is wall time.
    """
    if outcome.delivery.event == NOTICE:
        return None
    done = outcome.done
    detail = Detail(done.changes, done.left, done.link)
    return receipts.of(outcome.delivery, _code(outcome), now, named(outcome.scene), detail=detail)


def receipt_without_sending(
    delivery: Delivery, scene: Scene | None, how: str, reason: str, now: float
) -> Receipt | None:
    """The receipt of a delivery that was not sent; None if an earlier one covers it."""
    if not reason:
        return None
    code: Code = "filtered" if how == "filtered" else "deleted"
    return receipts.of(delivery, code, now, named(scene), reason=reason)


def named(scene: Scene | None) -> Names:
    """What people call a scene."""
    return ("", "") if scene is None else (scene.title_or_stem(), scene.path)


def _code(outcome: Outcome) -> Code:
    done = outcome.done
    notes = {note.partition(":")[0] for note in done.notes}
    if outcome.digest:
        return "digest"
    if done.outcome == "filtered":
        return "version" if SHARED_ITEM in notes else "locked" if LOCKED_ITEM in notes else "filtered"
    if outcome.delivery.event == "destroy":
        return "deleted"
    if done.changes:
        return "delivered"
    if not notes.isdisjoint({LOCKED_ITEM, LOCKED_FIELDS}):
        return "locked"
    return "same" if done.compared else "delivered"
