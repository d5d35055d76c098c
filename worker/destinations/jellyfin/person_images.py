"""Images of Stash's performers for the persons in Jellyfin that have none.

An image is never replaced, and a trouble with one never fails a delivery. An item's people come with the ids and
image tags of their persons, so persons that have an image cost no request (DtoService.AttachPeople).
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Iterable, Sequence

from stash_courier.queue.failures import DeliveryFailed, Failure
from stash_courier.queue.jobs import Named
from stash_courier.worker.destinations.jellyfin.api import JellyfinApi
from stash_courier.worker.destinations.jellyfin.items import JellyfinItem
from stash_courier.worker.destinations.media.state import folded
from stash_courier.worker.stash.covers import Cover, image_type

log = logging.getLogger(__name__)

MOST_KNOWN = 20_000  # names that are remembered
# How long a name isn't looked at again, in seconds.
DONE = math.inf  # the person has an image
NO_IMAGE = 3600.0  # Stash has none
LATER = 600.0  # there is no such person, or it failed
PAUSE = 60.0  # how long no image is tried after Stash or Jellyfin could not be asked, or were late


class PersonImages:
    """Sends the images of performers to one server. Thread-safe.

    Args:
        cover: fetches an image from Stash.
        seconds: how long one delivery may wait for its images.
        clock: monotonic seconds.
    """

    def __init__(
        self, api: JellyfinApi, cover: Cover, seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._api = api
        self._cover = cover
        self._seconds = seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._due: dict[str, float] = {}  # by name: when it may be looked at again
        self._paused_until = -math.inf

    def send(self, item: JellyfinItem, performers: Iterable[Named]) -> None:
        """Sends the images of performers whose persons have none. Raises nothing.

        Args:
            item: as it was before its update, with its people.
            performers: of its scene.
        """
        for one in item["People"]:
            if one.get("PrimaryImageTag"):
                self._remember(_key(one.get("Name")), DONE)
        todo = self._take(performers)
        if not todo:
            return
        # In a thread of its own: an image that hangs costs the delivery no more than its limit.
        thread = threading.Thread(target=self._send, args=(item, todo), name="person images", daemon=True)
        thread.start()
        thread.join(self._seconds)
        if thread.is_alive():
            log.warning("images of performers take longer than %g s; the delivery goes on", self._seconds)
            self._pause()

    def _take(self, performers: Iterable[Named]) -> list[Named]:
        """The performers to look at now. No other thread takes them meanwhile."""
        now = self._clock()
        with self._lock:
            if now < self._paused_until:
                return []
            todo = [one for one in performers if now >= self._due.get(_key(one.name), -math.inf)]
        for one in todo:
            self._remember(_key(one.name), LATER)
        return todo

    def _send(self, item: JellyfinItem, todo: Sequence[Named]) -> None:
        try:
            people = _persons(item)
            if any(_key(one.name) not in people for one in todo):
                # The persons of people who were just added to the item.
                people = next((_persons(now) for now in self._api.items([item["Id"]])), {})
            for one in todo:
                if person := people.get(_key(one.name)):
                    self._send_one(one, *person)
        except DeliveryFailed as failed:
            log.warning("images of performers are not sent to Jellyfin for %g s: %s", PAUSE, failed.message)
            self._pause()

    def _send_one(self, performer: Named, person: str, tag: object) -> None:
        """Sends one image if the person has none.

        Raises:
            DeliveryFailed: Stash or Jellyfin can't be asked.
        """
        key, url = _key(performer.name), f"/performer/{performer.id}/image"
        try:
            if not tag:
                image = self._cover(url)
                media_type = image_type(image)
                # Stash sends a placeholder if there is no image or it can't be read (its routes_performer.go).
                if media_type is None or image == self._cover(f"{url}?default=true"):
                    self._remember(key, NO_IMAGE)
                    return
                if not self._api.has_image(person):
                    self._api.set_image({"Id": person}, image, media_type)
            self._remember(key, DONE)
        except DeliveryFailed as failed:
            if failed.failure is not Failure.ITEM_REFUSED:
                raise
            log.warning("Jellyfin refuses the image of performer %s: %s", performer.id, failed.message)

    def _remember(self, name: str, seconds: float) -> None:
        with self._lock:
            self._due.pop(name, None)
            self._due[name] = self._clock() + seconds
            if len(self._due) > MOST_KNOWN:
                del self._due[next(iter(self._due))]

    def _pause(self) -> None:
        with self._lock:
            self._paused_until = self._clock() + PAUSE


def _persons(item: JellyfinItem) -> dict[str, tuple[str, object]]:
    """Id and image tag of the persons of an item's people, by name."""
    return {
        _key(one.get("Name")): (str(one["Id"]), one.get("PrimaryImageTag"))
        for one in item["People"]
        if one.get("Id")
    }


def _key(name: object) -> str:
    return folded(str(name or ""))
