"""Images of performers for the persons in Jellyfin that have none."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Any

import pytest

from stash_courier.queue.failures import DeliveryFailed, Failure
from stash_courier.queue.jobs import Scene
from stash_courier.worker.destinations.jellyfin.destination import Jellyfin
from stash_courier.worker.destinations.jellyfin.person_images import PersonImages
from tests.standin.jellyfin import StandInJellyfin
from tests.standin.receivers import Received, Reply
from tests.support.jellyfin import JPEG, PNG, VERSIONS, jellyfin
from tests.support.media_samples import delivery, scene

pytestmark = pytest.mark.timeout(60)

SILHOUETTE = b"\x89PNG\r\n\x1a\n Stash's picture for performers without one"
IMAGES = {1: JPEG, 2: PNG}


class Pictures:
    """Images of performers by id, as Stash gives them, and how often each address was asked."""

    def __init__(self, images: dict[int, bytes] | None = None) -> None:
        self.images = IMAGES if images is None else images
        self.asked: Counter[str] = Counter()
        self.fails: DeliveryFailed | None = None

    def __call__(self, url: str) -> bytes:
        self.asked[url] += 1
        if self.fails:
            raise self.fails
        path, _, query = url.partition("?")
        _, performer, what = path.strip("/").split("/")
        assert what == "image"
        return SILHOUETTE if query == "default=true" else self.images.get(int(performer), SILHOUETTE)


def send(ours: Jellyfin, one: Scene) -> None:
    """Delivers a scene."""
    ours.deliver(delivery("jellyfin", one), one)


def added(server: StandInJellyfin, number: int = 0, **values: Any) -> Scene:
    """A scene whose file is an item of the server."""
    server.add(f"/media/movies/{number}.mkv")
    return scene(f"/data/movies/{number}.mkv", id=number + 1, **{"performers": ("Anna", "Zoë"), **values})


def shown(server: StandInJellyfin) -> dict[str, bytes]:
    """The images of persons, by name."""
    return {one["Name"]: server.images[key] for key, one in server.persons.by_id.items() if key in server.images}


def images_sent(server: StandInJellyfin) -> int:
    """The number of images that were sent."""
    return server.counts["POST /Items/{id}/Images/Primary"]


@pytest.mark.parametrize("version", VERSIONS)
def test_persons_without_an_image_get_that_of_the_performer(version: str) -> None:
    """Each person gets the image once, also if the person came with this very delivery."""
    with StandInJellyfin(version=version) as server:
        pictures = Pictures()
        with jellyfin(server, cover=pictures, person_images=True) as ours:
            send(ours, added(server))
            assert shown(server) == {"Anna": JPEG, "Zoë": PNG}
            before = len(server.receiver.received), pictures.asked.total()
            send(ours, added(server, 1, title="0", performers=("Anna", "Zoë")))
        assert images_sent(server) == 2
        assert pictures.asked.total() == before[1]
        assert len(server.receiver.received) - before[0] <= 3  # look-up, fresh read, update


def test_an_image_is_never_replaced(server: StandInJellyfin) -> None:
    """A person who has an image keeps it, and nothing is asked of Stash. The other one gets the performer's."""
    server.images[server.persons.of("anna")["Id"]] = b"\xff\xd8\xff by hand"
    pictures = Pictures()
    with jellyfin(server, cover=pictures, person_images=True) as ours:
        send(ours, added(server))
    assert shown(server) == {"anna": b"\xff\xd8\xff by hand", "Zoë": PNG}
    assert not any("/performer/1/" in url for url in pictures.asked)


def test_an_image_that_came_meanwhile_is_not_replaced(server: StandInJellyfin) -> None:
    """An image that the owner adds while ours is being fetched stays."""
    anna = server.persons.of("Anna")["Id"]

    class Meanwhile(Pictures):
        def __call__(self, url: str) -> bytes:
            server.images[anna] = b"\xff\xd8\xff by hand"
            return super().__call__(url)

    with jellyfin(server, cover=Meanwhile(), person_images=True) as ours:
        send(ours, added(server, performers=("Anna",)))
    assert (shown(server), images_sent(server)) == ({"Anna": b"\xff\xd8\xff by hand"}, 0)


@pytest.mark.parametrize("image", [SILHOUETTE, b"<svg xmlns='http://www.w3.org/2000/svg'/>", b""])
def test_stash_placeholder_is_not_sent(server: StandInJellyfin, image: bytes) -> None:
    """What Stash shows for a performer without an image is no image. It isn't fetched again at each scene."""
    pictures = Pictures({1: image, 2: image})
    with jellyfin(server, cover=pictures, person_images=True) as ours:
        send(ours, added(server))
        asked = pictures.asked.total()
        send(ours, added(server, 1))
    assert (server.images, pictures.asked.total()) == ({}, asked)
    assert server.counts["GET /Items/{id}/Images"] == 0


def test_a_stash_that_fails_does_not_fail_the_delivery(server: StandInJellyfin) -> None:
    """If Stash can't give an image, the scene is delivered, and the next scenes don't ask again at once."""
    pictures = Pictures()
    pictures.fails = DeliveryFailed(Failure.STASH, "The cover can't be fetched.")
    with jellyfin(server, cover=pictures, person_images=True) as ours:
        for number in range(3):
            send(ours, added(server, number))
    assert pictures.asked.total() == 1
    assert [item["Name"] for item in server.items.values()] == ["A Title"] * 3


def test_an_image_that_hangs_delays_one_delivery(server: StandInJellyfin) -> None:
    """If Stash hangs at an image, one delivery waits for the timeout, and the next ones don't wait."""
    answer, asked = threading.Event(), []

    def hang(url: str) -> bytes:
        asked.append(url)
        answer.wait(30)
        return JPEG

    with jellyfin(server, cover=hang, person_images=True) as ours:
        ours._person_images = PersonImages(ours._api, hang, 0.05)
        for number in range(3):
            send(ours, added(server, number, performers=(f"Performer {number}",)))
        assert [item["Name"] for item in server.items.values()] == ["A Title"] * 3
        assert (len(asked), server.images) == (1, {})
        answer.set()


@pytest.mark.parametrize("status", [400, 500])
def test_a_server_that_refuses_images_does_not_fail_the_delivery(server: StandInJellyfin, status: int) -> None:
    """If Jellyfin refuses an image, the scene is delivered, and it isn't sent again at each scene."""
    sent: list[str] = []
    inner = server.receiver.answer
    assert callable(inner)

    def refuse(request: Received) -> Reply:
        if request.method == "POST" and "/Images/" in request.path:
            sent.append(request.path)
            return Reply(status)
        return inner(request)

    server.receiver.answer = refuse
    with jellyfin(server, cover=Pictures(), person_images=True) as ours:
        for number in range(3):
            send(ours, added(server, number))
    assert len(sent) == (2 if status == 400 else 1)
    assert [item["Name"] for item in server.items.values()] == ["A Title"] * 3
