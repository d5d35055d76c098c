"""The Jellyfin destination: writes a scene's selected fields to its item in Jellyfin.

This module decides what is sent and when. The protocol is in api.py, the lookup of items in lookup.py, and the
edit of an item in items.py, people.py and locks.py. Nothing here deletes an item or unlocks a field.
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
from stash_courier.worker.destinations.jellyfin.beside import image_beside, image_place, nfo_notes, warnings
from stash_courier.worker.destinations.jellyfin.items import (
    JellyfinEdit,
    JellyfinItem,
    Rules,
    edit_for,
    known_as,
)
from stash_courier.worker.destinations.jellyfin.locks import Attempts, Ours
from stash_courier.worker.destinations.jellyfin.lookup import Found, Lookup
from stash_courier.worker.destinations.jellyfin.people import some_hidden
from stash_courier.worker.destinations.jellyfin.settings import Options
from stash_courier.worker.destinations.media.api import still_there, vanished
from stash_courier.worker.destinations.media.base import MediaDestination
from stash_courier.worker.destinations.media.libraries import Cached, Library
from stash_courier.worker.destinations.media.notes import COVER_BESIDE
from stash_courier.worker.destinations.media.places import Place, ambiguous, places, same_path
from stash_courier.worker.destinations.media.record import Record
from stash_courier.worker.destinations.media.settings import Server
from stash_courier.worker.destinations.media.state import added_at, wanted_state, would_change
from stash_courier.worker.fields import label
from stash_courier.worker.stash.covers import Cover

LIBRARY_SECONDS = 300.0  # how long the libraries' options are believed


def make(connection: Connection, cover: Cover) -> Jellyfin:
    """The destination of a connection."""
    return Jellyfin(connection, cover)


class Jellyfin(MediaDestination):
    """One Jellyfin server."""

    def __init__(self, connection: Connection, cover: Cover) -> None:
        options: Options = connection.options
        server = Server("Jellyfin", options.url, options.key)
        self._api = JellyfinApi(server, connection.policy)
        libraries = Cached(self._api.libraries, LIBRARY_SECONDS, time.monotonic)
        super().__init__(connection, server, self._api, libraries, cover if options.images else None)
        self._options = options
        self._rules = Rules(options.add_only, options.tags_as, options.respect_locks)
        self._lookup = Lookup(self._api)
        self._attempts = Attempts()

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
            item, edit = self._write(found, scene, record)
            if edit.item_locked:
                return Delivered(notes=edit.notes)
            notes = edit.notes | nfo_notes(item["Path"], self._known_libraries())
            record = replace(record, fields={**record.fields, **edit.fields})
            if self._cover is not None and scene.cover_url:
                if self._takes_cover(item):
                    record = self._send_cover(delivery, scene, item["Id"], record, self._image_of(item))
                else:
                    notes |= {COVER_BESIDE}
        self._attempts.end(scene.id)
        return Delivered(record.encode(), notes)

    def _delete(self, where: Sequence[Place]) -> None:
        self._api.notify("Deleted", [place.server for place in where])

    def _find(self, scene_id: int, where: Sequence[Place]) -> Found:
        """The item of the scene's first file that Jellyfin knows, by its exact path."""
        found = self._lookup.find([place.server for place in where])
        if len(found.items) > 1:
            place = next(place for place in where if same_path(place.server, found.items[0]["Path"]))
            raise ambiguous(self._name, scene_id, place, map(known_as, found.items))
        return found

    def _edit(self, item: JellyfinItem, scene: Scene, ours: Ours, *, people: bool = True) -> JellyfinEdit:
        wanted = wanted_state(scene, self._options.skip_fields)
        if self._options.date_added:
            wanted = replace(wanted, added=added_at(scene))
        if not people:
            wanted = replace(wanted, performers=None, director=None)
        return edit_for(item, wanted, self._rules, ours)

    def _edit_shown(self, item: JellyfinItem, scene: Scene, ours: Ours) -> JellyfinEdit:
        """The edit without changes of people, if the item's cast has somebody whom we weren't shown."""
        edit = self._edit(item, scene, ours)
        if "People" in edit.body and some_hidden(item["People"], self._api.persons(item["Id"])):
            return replace(self._edit(item, scene, ours, people=False), people_hidden=True)
        return edit

    def _write(self, found: Found, scene: Scene, record: Record) -> tuple[JellyfinItem, JellyfinEdit]:
        """Sends the item if it has to change. Returns the item as it was read, and what was changed."""
        (item,) = found.items
        ours = self._attempts.ours(scene.id, record.fields)
        if found.prefetched and self._edit(item, scene, ours).changes:
            # Most of the item is sent back, which would undo a change that was made in Jellyfin since it was read.
            now = self._lookup.reread(item)
            if now is None:
                raise vanished(self._server, known_as(item))
            item = now
        edit = self._edit_shown(item, scene, ours)
        if edit.changes:
            self._attempts.begin(scene.id, edit.fields)
            self._api.update(edit.body)
        return item, edit

    def _known_libraries(self) -> Sequence[Library]:
        """The libraries; none if they can't be had, which no delivery depends on."""
        try:
            return self._libraries.get()
        except DeliveryFailed:
            return ()

    def _takes_cover(self, item: JellyfinItem) -> bool:
        """Whether a cover may be sent: its file could replace the owner's."""
        return self._options.images_beside_media or not image_beside(item["Path"], self._libraries.get())

    def _image_of(self, item: JellyfinItem) -> Callable[[bytes, str], None]:
        def show(image: bytes, media_type: str) -> None:
            if "Primary" not in (item.get("ImageTags") or {}) or self._api.image(item) != image:
                self._api.set_image(item, image, media_type)

        return show

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
        edit = self._edit_shown(item, scene, ())
        return [found, *would_change(edit.changes), *self._left_alone(edit), *self._cover_place(item, edit)]

    def _left_alone(self, edit: JellyfinEdit) -> Iterator[str]:
        switch = label(Options, "respect_locks")
        if edit.item_locked:
            yield f"The whole item is locked in Jellyfin, so it is left alone. {switch} decides that."
        if edit.left:
            yield (
                f"Locked in Jellyfin, and left alone unless their values came from here: {', '.join(edit.left)}. "
                f"{switch} decides that."
            )
        if edit.people_hidden:
            yield (
                "Its people are left alone: Jellyfin hides somebody of the cast, who was probably renamed there. "
                "An update would delete that person from the cast."
            )

    def _cover_place(self, item: JellyfinItem, edit: JellyfinEdit) -> Iterator[str]:
        if self._options.images and not edit.item_locked:
            switch, on = label(Options, "images_beside_media"), self._options.images_beside_media
            yield image_place(item["Path"], self._libraries.get(), switch, on=on)

    def _warnings(self, libraries: Sequence[Library]) -> list[str]:
        if self._options.refresh_only:
            return []
        switch, beside = label(Options, "images_beside_media"), self._options.images_beside_media
        return list(warnings(libraries, switch, images=self._options.images, beside=beside))

    def _files_named(self, names: Collection[str]) -> list[str]:  # noqa: ARG002  # can't be asked for file names
        return self._lookup.files()
