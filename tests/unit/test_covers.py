"""Covers: how a cover is identified, when it may have changed, and what counts as a picture."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from stash_courier.queue.failures import DeliveryFailed, Failure
from stash_courier.worker.stash.client import Stash, StashUnavailable
from stash_courier.worker.stash.covers import cover_digest, covers_of, image_type, may_have_changed, no_cover
from tests.support.media_samples import delivery

JPEG = b"\xff\xd8\xff\xe0 a picture"
URL = "http://plex:32400"


def test_a_digest_belongs_to_one_cover_of_one_item_on_one_server() -> None:
    """Another server, an item that was scanned again, and another picture all need the cover again."""
    digest = cover_digest(URL, "101", JPEG)
    assert digest == cover_digest(URL, "101", JPEG)
    others = {
        cover_digest("http://plex:1", "101", JPEG),
        cover_digest(URL, "102", JPEG),
        cover_digest(URL, "101", JPEG + b"changed"),
    }
    assert len(others) == 3
    assert digest not in others


@pytest.mark.parametrize(
    ("values", "may"),
    [
        ({"event": "create", "changed": ("title",)}, True),
        ({"changed": ("title", "cover_image")}, True),
        ({"changed": ()}, True),
        ({"changed": ("title",)}, False),
    ],
)
def test_a_cover_is_fetched_only_if_it_may_have_changed(values: dict[str, object], may: bool) -> None:
    """An edit of other fields fetches no cover; an event that doesn't list its fields does."""
    assert may_have_changed(replace(delivery("plex"), **values)) == may  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (JPEG, "image/jpeg"),
        (b"\x89PNG\r\n\x1a\n...", "image/png"),
        (b"GIF89a...", "image/gif"),
        (b"RIFF\0\0\0\0WEBP", "image/webp"),
        (b"RIFF\0\0\0\0WAVE", None),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", None),
        (b"", None),
    ],
)
def test_only_pictures_are_covers(image: bytes, expected: str | None) -> None:
    """Stash's placeholder for a scene without a cover is never sent."""
    assert image_type(image) == expected


def test_a_cover_is_asked_of_stash_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever host a cover's URL names, only its path and query are asked, of the configured Stash."""
    covers = {"/scene/7/screenshot?t=5": JPEG}
    stash = Stash(tmp_path)
    monkeypatch.setattr(stash, "cover", covers.__getitem__)
    assert covers_of(stash)("http://elsewhere:1/scene/7/screenshot?t=5") == JPEG


def test_a_stash_that_is_away_is_no_fault_of_the_destination(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cover that can't be fetched fails the delivery as a fault of Stash."""

    def unavailable(_: str) -> bytes:
        raise StashUnavailable("it is away")

    stash = Stash(tmp_path)
    monkeypatch.setattr(stash, "cover", unavailable)
    for cover in (covers_of(stash), no_cover):
        with pytest.raises(DeliveryFailed) as caught:
            cover("http://stash/scene/7/screenshot")
        assert caught.value.failure is Failure.STASH
