"""Covers for the destinations that show them: fetched from Stash when they may have changed, and remembered.

Sends nothing to a destination and knows none.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable
from urllib.parse import urlsplit, urlunsplit

from stash_courier.queue.jobs import Delivery
from stash_courier.worker.failures import DeliveryFailed, Failure
from stash_courier.worker.stash import Stash, StashUnavailable

# Fetches what a scene's cover_url shows; raises DeliveryFailed with Failure.STASH.
Cover = Callable[[str], bytes]

REMEMBERED = 20_000  # scenes; some 100 bytes each

_TYPES = ((b"\xff\xd8\xff", "image/jpeg"), (b"\x89PNG\r\n\x1a\n", "image/png"), (b"GIF8", "image/gif"))


def no_cover(url: str) -> bytes:  # noqa: ARG001
    """For those who load destinations without delivering to them."""
    raise DeliveryFailed(Failure.STASH, "Covers can't be fetched from Stash here.")


def covers_of(stash: Stash) -> Cover:
    """Covers as Stash has them."""

    def cover(url: str) -> bytes:
        parts = urlsplit(url)
        try:
            return stash.cover(urlunsplit(("", "", parts.path, parts.query, "")))
        except StashUnavailable as error:
            raise DeliveryFailed(Failure.STASH, f"The cover can't be fetched: {error}.") from error

    return cover


def may_have_changed(delivery: Delivery) -> bool:
    """Whether the cover may be another one than before; where nobody knows what changed, it may be."""
    return delivery.event == "create" or not delivery.changed or "cover_image" in delivery.changed


def image_type(image: bytes) -> str | None:
    """The media type by the first bytes; None for what is no picture, such as Stash's stand-in for a cover."""
    if image[:4] == b"RIFF" and image[8:12] == b"WEBP":
        return "image/webp"
    return next((name for mark, name in _TYPES if image.startswith(mark)), None)


class Memory:
    """Which cover each scene has at one destination, as far as this worker saw; for several threads."""

    def __init__(self) -> None:
        self._digests: OrderedDict[int, bytes] = OrderedDict()
        self._lock = threading.Lock()

    def has(self, scene_id: int, image: bytes) -> bool:
        """Whether the destination has this cover for the scene; False if that isn't known."""
        with self._lock:
            return self._digests.get(scene_id) == _digest(image)

    def note(self, scene_id: int, image: bytes) -> None:
        """The destination has this cover now."""
        with self._lock:
            self._digests[scene_id] = _digest(image)
            self._digests.move_to_end(scene_id)
            if len(self._digests) > REMEMBERED:
                self._digests.popitem(last=False)


def _digest(image: bytes) -> bytes:
    return hashlib.sha256(image).digest()
