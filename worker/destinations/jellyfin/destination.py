"""The Jellyfin destination: an edit in Stash shows in Jellyfin, in the fields that the owner lets us write.

Which item, and when. How Jellyfin is spoken to is jellyfin_api.py's, where an item is jellyfin_lookup.py's, what
is changed in it jellyfin_items.py's. It never deletes an item, and unlocks nothing.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence

from stash_courier.queue.failures import DeliveryFailed
from stash_courier.queue.jobs import Delivery, Scene
from stash_courier.worker.destinations import TestReport
from stash_courier.worker.destinations.jellyfin.api import JellyfinApi
from stash_courier.worker.destinations.jellyfin.items import FIELDS, JellyfinEdit, JellyfinItem, known_as, lay_over
from stash_courier.worker.destinations.jellyfin.lookup import Found, Lookup
from stash_courier.worker.destinations.media.check import Check
from stash_courier.worker.destinations.media.libraries import NEGATIVE_SECONDS, Recent, described, hint
from stash_courier.worker.destinations.media.settings import (
    Selection,
    Server,
    fingerprint,
    read_selection,
    read_server,
    read_switches,
)
from stash_courier.worker.destinations.media.state import (
    Place,
    ambiguous,
    no_file,
    not_there_yet,
    places,
    same_path,
    still_there,
    vanished,
    wanted_state,
)
from stash_courier.worker.settings import Problem, Settings
from stash_courier.worker.stash.covers import Cover, cover_digest, image_type, may_have_changed, no_cover

KIND = "jellyfin"
NAME = "Jellyfin"


def configure(
    raw: Mapping[str, object], settings: Settings, cover: Cover = no_cover
) -> tuple[list[Jellyfin], list[Problem]]:
    """Makes the destination if ``jellyfin_url`` is set.

    Args:
        raw: the plugin's map as Stash stores it.
        settings: the common settings.
        cover: fetches covers from Stash.
    """
    server, problems = read_server(raw, KIND, "jellyfin_api_key", NAME)
    if server is None:
        return [], problems
    if server.authorization:
        message = (
            "jellyfin_url holds a login, which can't be sent: Jellyfin's own key takes its header. Let the proxy "
            "admit this machine without one, or enter Jellyfin's own address."
        )
        problems.append(Problem("jellyfin_url", message))
    selection, wrong = read_selection(raw, KIND, FIELDS)
    problems += wrong
    switches, wrong = read_switches(raw, "jellyfin_refresh_only", "jellyfin_images")
    problems += wrong
    if problems:
        return [], problems
    made = Jellyfin(
        server,
        selection,
        settings,
        fingerprint=fingerprint(raw, KIND),
        refresh_only=switches["jellyfin_refresh_only"],
        cover=cover if switches["jellyfin_images"] else None,
    )
    return [made], []


class Jellyfin:
    """One Jellyfin server."""

    def __init__(
        self,
        server: Server,
        selection: Selection,
        settings: Settings,
        *,
        fingerprint: str,
        refresh_only: bool = False,
        cover: Cover | None = None,
    ) -> None:
        self._server = server
        self._selection = selection
        self._path_map = settings.path_map
        self._fingerprint = fingerprint
        self._refresh_only = refresh_only
        self._cover = cover
        self._api = JellyfinApi(
            server, timeout=settings.delivery_timeout_seconds, concurrency=settings.delivery_concurrency
        )
        self._lookup = Lookup(self._api)
        self._libraries = Recent(self._api.libraries, NEGATIVE_SECONDS, time.monotonic)

    @property
    def id(self) -> str:
        """``jellyfin``."""
        return KIND

    @property
    def fingerprint(self) -> str:
        """A hash of the settings that begin with ``jellyfin_``."""
        return self._fingerprint

    def prepare(self, jobs: Sequence[tuple[Delivery, Scene | None]]) -> None:
        """Looks up many scenes with one request."""
        if self._refresh_only:
            return
        paths = [
            place.server for delivery, scene in jobs if scene for place in places(delivery, scene, self._path_map)
        ]
        try:
            self._lookup.ahead(paths)
        except DeliveryFailed:
            pass  # each delivery looks up for itself then, and says what is wrong

    def deliver(self, delivery: Delivery, scene: Scene | None, cover: bytes = b"") -> bytes:
        """Brings the scene's item up to date, or tells the server that the file is gone.

        Raises:
            DeliveryFailed: NOT_THERE_YET while Jellyfin has no item with the scene's path; ITEM_REFUSED where
                several have it.
        """
        where = places(delivery, scene, self._path_map)
        paths = [place.server for place in where]
        if scene is None:
            if paths:  # else nobody knows where it was
                self._api.notify("Deleted", paths)
            return b""
        if not where:
            raise no_file(NAME, scene.id)
        if self._refresh_only:
            self._api.notify("Created" if delivery.event == "create" else "Modified", paths)
            return b""
        found = self._find(scene.id, where)
        if not found.items:
            self._api.notify("Created", paths)
            raise not_there_yet(NAME, scene.id, where, hint(where, self._libraries.get))
        with still_there(self._server, known_as(found.items[0])):
            item = self._update(found, scene)
            if self._cover is None or not may_have_changed(delivery):
                return b""
            return self._show_cover(self._cover, item, scene, cover)

    def test(self, scene: Scene | None) -> TestReport:
        """Says who answers, whether it takes the key, and what a delivery would do. Changes nothing."""
        return Check(
            NAME,
            self._path_map,
            introduce=self._introduce,
            look_up=self._would_do,
            libraries=self._libraries.get,
            files_named=lambda _name: self._lookup.files(),
        ).run(scene)

    def close(self) -> None:
        """Lets go of connections."""
        self._api.close()

    def _find(self, scene_id: int, where: Sequence[Place]) -> Found:
        """The item with exactly that path, if there is one: of the first file that Jellyfin knows."""
        found = self._lookup.find([place.server for place in where])
        if len(found.items) > 1:
            place = next(place for place in where if same_path(place.server, found.items[0]["Path"]))
            raise ambiguous(NAME, scene_id, place, map(known_as, found.items))
        return found

    def _edit(self, item: JellyfinItem, scene: Scene) -> JellyfinEdit:
        return lay_over(item, wanted_state(scene, self._selection), add_only=self._selection.add_only)

    def _update(self, found: Found, scene: Scene) -> JellyfinItem:
        """Sends the item with what differs in it; gives it back as it was."""
        (item,) = found.items
        edit = self._edit(item, scene)
        if edit.changes and found.ahead:
            # The whole item goes back, so what a hand did to it since it was read would be undone.
            now = self._lookup.again(item)
            if now is None:
                raise vanished(self._server, known_as(item))
            item, edit = now, self._edit(now, scene)
        if edit.changes:
            self._api.update(edit.body)
        return item

    def _show_cover(self, fetch: Cover, item: JellyfinItem, scene: Scene, known: bytes) -> bytes:
        """Makes the scene's cover the item's primary image, unless it is that already; returns its digest."""
        image = fetch(scene.cover_url) if scene.cover_url else b""
        media_type = image_type(image)
        if media_type is None:
            return b""
        digest = cover_digest(self._server.url, item["Id"], image)
        if digest != known and ("Primary" not in (item.get("ImageTags") or {}) or self._api.image(item) != image):
            self._api.set_image(item, image, media_type)
        return digest

    # The test

    def _introduce(self) -> Iterator[str]:
        yield f"{self._server.host} is {self._api.about()} and takes the key."
        yield f"Its libraries: {described(self._libraries.get())}."

    def _would_do(self, scene: Scene, where: Sequence[Place]) -> list[str] | None:
        items = self._find(scene.id, where).items
        if not items:
            return None
        (item,) = items
        found = f"Scene {scene.id} is {known_as(item)}, found under {item['Path']}."
        if self._refresh_only:
            return [found, "jellyfin_refresh_only is on: Jellyfin is told of changes, no field is written."]
        locked = ["It is locked there as a whole; that lock stays."] if item["LockData"] else []
        return [found, *locked, *(self._edit(item, scene).changes or ["Nothing would change."])]
