"""Why a delivery failed: one table of classes that HTTP, retry, breaker, dead letters and buttons read.

To add a class, add a value to ``Failure`` and a row to ``CLASSES``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal


class Failure(StrEnum):
    """The class of a failed attempt. The values are stored in histories and dead letters."""

    UNREACHABLE = "unreachable"  # connection refused, no route, name not found
    BUSY = "busy"  # timeout, reset, overload, a proxy that can't reach the server
    REFUSED = "refused"  # a server error: the fault of this scene or of the destination
    DESTINATION = "destination"  # wrong credentials, redirect, TLS failure, a fixed URL that doesn't exist
    FORBIDDEN = "forbidden"  # 403: the fault of this scene, unless a second scene gets it too
    GONE = "gone"  # 410
    NOT_THERE_YET = "not_there_yet"  # the media server doesn't know the item
    NEVER_THERE = "never_there"  # the media server will never know the item
    POSTPONED = "postponed"  # the media server is about to do something that this would delay
    ITEM_REFUSED = "item_refused"  # a media server's other 4xx, an ambiguous match
    REJECTED = "rejected"  # a webhook's other 4xx: the fault of this scene, unless all scenes get one
    STASH = "stash"  # Stash can't return this scene, while it returns others
    BUG = "bug"  # any other exception


@dataclass(frozen=True, slots=True)
class FailureClass:
    """What follows from one class of failure."""

    label: str  # for people: "3 dead letters, <label>"
    # What happens to the delivery; see retry.py
    delivery: Literal["wait", "count", "wait for scan", "postpone", "give up", "bury"]
    hold_after: int | None = None  # failures in a row that hold the whole destination; None: it is never held
    distinct_scenes: bool = False  # only failures of different scenes count for hold_after
    needs_owner: bool = False  # a person must fix it, so probes become less frequent
    alive: bool = False  # the destination looked at the item, so it works
    statuses: tuple[int, ...] = ()  # HTTP statuses
    hint: str = ""  # what the failed attempt's message says after the status, unless the status has its own text
    advice: str = ""  # what status says while the destination is held


_RETRIED = "It is tried again automatically. What waits is sent as soon as it answers."
# These sentences are shown on the page, in buttons' reports, in Stash's log and in messages, where buttons have
# different names.
_FIX = "Fix this, then test the connection: if the test succeeds, deliveries resume at once."
_SEVERAL = "It refused several scenes in a row, so all wait. A test that passes doesn't show that it takes scenes."

CLASSES: Mapping[Failure, FailureClass] = {
    Failure.UNREACHABLE: FailureClass(label="not reached", delivery="wait", hold_after=1, advice=_RETRIED),
    Failure.BUSY: FailureClass(
        label="not accepted in time",
        delivery="wait",
        hold_after=3,
        statuses=(429, 502, 503, 504, *range(520, 531), 598, 599),
        hint="it can't accept anything right now, so we wait",
        advice=_RETRIED,
    ),
    Failure.REFUSED: FailureClass(
        label="server error",
        delivery="count",
        hold_after=3,
        distinct_scenes=True,
        statuses=(408, 409, 425, 500),  # and every 5xx that no class names
        hint="it failed to process this; see its own log",
        advice=f"{_SEVERAL} One is tried again from time to time; when it is taken, the others follow.",
    ),
    Failure.DESTINATION: FailureClass(
        label="wrong address or key",
        delivery="wait",
        hold_after=1,
        needs_owner=True,
        statuses=(401, 407, 501, 505, 511),
        hint="this is not an answer to our request; check the address in this connection",
        advice=_FIX,
    ),
    Failure.FORBIDDEN: FailureClass(
        label="not allowed",
        delivery="bury",
        hold_after=2,
        distinct_scenes=True,
        needs_owner=True,
        statuses=(403,),
        advice=_FIX,
    ),
    Failure.GONE: FailureClass(
        label="receiver gone",
        delivery="wait",
        hold_after=1,
        statuses=(410,),
        advice='Enter its new address in this connection, or press "Deliver now" if it is back.',
    ),
    Failure.NOT_THERE_YET: FailureClass(label="not found yet", delivery="wait for scan", alive=True),
    Failure.NEVER_THERE: FailureClass(label="never shown by the server", delivery="give up", alive=True),
    Failure.POSTPONED: FailureClass(label="reported later", delivery="postpone", alive=True),
    Failure.ITEM_REFUSED: FailureClass(
        label="refused",
        delivery="bury",
        alive=True,
        hint="it refuses this scene; see its answer and its own log",
    ),
    Failure.REJECTED: FailureClass(
        label="refused",
        delivery="bury",
        hold_after=3,
        distinct_scenes=True,
        needs_owner=True,
        hint="it refuses this; see its answer and its own log",
        advice=f"{_SEVERAL} Correct what its answer names, here or there, or exclude such scenes by a filter. "
        'Then press "Deliver now".',
    ),
    Failure.STASH: FailureClass(label="not returned by Stash", delivery="wait"),
    Failure.BUG: FailureClass(label="bug", delivery="count"),
}

# Attempts of these never make a dead letter. An outage makes hundreds, so a history keeps few of them.
NEVER_FATAL = frozenset(failure for failure, row in CLASSES.items() if row.delivery == "wait")

# Labels of dead letters whose error is no failed attempt.
OTHER_LABELS: Mapping[str, str] = {
    "DeadlyDeliveryError": "killed the worker",
    "RemovedDestinationError": "connection removed",
    "ForgottenDestinationError": "connection forgotten",
    "ValueError": "unreadable",
}


def label(error_type: str) -> str:
    """The class of a dead letter's error, for people. Any exception without a label is a bug."""
    if error_type in CLASSES:
        return CLASSES[Failure(error_type)].label
    return OTHER_LABELS.get(error_type, CLASSES[Failure.BUG].label)


class DeliveryFailed(Exception):
    """A destination could not accept a delivery. The message is one sentence for the owner.

    Args:
        failure: the class; decides what happens next.
        message: what failed, where, and what to do. Never contains a secret.
        status: the HTTP status, if an answer came.
        answer: the first 2 KB of the answer, without secrets.
        retry_after: seconds that the destination asked us to wait, at most 24 h.
        notes: what the ledger notes if the scene is skipped; see ``Delivered.notes``.
        again_in: with NOT_THERE_YET or POSTPONED, seconds until the next attempt; None: as retry.py says.
        cause: a few words for the group of its dead letter, after the class's label; see groups.py. "": the
            answer or the message decide.
    """

    record: bytes | None = None  # what the ledger keeps if the scene is skipped; see Delivered.record

    def __init__(
        self,
        failure: Failure,
        message: str,
        *,
        status: int | None = None,
        answer: str = "",
        retry_after: float | None = None,
        again_in: float | None = None,
        notes: frozenset[str] = frozenset(),
        cause: str = "",
    ) -> None:
        super().__init__(message)
        self.failure = failure
        self.message = message
        self.status = status
        self.answer = answer
        self.retry_after = retry_after
        self.again_in = again_in
        self.notes = notes
        self.cause = cause
