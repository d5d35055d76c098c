"""Covers for the destinations that show them: fetched from Stash, and told apart by a digest.

Sends nothing to a destination. Which cover an item has is in its record; see destinations/media/record.py.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from stash_courier.queue.failures import DeliveryFailed, Failure
from stash_courier.queue.jobs import Delivery
from stash_courier.worker.stash.address import StashUnavailable

if TYPE_CHECKING:
    from stash_courier.worker.stash.client import Stash  # which imports requests

# Fetches the image at a scene's cover_url; raises DeliveryFailed with Failure.STASH.
Cover = Callable[[str], bytes]

_SIGNATURES = ((b"\xff\xd8\xff", "image/jpeg"), (b"\x89PNG\r\n\x1a\n", "image/png"), (b"GIF8", "image/gif"))


def no_cover(url: str) -> bytes:  # noqa: ARG001
    """For callers that load destinations without delivering to them."""
    raise DeliveryFailed(Failure.STASH, "Covers can't be fetched from Stash here.")


def covers_of(stash: Stash) -> Cover:
    """Fetches covers from this Stash."""

    def fetch(url: str) -> bytes:
        parts = urlsplit(url)
        try:
            return stash.cover(urlunsplit(("", "", parts.path, parts.query, "")))
        except StashUnavailable as error:
            raise DeliveryFailed(Failure.STASH, f"The cover can't be fetched: {error}.") from error

    return fetch


def may_have_changed(delivery: Delivery) -> bool:
    """Whether the cover may differ from the last one. If the changed fields are unknown, it may."""
    return delivery.event == "create" or not delivery.changed or "cover_image" in delivery.changed


def image_type(image: bytes) -> str | None:
    """The media type by the first bytes; None if it is no picture, such as Stash's SVG placeholder."""
    if image[:4] == b"RIFF" and image[8:12] == b"WEBP":
        return "image/webp"
    return next((name for signature, name in _SIGNATURES if image.startswith(signature)), None)


def cover_digest(server: str, item: str, image: bytes) -> str:
    """Identifies a cover that an item got from us; SHA-256 as 64 hex digits.

    Another server (by URL) has none of our covers, nor has an item that was scanned again and so has a new id.
    """
    return hashlib.sha256(f"{server}\n{item}\n".encode("utf-8", "replace") + image).hexdigest()
