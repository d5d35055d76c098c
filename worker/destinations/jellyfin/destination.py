"""The Jellyfin destination: writes a scene's selected fields to its item in Jellyfin.

The protocol is in api.py, the lookup of items in lookup.py, and what is written in writer.py. Nothing here deletes
an item or unlocks a field.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Sequence

from stash_courier.queue.failures import DeliveryFailed
from stash_courier.queue.jobs import Delivery, Scene
from stash_courier.worker.connections.model import Connection
from stash_courier.worker.destinations import Delivered
from stash_courier.worker.destinations.jellyfin.api import JellyfinApi
from stash_courier.worker.destinations.jellyfin.items import known_as
from stash_courier.worker.destinations.jellyfin.lookup import Found, Lookup
from stash_courier.worker.destinations.jellyfin.settings import Options
from stash_courier.worker.destinations.jellyfin.survey import shown, stack
from stash_courier.worker.destinations.jellyfin.writer import Writer
from stash_courier.worker.destinations.media.api import still_there
from stash_courier.worker.destinations.media.base import MediaDestination
from stash_courier.worker.destinations.media.libraries import Cached, Library
from stash_courier.worker.destinations.media.places import Place, ambiguous, places, same_path
from stash_courier.worker.destinations.media.record import Record
from stash_courier.worker.destinations.media.report import Rules, Shown
from stash_courier.worker.destinations.media.settings import Server
from stash_courier.worker.stash.covers import Cover

LIBRARY_SECONDS = 300.0  # how long the libraries' options are believed


def make(connection: Connection, cover: Cover) -> Jellyfin:
    """The destination of a connection."""
    return Jellyfin(connection, cover)


class Jellyfin(MediaDestination):
    """One Jellyfin server."""

    _report_rules = Rules(stack=stack)

    def __init__(self, connection: Connection, cover: Cover) -> None:
        options: Options = connection.options
        server = Server("Jellyfin", options.url, options.key)
        self._api = JellyfinApi(server, connection.policy)
        libraries = Cached(self._api.libraries, LIBRARY_SECONDS, time.monotonic)
        super().__init__(connection, server, self._api, libraries, cover if options.images else None)
        self._options = options
        self._lookup = Lookup(self._api)
        self._writer = Writer(server, self._api, self._lookup, libraries, options)

    def prepare(self, jobs: Sequence[tuple[Delivery, Scene | None]]) -> None:
        """Looks up the items of many scenes with few requests."""
        if self._options.refresh_only:
            return
        paths = [
            place.server for delivery, scene in jobs if scene for place in places(delivery, scene, self._path_map)
        ]
        try:
            self._lookup.prefetch(paths)
        except DeliveryFailed:
            pass  # each delivery makes its own lookup then, and reports what is wrong

    def _update(self, delivery: Delivery, scene: Scene, where: Sequence[Place], record: Record) -> Delivered:
        paths = [place.server for place in where]
        if self._options.refresh_only:
            self._api.notify("Created" if delivery.event == "create" else "Modified", paths)
            return Delivered()
        found = self._find(scene.id, where)
        if not found.items:

            def announce() -> bool:
                self._api.notify("Created", paths)
                return True

            self._libraries.expire_soon()  # a new library may contain the path
            raise self._absent(scene, where, announce)
        with still_there(self._server, known_as(found.items[0])):
            written = self._writer.write(found, scene, record)
            item, record = written.item, written.record

            def show(image: bytes, media_type: str) -> None:
                if "Primary" not in (item.get("ImageTags") or {}) or self._api.image(item) != image:
                    self._api.set_image(item, image, media_type)

            if written.takes_cover:
                record = self._send_cover(delivery, scene, item["Id"], record, show)
        self._writer.end(scene.id)
        return Delivered(record.encode(), written.notes)

    def _delete(self, where: Sequence[Place]) -> None:
        self._api.notify("Deleted", [place.server for place in where])

    def _find(self, scene_id: int, where: Sequence[Place]) -> Found:
        """The item of the scene's first file that Jellyfin knows, by its exact path."""
        found = self._lookup.find([place.server for place in where])
        if len(found.items) > 1:
            place = next(place for place in where if same_path(place.server, found.items[0]["Path"]))
            raise ambiguous(self._name, scene_id, place, map(known_as, found.items))
        return found

    def _about(self) -> str:
        return self._api.about()

    def _look_ahead(self, where: Sequence[Place]) -> None:
        self._lookup.prefetch([place.server for place in where])

    def _knows(self, scene: Scene, where: Sequence[Place]) -> bool:
        return bool(self._find(scene.id, where).items)

    def _preview(self, scene: Scene, where: Sequence[Place]) -> list[str]:
        items = self._find(scene.id, where).items
        if not items:
            return []  # removed a moment ago
        (item,) = items
        found = f"Scene {scene.id} is {known_as(item)}, found under {item['Path']}."
        if self._options.refresh_only:
            return [found, '"Only notify" is on: changes are reported to Jellyfin, but no field is written.']
        return [found, *self._writer.preview(item, scene)]

    def _warnings(self, libraries: Sequence[Library]) -> list[str]:
        return self._writer.warnings(libraries)

    def _shown(self) -> Iterator[Shown]:
        return shown(self._api)

    def _files_named(self, names: Collection[str]) -> list[str]:  # noqa: ARG002  # can't be asked for file names
        return self._lookup.files()
