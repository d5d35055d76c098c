"""Covers as images in Jellyfin."""

from __future__ import annotations

import base64
import json
import threading
from pathlib import Path
from typing import Any

import pytest

from stash_courier.queue.failures import DeliveryFailed, Failure
from stash_courier.queue.inbox.files import STASH
from stash_courier.worker.destinations.media.record import Record
from stash_courier.worker.stash.client import Stash
from stash_courier.worker.stash.covers import covers_of, image_type
from tests.standin.jellyfin import StandInJellyfin
from tests.standin.receivers import Reply
from tests.standin.stash.server import StandInStash
from tests.support.intercept import intercept
from tests.support.jellyfin import JPEG, PNG, jellyfin, refused
from tests.support.media_samples import delivery, scene

pytestmark = pytest.mark.timeout(60)


class Covers:
    """A cover, and how often it was fetched."""

    def __init__(self, image: bytes = JPEG) -> None:
        self.image = image
        self.asked = 0

    def __call__(self, url: str) -> bytes:
        assert url.startswith("http://127.0.0.1:9999/scene/17/screenshot")
        self.asked += 1
        return self.image


def images_sent(server: StandInJellyfin) -> int:
    """The number of images that were sent."""
    return server.counts["POST /Items/{id}/Images/Primary"]


@pytest.mark.parametrize("values", [{"event": "create"}, {"changed": ("cover_image", "title")}, {"changed": ()}])
def test_a_cover_is_sent_if_it_may_have_changed(server: StandInJellyfin, values: dict[str, Any]) -> None:
    """The cover is sent once if the scene is new, the cover changed, or the changes are unknown."""
    item_id = server.add("/media/movies/one.mkv")
    one, covers = scene(), Covers()
    with jellyfin(server, cover=covers, images=True) as ours:
        known = ours.deliver(delivery("jellyfin", one, **values), one).record or b""
        assert ours.deliver(delivery("jellyfin", one, **values), one, known).record == known
        assert server.images == {item_id: JPEG}
        assert images_sent(server) == 1
        assert server.counts["GET /Items/{id}/Images/Primary"] == 0
        covers.image = PNG
        assert ours.deliver(delivery("jellyfin", one, **values), one, known).record != known
    assert server.images == {item_id: PNG}


def test_another_edit_leaves_the_image_alone(server: StandInJellyfin) -> None:
    """An image that was chosen in Jellyfin stays if the cover didn't change."""
    item_id = server.add("/media/movies/one.mkv")
    server.images[item_id] = PNG
    one, covers = scene(), Covers()
    with jellyfin(server, cover=covers, images=True) as ours:
        ours.deliver(delivery("jellyfin", one, changed=("title", "tag_ids")), one)
    assert (covers.asked, server.images) == (0, {item_id: PNG})


def test_an_item_that_was_made_anew_gets_its_cover(server: StandInJellyfin) -> None:
    """If an item is gone and comes back with the same id, it has no cover from us; our locks are still known."""
    item_id = server.add("/media/movies/one.mkv")
    one = scene()
    with jellyfin(server, cover=Covers(), images=True) as ours:
        known = ours.deliver(delivery("jellyfin", one, event="create"), one).record or b""
        server.items.clear()
        server.images.clear()
        with pytest.raises(DeliveryFailed) as caught:
            ours.deliver(delivery("jellyfin", one), one, known)
        kept = caught.value.record or b""
        assert Record.decode(kept) == Record(fields=Record.decode(known).fields)
        server.add("/media/movies/one.mkv")
        ours.deliver(delivery("jellyfin", one, changed=()), one, kept)
    assert server.images == {item_id: JPEG}


def test_a_cover_that_is_there_already_is_not_sent(server: StandInJellyfin) -> None:
    """A cover is compared with Jellyfin's image, and sent only if it differs."""
    item_id = server.add("/media/movies/one.mkv")
    server.images[item_id] = JPEG
    one = scene()
    with jellyfin(server, cover=Covers(), images=True) as ours:
        ours.deliver(delivery("jellyfin", one, changed=()), one)
    assert images_sent(server) == 0


