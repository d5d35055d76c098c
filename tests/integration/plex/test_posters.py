"""Covers as posters in Plex."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from stash_courier.worker.destinations.plex.destination import Plex
from tests.standin.plex import Library
from tests.standin.plex import Plex as Server
from tests.support.plex import JPEG, PATH, SCENE, UPDATE, Make

pytestmark = pytest.mark.timeout(60)


def posters(plex: Make, images: Mapping[str, bytes], **raw: object) -> tuple[Plex, list[str]]:
    """A destination that sends covers, and the URLs of the covers it fetched."""
    fetched: list[str] = []

    def cover(url: str) -> bytes:
        fetched.append(url)
        return images[url]

    return plex(cover=cover, images=True, **raw), fetched


def test_a_cover_becomes_the_poster_when_it_changed(server: Server, films: Library, plex: Make) -> None:
    """The cover of a new scene and a changed cover become the poster; other edits send none."""
    item = server.add(films, PATH)
    images = {SCENE.cover_url: JPEG}
    destination, fetched = posters(plex, images)
    known = destination.deliver(replace(UPDATE, event="create", changed=()), SCENE).record or b""
    assert item.posters == [JPEG]
    assert destination.deliver(replace(UPDATE, changed=("title", "tags")), SCENE, known).record == known
    assert len(fetched) == 1
    assert destination.deliver(replace(UPDATE, changed=("cover_image",)), SCENE, known).record == known
    assert item.posters == [JPEG]  # it is the same
    images[SCENE.cover_url] = JPEG + b" changed"
    assert destination.deliver(replace(UPDATE, changed=("cover_image",)), SCENE, known).record != known
    assert item.posters == [JPEG, JPEG + b" changed"]


def test_covers_are_off_unless_asked_for(server: Server, films: Library, plex: Make) -> None:
    """Without "Send covers" no cover is fetched or sent."""
    item = server.add(films, PATH)
    plex(cover=lambda _: JPEG).deliver(replace(UPDATE, event="create", changed=()), SCENE)
    assert item.posters == []
