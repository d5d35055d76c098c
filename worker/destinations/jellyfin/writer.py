"""Writes a scene's fields into its item: what is sent, what is left alone, and what the owner is told of it.

The edit itself is made in items.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from stash_courier.queue.jobs import Delivery, Scene
from stash_courier.worker.destinations.jellyfin.api import JellyfinApi
from stash_courier.worker.destinations.jellyfin.items import (
    CAST_KINDS,
    EMPTY,
    EditRules,
    JellyfinEdit,
    JellyfinItem,
    edit_for,
    known_as,
    some_hidden,
)
from stash_courier.worker.destinations.jellyfin.layout import (
    Layout,
    image_beside,
    image_place,
    library_warnings,
    nfo_notes,
)
from stash_courier.worker.destinations.jellyfin.lookup import Found, Lookup
from stash_courier.worker.destinations.jellyfin.settings import Options
from stash_courier.worker.destinations.media.api import vanished
from stash_courier.worker.destinations.media.libraries import Library
from stash_courier.worker.destinations.media.notes import COVER_BESIDE
from stash_courier.worker.destinations.media.record import NOTHING, Attempts, Ours, Record, left_alone
from stash_courier.worker.destinations.media.settings import Server
from stash_courier.worker.destinations.media.state import FieldChange, added_at, wanted_state, would_change
from stash_courier.worker.fields import label


@dataclass(frozen=True, slots=True)
class Written:
    """What became of an item."""

    item: JellyfinItem  # as it was read
    record: Record  # what it has from us now
    notes: frozenset[str]
    changes: tuple[FieldChange, ...] = ()
    left: tuple[str, ...] = ()  # sentences: what was left alone
    takes_cover: bool = False  # whether its cover may be sent
    locked: bool = False  # the owner locked the whole item, so it was left alone


class Writer:
    """Writes into the items of one server. Thread-safe."""

    def __init__(self, server: Server, api: JellyfinApi, lookup: Lookup, layout: Layout, options: Options) -> None:
        self._server = server
        self._api = api
        self._lookup = lookup
        self._layout = layout
        self._options = options
        self._rules = EditRules(options.add_only, options.tags_as, options.respect_locks)
        self._attempts = Attempts()

    def write(self, found: Found, delivery: Delivery, scene: Scene, record: Record) -> Written:
        """Sends the one item that was found, if it has to change."""
        (item,) = found.items
        ours = self._attempts.ours(delivery, record)
        if found.prefetched and self._edit(item, scene, ours).changes:
            # Most of the item is sent back, which would undo a change that was made in Jellyfin since it was read.
            now = self._lookup.reread(item)
            if now is None:
                raise vanished(self._server, known_as(item))
            item = now
        edit = self._edit_shown(item, scene, ours)
        left = tuple(self._left_alone(edit))
        if edit.item_locked:
            return Written(item, record, edit.notes, left=left, locked=True)
        if edit.changes:
            self._attempts.begin(scene.id, edit.record.fields)
            self._api.update(edit.body)
        notes = edit.notes | nfo_notes(self._path(item), self._layout.known_libraries())
        takes_cover = self._takes_cover(item)
        if self._options.images and scene.cover_url and not takes_cover:
            notes |= {COVER_BESIDE}
            left = (*left, *self._cover_place(item, edit))
        return Written(item, edit.record, notes, edit.changes, left, takes_cover)

    def end(self, scene_id: int) -> None:
        """The record of what was written is about to be stored."""
        self._attempts.end(scene_id)

    def preview(self, item: JellyfinItem, scene: Scene, record: Record) -> list[str]:
        """Sentences: what a delivery would change, and what it would leave alone."""
        edit = self._edit_shown(item, scene, Ours(record))
        return [*would_change(edit.changes), *self._left_alone(edit), *self._cover_place(item, edit)]

    def values(self, scene: Scene) -> tuple[FieldChange, ...]:
        """The values that the scene's item would get."""
        return self._edit(EMPTY, scene, NOTHING).changes

    def warnings(self, libraries: Sequence[Library]) -> list[str]:
        """Sentences: what the owner must know of these libraries."""
        options, switch = self._options, label(Options, "images_beside_media")
        if options.refresh_only:
            return []
        found = library_warnings(libraries, switch, images=options.images, beside=options.images_beside_media)
        return list(found)

    def _edit(self, item: JellyfinItem, scene: Scene, ours: Ours, *, people: bool = True) -> JellyfinEdit:
        wanted = wanted_state(scene, self._options.skip_fields)
        if self._options.date_added:
            wanted = replace(wanted, added=added_at(scene))
        if not people:
            wanted = replace(wanted, performers=None, director=None)
        return edit_for(item, wanted, self._rules, ours)

    def _edit_shown(self, item: JellyfinItem, scene: Scene, ours: Ours) -> JellyfinEdit:
        """The edit; without changes of people, if the item's cast has somebody whom we weren't shown.

        We lock the cast that we write, and it isn't the one that we wrote if somebody is hidden. So that is looked
        at also if the cast seems to be locked by the owner.
        """
        edit = self._edit(item, scene, ours)
        if ("People" in edit.body or not CAST_KINDS.keys().isdisjoint(edit.left)) and some_hidden(
            item["People"], self._api.persons(item["Id"])
        ):
            return replace(self._edit(item, scene, ours, people=False), people_hidden=True)
        return edit

    def _path(self, item: JellyfinItem) -> str:
        """What the server itself calls the item's file."""
        return self._lookup.real(item["Path"])

    def _takes_cover(self, item: JellyfinItem) -> bool:
        """Whether a cover may be sent. Beside the media, it could replace the owner's."""
        options = self._options
        if not options.images or options.images_beside_media:
            return options.images
        return not image_beside(self._path(item), self._layout.libraries.get())

    def _left_alone(self, edit: JellyfinEdit) -> Iterator[str]:
        switch = label(Options, "respect_locks")
        if edit.item_locked:
            yield f"The whole item is locked in Jellyfin, so it is left alone. {switch} decides that."
        yield from left_alone("Jellyfin", edit.left, switch)
        if edit.people_hidden:
            yield (
                "Its people are left alone: Jellyfin hides somebody of the cast, who was probably renamed there. "
                "An update would delete that person from the cast."
            )

    def _cover_place(self, item: JellyfinItem, edit: JellyfinEdit) -> Iterator[str]:
        if self._options.images and not edit.item_locked:
            switch, on = label(Options, "images_beside_media"), self._options.images_beside_media
            yield image_place(self._path(item), self._layout.libraries.get(), switch, on=on)