@pytest.mark.parametrize("image", [b"", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"<html>"])
def test_only_pictures_are_sent(server: StandInJellyfin, image: bytes) -> None:
    """Stash's placeholder for a scene without a cover replaces no image."""
    server.add("/media/movies/one.mkv")
    one = scene()
    with jellyfin(server, cover=Covers(image), images=True) as ours:
        ours.deliver(delivery("jellyfin", one, event="create"), one)
    assert images_sent(server) == 0


def test_a_cover_that_can_not_be_fetched(server: StandInJellyfin) -> None:
    """If Stash can't send the cover, the fields are written and the failure is blamed on Stash."""
    item_id = server.add("/media/movies/one.mkv")
    with jellyfin(server, images=True) as ours:
        failed = refused(ours, scene(), event="create")
    assert failed.failure is Failure.STASH
    assert server.items[item_id]["Name"] == "A Title"


def test_covers_are_only_fetched_from_stash(tmp_path: Path, stash: StandInStash) -> None:
    """A cover is fetched from Stash whatever host its URL names, since our login is sent with the request."""
    stash.edit(2, cover_image=f"data:image/jpeg;base64,{base64.b64encode(JPEG).decode()}")
    place = {"scheme": "http", "host": "127.0.0.1", "port": stash.config.port, "cookie": "", "at": 0.0}
    (tmp_path / STASH).write_text(json.dumps(place))
    client = Stash(tmp_path)
    try:
        cover = covers_of(client)
        assert cover("http://elsewhere.example/scene/2/screenshot?t=1") == JPEG
        assert cover("http://elsewhere.example/scene/999/screenshot") == b""
        assert image_type(cover("http://elsewhere.example/scene/3/screenshot")) is None
        stash.stop()
        with pytest.raises(DeliveryFailed) as caught:
            cover("http://elsewhere.example/scene/2/screenshot?t=1")
        assert caught.value.failure is Failure.STASH
        assert "cover can't be fetched" in caught.value.message
    finally:
        client.close()


def test_a_cover_that_hangs_delays_only_its_own_delivery(server: StandInJellyfin) -> None:
    """While Stash doesn't send one scene's cover, another scene and its cover arrive."""
    asked, answer = threading.Event(), threading.Event()
    items = [server.add(f"/media/movies/{name}.mkv") for name in ("slow", "quick")]
    slow, quick = (scene(f"/data/movies/{name}.mkv", cover_url=name) for name in ("slow", "quick"))

    def cover(url: str) -> bytes:
        if url == "slow":
            asked.set()
            answer.wait(30)
        return JPEG

    with jellyfin(server, cover=cover, images=True) as ours:
        other = threading.Thread(target=ours.deliver, args=(delivery("jellyfin", slow, changed=()), slow))
        other.start()
        assert asked.wait(10)
        ours.deliver(delivery("jellyfin", quick, changed=()), quick)
        assert set(server.images) == {items[1]}
        answer.set()
        other.join()
    assert set(server.images) == set(items)


def test_what_is_off_unless_asked_for(server: StandInJellyfin) -> None:
    """Without the switches no cover or image of a performer is fetched or sent, and no collection is asked for."""
    server.add("/media/movies/one.mkv")
    one, covers = scene(), Covers()
    with jellyfin(server, cover=covers) as ours:
        ours.deliver(delivery("jellyfin", one, event="create"), one)
    assert (covers.asked, server.images, server.collections.by_id) == (0, {}, {})
    assert not any("BoxSet" in request.path for request in server.receiver.received)


@pytest.mark.parametrize("path", ["POST /Items/", "/Images/"])
def test_an_item_that_vanished_at_its_edit(server: StandInJellyfin, path: str) -> None:
    """A 404 to the edit or cover of an item that was found makes no dead letter."""
    server.add("/media/movies/one.mkv")
    intercept(server.receiver, Reply(404), path)
    with jellyfin(server, cover=Covers(), images=True) as ours:
        failed = refused(ours, scene(), changed=())
    assert (failed.failure, failed.status) == (Failure.REFUSED, 404)
    assert '"one" (id ' in failed.message
