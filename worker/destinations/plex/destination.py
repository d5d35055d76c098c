"""The Plex destination: writes a scene's selected fields to its item in Plex.

This module decides what is sent and when. The protocol is in api.py, the lookup of items in finder.py, and the
edit of an item in edit.py. Nothing here deletes an item or unlocks a field.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from functools import partial

from stash_courier.queue.failures import DeliveryFailed, Failure
from stash_courier.queue.jobs import Delivery, Scene
from stash_courier.worker.connections.model import Connection
from stash_courier.worker.destinations import Delivered
from stash_courier.worker.destinations.media.api import still_there, vanished
from stash_courier.worker.destinations.media.base import Known, MediaDestination, Pictured
from stash_courier.worker.destinations.media.libraries import Library
from stash_courier.worker.destinations.media.notes import LOCKED_FIELDS, SHARED_ITEM
from stash_courier.worker.destinations.media.places import Place, places, same_path
from stash_courier.worker.destinations.media.record import Attempts, Ours, Record, left_alone
from stash_courier.worker.destinations.media.report import Shown
from stash_courier.worker.destinations.media.scans import Scans
from stash_courier.worker.destinations.media.settings import Server
from stash_courier.worker.destinations.media.state import receipt_changes, would_change
from stash_courier.worker.destinations.plex.api import PlexApi, PlexItem, Section, split
from stash_courier.worker.destinations.plex.edit import (
    LISTS,
    PlexEdit,
    Rules,
    Wanted,
    edit_for,
    needs_whole,
    wanted_for,
)
from stash_courier.worker.destinations.plex.finder import Finder, Libraries
from stash_courier.worker.destinations.plex.settings import VERSIONS, Options
from stash_courier.worker.fields import label
from stash_courier.worker.stash.covers import Cover

APART_SECONDS = 20.0  # at least, between two scans of a folder that is searched for missing scenes
POSTER = "thumb"  # the poster's name among an item's locks


def make(connection: Connection, cover: Cover, clock: Callable[[], float] = time.monotonic) -> Plex:
    """The destination of a connection."""
    return Plex(connection, cover, clock=clock)


class Plex(MediaDestination):
    """One Plex Media Server. The clock is in monotonic seconds."""

    libraries_field = "libraries"

    def __init__(
        self, connection: Connection, cover: Cover, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        options: Options = connection.options
        server = Server("Plex", options.url, options.key, '"Token"')
        self._api = PlexApi(server, connection.policy, clock)
        self._libraries: Libraries = Libraries(self._api, server.host, options.libraries, clock)
        super().__init__(connection, server, self._api, self._libraries, cover if options.images else None)
        self._options = options
        self._rules = Rules(options.add_only, options.respect_locks)
        self._attempts = Attempts()
        self._finder = Finder(self._api, self._libraries, connection.policy.concurrency, clock)
        self._scans = Scans(clock, delay=0.0, apart=APART_SECONDS)

    def prepare(self, jobs: Sequence[tuple[Delivery, Scene | None]]) -> None:
        """Looks up the items of many scenes, and reads those together of which a listing doesn't show enough."""
        wanted: dict[int, Wanted] = {}
        lookups: dict[int, tuple[int, tuple[Place, ...]]] = {}
        for delivery, scene in jobs:
            if scene is not None:
                wanted[delivery.row_id] = wanted_for(scene, self._options)
                lookups[delivery.row_id] = (scene.id, places(delivery, scene, self._path_map))
        self._finder.prepare(lookups, lambda row_id, item: needs_whole(item, wanted[row_id], self._rules))

    def deliver(self, delivery: Delivery, scene: Scene | None, record: bytes = b"") -> Delivered:
        """Updates the scene's item. For a deleted scene only a scan of its folder is started."""
        try:
            with still_there(self._server, "the item or its library"):
                return super().deliver(delivery, scene, record)
        except DeliveryFailed as failed:
            if failed.status == 404:
                self._libraries.forget()
            raise

    def _update(self, delivery: Delivery, scene: Scene, where: Sequence[Place], record: Record) -> Delivered:
        item = self._finder.find_prepared(delivery.row_id, scene.id, where)
        if item is None:
            failed = self._absent(delivery, scene, where)
            failed.message += self._libraries.no_series(where)
            self._libraries.expire_soon()  # a new library may contain the path at the next attempt
            raise failed
        wanted, ours = wanted_for(scene, self._options), self._attempts.ours(delivery, record)
        item = self._read_if_needed(item, wanted, ours)
        if not _is_of(item, where):
            return Delivered(
                notes=frozenset({SHARED_ITEM}),
                outcome="filtered",
                left=(_shared(scene, item),),
                link=self._api.page(item),
            )
        edit = edit_for(item, wanted, self._rules, ours)
        if edit:
            self._attempts.begin(scene.id, edit.record.fields)
            self._apply(item, wanted, edit, ours)
        poster = self._poster(delivery, scene, item, edit.record)
        self._attempts.end(scene.id)
        locked = [*edit.left, *(["cover"] if poster.left else [])]
        return Delivered(
            poster.record.encode(),
            frozenset({LOCKED_FIELDS} if locked else ()),
            changes=receipt_changes(edit.changes, cover=poster.sent),
            compared=not locked,
            left=tuple(left_alone("Plex", locked, label(Options, "respect_locks"))),
            link=self._api.page(item),
        )

    def _delete(self, where: Sequence[Place]) -> None:
        for folder, section in self._folders(where).values():
            self._api.scan(section, folder)

    def _read_if_needed(self, item: PlexItem, wanted: Wanted, ours: Ours) -> PlexItem:
        return self._read(item) if needs_whole(item, wanted, self._rules, ours) else item

    def _read(self, item: PlexItem) -> PlexItem:
        read = self._api.read([item]).get(item.key)
        if read is None:
            raise vanished(self._server, str(item))
        return read

    def _apply(self, item: PlexItem, wanted: Wanted, edit: PlexEdit, ours: Ours) -> None:
        """Sends the edit, repeatedly if the server executes only one removal per request."""
        if edit.rating is not None:
            self._api.rate(item, edit.rating)
        # What is locked after the first request and wasn't left alone, we have locked.
        wanted, rules = wanted.without(edit.left), replace(self._rules, respect_locks=False)
        while edit.parameters:
            self._api.edit(item, edit.parameters)
            if len(edit.removals) < 2:
                return
            item = self._read(item)
            rest = edit_for(item, wanted, rules, ours)
            if not rest.removals:
                return
            if len(rest.removals) >= len(edit.removals):
                raise DeliveryFailed(
                    Failure.REFUSED,
                    f"{self._server.host} accepted an edit of {item} but still has "
                    f"{', '.join(rest.removals[:5])}, which Stash does not have. We will try again.",
                )
            edit = rest

    def _poster(self, delivery: Delivery, scene: Scene, item: PlexItem, record: Record) -> Pictured:
        """Sends the cover if it has changed, unless the owner locked the poster.

        An upload locks the poster too. So a lock is the owner's if the item has no cover from us.
        """
        if not self._may_send_cover(delivery, scene):
            return Pictured(record)
        if self._options.respect_locks and not record.cover:
            item = item if item.whole else self._read(item)
            if POSTER in item.locked:
                return Pictured(record, left=True)

        def send(image: bytes, _: str) -> bool:
            self._api.upload_poster(item, image)
            return True

        return self._send_cover(delivery, scene, item.key, record, send)

    def _announce(self, where: Sequence[Place]) -> float | None:
        waits = [
            self._scans.ask(key, folder, partial(self._api.scan, section))
            for key, (folder, section) in self._folders(where).items()
        ]
        return min(waits, default=None)

    def _folders(self, where: Sequence[Place]) -> dict[tuple[str, str], tuple[str, Section]]:
        """The folders of these files and their libraries, by both."""
        found = (
            (split(place.server)[0], section)
            for place in where
            for section in self._libraries.get()
            if section.may_hold(place.server)
        )
        return {(section.key, folder): (folder, section) for folder, section in found}

    def _about(self) -> str:
        name, version = self._api.about()
        return f'Plex {version} ("{name}")'

    def _listed(self, libraries: Sequence[Library]) -> str:
        return f"{super()._listed(libraries)}{self._libraries.no_series()}"

    def _knows(self, scene: Scene, where: Sequence[Place]) -> Known:
        item = self._finder.find(scene.id, where)
        if item is None:
            return Known(found=False)
        several = any(not any(same_path(file, place.server) for place in where) for file in item.files)
        return Known(_is_of(item, where), _shared(scene, item) if several else "")

    def _preview(self, scene: Scene, where: Sequence[Place], record: Record) -> list[str]:
        item = self._finder.find(scene.id, where)
        if item is None or not _is_of(item, where):
            return []  # changed a moment ago
        under = next(p for p in where if any(same_path(file, p.server) for file in item.files))
        found = f"Scene {scene.id} is {item}, found under {under}."
        wanted = wanted_for(scene, self._options)
        ours = Ours(record)
        item = self._read_if_needed(item, wanted, ours)
        edit = edit_for(item, wanted, self._rules, ours)
        left = left_alone("Plex", edit.left, label(Options, "respect_locks"))
        return [found, *would_change(edit.changes), *left]

    def _values(self, scene: Scene) -> list[str]:
        empty = PlexItem("", Section("", None, key="", type=""), (), {}, dict.fromkeys(LISTS.values(), ()))
        return self._lines(scene, edit_for(empty, wanted_for(scene, self._options), self._rules).changes)

    def _why_never(self, path: str) -> str:
        return self._libraries.why_never(path)

    def _not_searched(self, path: str) -> str:
        return self._libraries.not_searched(path)

    def _shown(self) -> Iterator[Shown]:
        for section in self._libraries.get():
            for versions in self._api.media(section):
                for n, parts in enumerate(versions):
                    yield from (Shown(path, "version" if n else "own") for path in parts[:1])
                    yield from (Shown(path, "part") for path in parts[1:])

    def _files_named(self, names: Collection[str]) -> Iterator[str]:
        for section in self._libraries.get():
            for name in names:
                for item in self._api.files_named(section, name):
                    yield from item.files


def _shared(scene: Scene, item: PlexItem) -> str:
    """Sentences about a scene whose file belongs to another scene's item."""
    return (
        f"Plex shows scene {scene.id} as {item}, which has {len(item.files)} files. Only the scene of the "
        f"first one, {item.files[0]}, is written there. {VERSIONS}"
    )


def _is_of(item: PlexItem, where: Sequence[Place]) -> bool:
    """Whether an item is the scene's with these files: it has the first file of the item's first version.

    An item may have several files, as versions or parts. Scenes of the others must not write into it in turns.
    """
    return any(same_path(first, place.server) for first in item.files[:1] for place in where)
