"""The Jellyfin destination: writes a scene's selected fields to its item in Jellyfin.

The protocol is in api.py, the lookup of items in lookup.py, and what is written in writer.py. Nothing here deletes
an item or unlocks a field.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace

from stash_courier.queue.failures import DeliveryFailed
from stash_courier.queue.jobs import Delivery, Scene
from stash_courier.worker.connections.model import Connection
from stash_courier.worker.destinations import Delivered
from stash_courier.worker.destinations.jellyfin.api import JellyfinApi
from stash_courier.worker.destinations.jellyfin.collections import Collections
from stash_courier.worker.destinations.jellyfin.items import JellyfinItem, known_as, several
from stash_courier.worker.destinations.jellyfin.layout import Layout
from stash_courier.worker.destinations.jellyfin.listing import shown, stack
from stash_courier.worker.destinations.jellyfin.lookup import Found, Lookup
from stash_courier.worker.destinations.jellyfin.person_images import PersonImages
from stash_courier.worker.destinations.jellyfin.settings import VERSIONS, Options
from stash_courier.worker.destinations.jellyfin.writer import Writer
from stash_courier.worker.destinations.media.api import still_there
from stash_courier.worker.destinations.media.base import Known, MediaDestination, Pictured
from stash_courier.worker.destinations.media.libraries import Library
from stash_courier.worker.destinations.media.missing import Rules
from stash_courier.worker.destinations.media.notes import SHARED_ITEM
from stash_courier.worker.destinations.media.places import (
    Place,
    ambiguous,
    file_name,
    places,
)
from stash_courier.worker.destinations.media.record import Record
from stash_courier.worker.destinations.media.report import Shown
from stash_courier.worker.destinations.media.scans import Notices
from stash_courier.worker.destinations.media.settings import Server
from stash_courier.worker.destinations.media.state import FieldChange, collection_names, receipt_changes
from stash_courier.worker.stash.covers import Cover

ONLY_NOTIFIES = '"Only notify" is on: changes are reported to Jellyfin, but no field is written.'


def make(connection: Connection, cover: Cover, clock: Callable[[], float] = time.monotonic) -> Jellyfin:
    """The destination of a connection."""
    return Jellyfin(connection, cover, clock)


class Jellyfin(MediaDestination):
    """One Jellyfin server. The clock is in monotonic seconds."""

    def __init__(self, connection: Connection, cover: Cover, clock: Callable[[], float]) -> None:
        options: Options = connection.options
        server = Server("Jellyfin", options.url, options.key)
        self._api = JellyfinApi(server, connection.policy)
        self._layout = Layout(self._api, clock)
        super().__init__(connection, server, self._api, self._layout.libraries, cover if options.images else None)
        self._options = options
        self._notices = Notices(server.name, self._api.notify, clock)
        self._lookup = Lookup(self._api, self._layout.version, self._layout.types, clock)
        self._writer = Writer(server, self._api, self._lookup, self._layout, options)
        self._collections = Collections(self._api, options.collections, add_only=options.add_only, clock=clock)
        seconds = connection.policy.timeout_seconds
        self._person_images = PersonImages(self._api, cover, seconds, clock) if options.person_images else None

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
        if self._options.refresh_only:
            paths = [self._lookup.real(place.server) for place in where]
            self._notices.changed("Created" if delivery.event == "create" else "Modified", paths)
            return Delivered()
        found = self._find(scene.id, where)
        if found.shared:
            why = _shared(scene, found.shared)
            return Delivered(notes=frozenset({SHARED_ITEM}), outcome="filtered", left=(why,))
        if not found.items:
            raise self._absent(delivery, scene, where)
        with still_there(self._server, known_as(found.items[0])):
            written = self._writer.write(found, delivery, scene, record)
            item, cover = written.item, Pictured(written.record)
            link = f"{self._server.url}/web/#/details?id={item['Id']}"
            if written.locked:
                return Delivered(record.encode(), written.notes, left=written.left, link=link)

            def show(image: bytes, media_type: str) -> bool:
                if "Primary" in (item.get("ImageTags") or {}) and self._api.image(item) == image:
                    return False
                self._api.set_image(item, image, media_type)
                return True

            if written.takes_cover:
                cover = self._send_cover(delivery, scene, item["Id"], cover.record, show)
        collected = self._collections.update(item, scene, cover.record.collections)
        if self._person_images:
            self._person_images.send(item, scene.performers)
        self._writer.end(scene.id)
        left = (*written.left, *collected.left)
        return Delivered(
            replace(cover.record, collections=collected.record).encode(),
            written.notes | collected.notes,
            changes=receipt_changes(written.changes, cover=cover.sent, unknown=collected.changes),
            compared=not left,
            left=left,
            link=link,
        )

    def _announce(self, where: Sequence[Place]) -> float:
        return self._notices.created([self._lookup.real(place.server) for place in where])

    def _delete(self, where: Sequence[Place]) -> None:
        self._notices.deleted([self._lookup.real(place.server) for place in where])

    def _find(self, scene_id: int, where: Sequence[Place]) -> Found:
        """The item of the scene's first file that Jellyfin knows, by its exact path."""
        found = self._lookup.find([place.server for place in where])
        if len(found.items) > 1:
            place = next(place for place in where if place.server == found.path)
            raise ambiguous(self._name, scene_id, place, map(known_as, found.items))
        return found

    def _about(self) -> str:
        return self._api.about()

    def _look_ahead(self, where: Sequence[Place]) -> None:
        self._lookup.keep_names(file_name(place.server) for place in where)
        self._lookup.prefetch([place.server for place in where])

    def _knows(self, scene: Scene, where: Sequence[Place]) -> Known:
        found = self._find(scene.id, where)
        if found.shared:
            return Known(found=False, groups=_shared(scene, found.shared))
        groups = [_grouping(item) for item in found.items if several(item, "MediaSourceCount", "PartCount")]
        return Known(bool(found.items), "".join(groups))

    def _preview(self, scene: Scene, where: Sequence[Place], record: Record) -> list[str]:
        items = self._find(scene.id, where).items
        if not items:
            return []  # removed a moment ago
        (item,) = items
        found = f"Scene {scene.id} is {known_as(item)}, found under {item['Path']}."
        if self._options.refresh_only:
            return [found, ONLY_NOTIFIES]
        return [found, *self._writer.preview(item, scene, record)]

    def _values(self, scene: Scene) -> list[str]:
        if self._options.refresh_only:
            return [ONLY_NOTIFIES]
        collections = collection_names(scene, self._options.collections)
        added: list[FieldChange] = [("collections", None, collections)] if collections else []
        return self._lines(scene, [*self._writer.values(scene), *added])

    def _warnings(self, libraries: Sequence[Library]) -> list[str]:
        return self._writer.warnings(libraries)

    def _why_never(self, path: str) -> str:
        return self._layout.why_never(self._lookup.real(path))

    def _report_rules(self) -> Rules:
        self._lookup.read_substitutions()
        return Rules(self._why_never, stack=stack, real=self._lookup.real)

    def _shown(self) -> Iterator[Shown]:
        for one in shown(self._api):
            yield one
            if (real := self._lookup.real(one.path)) != one.path:  # the path map may lead to either
                yield replace(one, path=real, stack=one.stack and stack(real))

    def _files_named(self, names: Collection[str]) -> list[str]:
        return self._lookup.files_named(names)


def _grouping(item: JellyfinItem) -> str:
    """Sentences about an item that stands for several files."""
    return f"Jellyfin shows other files as {known_as(item)}; their scenes are not written. {VERSIONS}"


def _shared(scene: Scene, path: str) -> str:
    """Sentences about a scene whose file belongs to another item."""
    return (
        f"Jellyfin shows {path}, a file of scene {scene.id}, only as a version, part or extra of another item, so "
        f"the scene is not written there. {VERSIONS}"
    )
