"""The Jellyfin destination: writes a scene's selected fields to its item in Jellyfin.

This module decides what is sent and when. The protocol is in api.py, the lookup of items in lookup.py, and the
edit of an item in items.py. Nothing here deletes an item or unlocks a field.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence

from stash_courier.queue.failures import DeliveryFailed
from stash_courier.queue.jobs import Delivery, Scene
from stash_courier.worker.destinations import CheckReport
from stash_courier.worker.destinations.jellyfin.api import JellyfinApi
from stash_courier.worker.destinations.jellyfin.items import FIELDS, JellyfinEdit, JellyfinItem, edit_for, known_as
from stash_courier.worker.destinations.jellyfin.lookup import Found, Lookup
from stash_courier.worker.destinations.media.check import check_server
from stash_courier.worker.destinations.media.errors import ambiguous, no_file, not_there_yet, still_there, vanished
from stash_courier.worker.destinations.media.libraries import NEGATIVE_SECONDS, Cached, Library, described, hint
from stash_courier.worker.destinations.media.places import Place, places, same_path
from stash_courier.worker.destinations.media.settings import (
    Selection,
    Server,
    fingerprint,
    read_selection,
    read_server,
    read_switches,
)
from stash_courier.worker.destinations.media.state import wanted_state
from stash_courier.worker.settings import Problem, Settings, label
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
            f"{label('jellyfin_url')} contains a login, which can't be sent: Jellyfin's API key uses the same "
            "header. Let the proxy admit this machine without a login, or enter Jellyfin's own address."
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
        self.id = KIND
        self.fingerprint = fingerprint
        self._refresh_only = refresh_only
        self._cover = cover
        self._api = JellyfinApi(
            server, timeout=settings.delivery_timeout_seconds, concurrency=settings.delivery_concurrency
        )
        self._lookup = Lookup(self._api)
        self._libraries = Cached(self._api.libraries, NEGATIVE_SECONDS, time.monotonic)

    def prepare(self, jobs: Sequence[tuple[Delivery, Scene | None]]) -> None:
        """Looks up the items of many scenes with few requests."""
        if self._refresh_only:
            return
        paths = [
            place.server for delivery, scene in jobs if scene for place in places(delivery, scene, self._path_map)
        ]
        try:
            self._lookup.prefetch(paths)
        except DeliveryFailed:
            pass  # each delivery makes its own lookup then, and reports what is wrong

    def deliver(self, delivery: Delivery, scene: Scene | None, cover: bytes = b"") -> bytes:
        """Updates the scene's item, or reports that its file is gone.

        Raises:
            DeliveryFailed: NOT_THERE_YET while Jellyfin has no item with the scene's path; ITEM_REFUSED if
                several items have it.
        """
        where = places(delivery, scene, self._path_map)
        paths = [place.server for place in where]
        if scene is None:
            if paths:  # else its last path is unknown
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

    def check(self, scene: Scene | None) -> CheckReport:
        """Reports which server answers, whether it accepts the key, and what a delivery would change."""
        return check_server(self, NAME, self._path_map, scene)

    def close(self) -> None:
        """Closes the connections."""
        self._api.close()

    def _find(self, scene_id: int, where: Sequence[Place]) -> Found:
        """The item of the scene's first file that Jellyfin knows, by its exact path."""
        found = self._lookup.find([place.server for place in where])
        if len(found.items) > 1:
            place = next(place for place in where if same_path(place.server, found.items[0]["Path"]))
            raise ambiguous(NAME, scene_id, place, map(known_as, found.items))
        return found

    def _edit(self, item: JellyfinItem, scene: Scene) -> JellyfinEdit:
        return edit_for(item, wanted_state(scene, self._selection), add_only=self._selection.add_only)

    def _update(self, found: Found, scene: Scene) -> JellyfinItem:
        """Sends the item if it has to change. Returns the item as it was read."""
        (item,) = found.items
        edit = self._edit(item, scene)
        if edit.changes and found.prefetched:
            # The whole item is sent back, which would undo any change that was made in Jellyfin since it was read.
            now = self._lookup.reread(item)
            if now is None:
                raise vanished(self._server, known_as(item))
            item, edit = now, self._edit(now, scene)
        if edit.changes:
            self._api.update(edit.body)
        return item

    def _show_cover(self, fetch: Cover, item: JellyfinItem, scene: Scene, known: bytes) -> bytes:
        """Makes the scene's cover the item's primary image, unless it is already. Returns its digest."""
        image = fetch(scene.cover_url) if scene.cover_url else b""
        media_type = image_type(image)
        if media_type is None:
            return b""
        digest = cover_digest(self._server.url, item["Id"], image)
        if digest != known and ("Primary" not in (item.get("ImageTags") or {}) or self._api.image(item) != image):
            self._api.set_image(item, image, media_type)
        return digest

    # For the check

    def introduce(self) -> Iterator[str]:
        """Server and libraries."""
        yield f"{self._server.host} is {self._api.about()} and accepts the key."
        yield f"Its libraries: {described(self._libraries.get())}."

    def preview(self, scene: Scene, where: Sequence[Place]) -> list[str] | None:
        """What a delivery would change; None if Jellyfin doesn't know the item."""
        items = self._find(scene.id, where).items
        if not items:
            return None
        (item,) = items
        found = f"Scene {scene.id} is {known_as(item)}, found under {item['Path']}."
        if self._refresh_only:
            setting = label("jellyfin_refresh_only")
            return [found, f"{setting} is on: changes are reported to Jellyfin, but no field is written."]
        locked = ["The whole item is locked in Jellyfin; that lock stays."] if item["LockData"] else []
        return [found, *locked, *(self._edit(item, scene).changes or ["Nothing would change."])]

    def libraries(self) -> list[Library]:
        """All libraries."""
        return self._libraries.get()

    def files_named(self, name: str) -> list[str]:  # noqa: ARG002  # Jellyfin can't be asked for a file name
        """The paths of all videos."""
        return self._lookup.files()
