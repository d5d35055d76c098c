"""Why a delivery failed: the classes that retry.py and breaker.py act on.

Nothing here decides anything; DESIGN's table "what an attempt's failure means" is in retry.py.
"""

from __future__ import annotations

from enum import StrEnum


class Failure(StrEnum):
    """The class of a failed attempt. The values stand in histories and dead letters."""

    UNREACHABLE = "unreachable"  # nobody answered: refused, no route, name not found
    BUSY = "busy"  # timeout, reset, 429, 502, 503, 504
    REFUSED = "refused"  # 408, 409, 425, 500: may be this scene, may be the destination
    DESTINATION = "destination"  # 401, 407, redirect, TLS, 404 and 405 of a fixed URL
    FORBIDDEN = "forbidden"  # 403: the scene's fault, unless a second scene gets it too
    GONE = "gone"  # 410
    NOT_THERE_YET = "not_there_yet"  # the media server doesn't know the item
    ITEM_REFUSED = "item_refused"  # other 4xx, ambiguous match
    STASH = "stash"  # Stash can't give this one scene, while it answers for others
    BUG = "bug"  # any other exception


class DeliveryFailed(Exception):
    """A destination could not take a delivery; the message is one sentence for the owner.

    Args:
        failure: what kind of failure it is; decides what happens next.
        message: what failed, on what, what to do. Never holds a secret.
        status: the HTTP status, if an answer came.
        answer: the first 2 KB of the answer, secrets removed.
        retry_after: seconds the destination asked us to wait, already capped at 24 h.
    """

    def __init__(
        self,
        failure: Failure,
        message: str,
        *,
        status: int | None = None,
        answer: str = "",
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.failure = failure
        self.message = message
        self.status = status
        self.answer = answer
        self.retry_after = retry_after
