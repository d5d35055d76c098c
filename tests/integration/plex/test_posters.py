"""Covers as posters in Plex."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from stash_courier.queue.failures import DeliveryFailed, Failure
from stash_courier.worker.destinations.plex.destination import Plex
from stash_courier.worker.stash.client import Stash
from stash_courier.worker.stash.covers import covers_of
from tests.standin.plex import Library
from tests.standin.plex import Plex as Server
from tests.support.intercept import LOGIN, intercept
from tests.support.plex import JPEG, PATH, SCENE, UPDATE, Make, failure

pytestmark = pytest.mark.timeout(60)


def posters(plex: Make, images: Mapping[str, bytes], **raw: object) -> tuple[Plex, list[str]]:
    """A destination that sends covers, and the URLs of the covers it fetched."""
    fetched: list[str] = []

    def cover(url: str) -> bytes:
        fetched.append(url)
        return images[url]

    return plex(cover=cover, images=True, **raw), fetched


def test_covers_are_off_unless_asked_for(server: Server, films: Library, plex: Make) -> None:
    """Without "Send covers" no cover is fetched or sent."""
    item = server.add(films, PATH)
    plex().deliver(replace(UPDATE, event="create", changed=()), SCENE)
    assert item.posters == []


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


def test_a_poster_is_sent_once_whatever_restarts(
    server: Server, films: Library, plex: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a restart or a change of settings a poster isn't sent again; a rescanned item gets it."""
    item = server.add(films, PATH)
    change = replace(UPDATE, changed=())
    stash = Stash(tmp_path)
    monkeypatch.setattr(stash, "cover", lambda path: JPEG)
    known = b""
    for n in range(3):
        destination = plex(cover=covers_of(stash), images=True, add_only=bool(n))
        known = destination.deliver(change, SCENE, known).record or b""
        destination.close()
    assert item.posters == [JPEG]
    films.items.clear()
    item = server.add(films, PATH)
    plex(cover=covers_of(stash), images=True).deliver(change, SCENE, known)
    assert item.posters == [JPEG]


@pytest.mark.parametrize("image", [b"", b"<svg xmlns='http://www.w3.org/2000/svg'/>"])
def test_only_pictures_are_sent(server: Server, films: Library, plex: Make, image: bytes) -> None:
    """Stash's placeholder for a scene without a cover is not sent."""
    item = server.add(films, PATH)
    destination, _ = posters(plex, {SCENE.cover_url: image})
    destination.deliver(replace(UPDATE, changed=("cover_image",)), SCENE)
    assert item.posters == []
    assert item.values["title"] == "A day"


def test_a_cover_that_can_not_be_fetched(server: Server, films: Library, plex: Make) -> None:
    """If Stash can't send the cover, the fields are written and the next attempt sends the cover."""
    item = server.add(films, PATH)
    down = [True]

    def cover(url: str) -> bytes:
        if down[0]:
            raise DeliveryFailed(Failure.STASH, "The cover can't be fetched.")
        return JPEG

    destination = plex(cover=cover, images=True)
    change = replace(UPDATE, changed=("cover_image",))
    assert failure(destination, SCENE, change).failure is Failure.STASH
    assert item.values["title"] == "A day"
    down[0] = False
    destination.deliver(change, SCENE)
    assert item.posters == [JPEG]
    assert len(server.edits) == 1


def test_a_login_page_takes_no_poster(server: Server, films: Library, plex: Make) -> None:
    """A poster that a login page answered is sent again at the next attempt."""
    item = server.add(films, PATH)
    real = intercept(server.receiver, LOGIN, "POST ")
    destination, _ = posters(plex, {SCENE.cover_url: JPEG})
    change = replace(UPDATE, changed=("cover_image",))
    assert failure(destination, SCENE, change).failure is Failure.DESTINATION
    server.receiver.answer = real
    destination.deliver(change, SCENE)
    assert item.posters == [JPEG]
