"""The Plex destination: writes a scene's selected fields to its item in Plex.

This module decides what is sent and when. The protocol is in api.py, the lookup of items in finder.py, and the
edit of an item in edit.py. Nothing here deletes an item or unlocks a field.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from stash_courier.queue.failures import DeliveryFailed, Failure
from stash_courier.queue.jobs import Delivery, Scene
from stash_courier.worker.destinations import CheckReport
from stash_courier.worker.destinations.media.check import check_server
from stash_courier.worker.destinations.media.errors import no_file, not_there_yet, still_there, vanished
from stash_courier.worker.destinations.media.libraries import NEGATIVE_SECONDS, Library, described, hint
from stash_courier.worker.destinations.media.places import Place, places, same_path
from stash_courier.worker.destinations.media.settings import (
    Selection,
    Server,
    fingerprint,
    read_selection,
    read_server,
    read_switches,
    text,
)
from stash_courier.worker.destinations.media.state import State, wanted_state
from stash_courier.worker.destinations.plex.api import PlexApi, PlexItem, split
from stash_courier.worker.destinations.plex.edit import FIELDS, PlexEdit, edit_for, needs_whole
from stash_courier.worker.destinations.plex.finder import NAME, Finder, Libraries
from stash_courier.worker.settings import Problem, Settings, label
from stash_courier.worker.stash.covers import Cover, cover_digest, image_type, may_have_changed, no_cover

KIND = "plex"

SCAN_SECONDS = NEGATIVE_SECONDS  # how long one scan of a folder serves all missing scenes in it


def configure(
    raw: Mapping[str, object],
    settings: Settings,
    cover: Cover = no_cover,
    *,
    clock: Callable[[], float] = time.monotonic,
) -> tuple[list[Plex], list[Problem]]:
    """Makes the destination if ``plex_url`` is set.

    Args:
        raw: the plugin's map as Stash stores it.
        settings: the common settings.
        cover: fetches covers from Stash.
        clock: monotonic seconds.
    """
    server, problems = read_server(raw, KIND, "plex_token", NAME)
    if server is None:
        return [], problems
    selection, problems = read_selection(raw, KIND, FIELDS)
    switches, wrong = read_switches(raw, "plex_images")
    problems += wrong
    if problems:
        return [], problems
    made = Plex(
        server,
        text(raw, "plex_libraries"),
        selection,
        settings,
        cover=cover if switches["plex_images"] else None,
        fingerprint=fingerprint(raw, KIND),
        clock=clock,
    )
    return [made], []


class Plex:
    """One Plex Media Server.

    Args:
        server: address and token.
        libraries: names of libraries; "" for all that may have scenes.
        selection: the fields that are written.
        settings: the common settings.
        cover: fetches covers; None if no posters are sent.
        fingerprint: of the settings.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        server: Server,
        libraries: str,
        selection: Selection,
        settings: Settings,
        *,
        cover: Cover | None = None,
        fingerprint: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._server = server
        self._selection = selection
        self._path_map = settings.path_map
        self._cover = cover
        self.id = KIND
        self.fingerprint = fingerprint
        self._clock = clock
        concurrency = settings.delivery_concurrency
        self._api = PlexApi(server, timeout=settings.delivery_timeout_seconds, concurrency=concurrency)
        self._libraries = Libraries(self._api, server.host, libraries, clock)
        self._finder = Finder(self._api, self._libraries, concurrency, clock)
        self._scanned: dict[tuple[str, str], float] = {}  # when a scan of a library's folder was started
        self._lock = threading.Lock()

    def prepare(self, jobs: Sequence[tuple[Delivery, Scene | None]]) -> None:
        """Looks up the items of many scenes, and reads them together where a listing may have cut them."""
        wanted: dict[int, State] = {}
        lookups: dict[int, tuple[int, tuple[Place, ...]]] = {}
        for delivery, scene in jobs:
            if scene is not None:
                wanted[delivery.row_id] = wanted_state(scene, self._selection)
                lookups[delivery.row_id] = (scene.id, places(delivery, scene, self._path_map))
        self._finder.prepare(lookups, lambda row_id, item: needs_whole(item, wanted[row_id]))

    def deliver(self, delivery: Delivery, scene: Scene | None, cover: bytes = b"") -> bytes:
        """Updates the scene's item. For a deleted scene only a scan of its folder is started.

        Raises:
            DeliveryFailed: NOT_THERE_YET while Plex has no item with the scene's path; ITEM_REFUSED if several
                items have it.
        """
        where = places(delivery, scene, self._path_map)
        try:
            with still_there(self._server, "the item or its library"):
                if scene is not None:
                    return self._update(delivery, scene, where, cover)
                self._scan(where)
                return b""
        except DeliveryFailed as failed:
            if failed.status == 404:
                self._libraries.forget()
            raise

    def check(self, scene: Scene | None) -> CheckReport:
        """Reports which server answers, whether it accepts the token, and what a delivery would change."""
        return check_server(self, NAME, self._path_map, scene)

    def close(self) -> None:
        """Closes the connections."""
        self._api.close()

    def _update(self, delivery: Delivery, scene: Scene, where: Sequence[Place], cover: bytes) -> bytes:
        if not where:
            raise no_file(NAME, scene.id)
        item = self._finder.find_prepared(delivery.row_id, scene.id, where)
        if item is None:
            asked = self._scan(where, unless_just_done=True)
            outside = hint(where, self._libraries.get)
            self._libraries.expire_soon()  # a new library may contain the path at the next attempt
            raise not_there_yet(NAME, scene.id, where, outside, asked=asked)
        wanted = wanted_state(scene, self._selection)
        item, edit = self._compare(item, wanted)
        self._apply(item, wanted, edit)
        return self._send_poster(delivery, scene, item, cover)

    def _compare(self, item: PlexItem, wanted: State) -> tuple[PlexItem, PlexEdit]:
        if needs_whole(item, wanted):
            item = self._read(item)
        return item, edit_for(item, wanted, add_only=self._selection.add_only)

    def _read(self, item: PlexItem) -> PlexItem:
        read = self._api.read([item]).get(item.key)
        if read is None:
            raise vanished(self._server, str(item))
        return read

    def _apply(self, item: PlexItem, wanted: State, edit: PlexEdit) -> None:
        """Sends the edit, repeatedly if the server executes only one removal per request."""
        while edit:
            self._api.edit(item, edit.parameters)
            if len(edit.removals) < 2:
                return
            item = self._read(item)
            rest = edit_for(item, wanted, add_only=self._selection.add_only)
            if not rest.removals:
                return
            if len(rest.removals) >= len(edit.removals):
                raise DeliveryFailed(
                    Failure.REFUSED,
                    f"{self._server.host} accepted an edit of {item} but still has "
                    f"{', '.join(rest.removals[:5])}, which Stash does not have. We will try again.",
                )
            edit = rest

    def _send_poster(self, delivery: Delivery, scene: Scene, item: PlexItem, known: bytes) -> bytes:
        """Sends the cover as a poster, unless the item has it from us. Returns its digest."""
        if self._cover is None or not scene.cover_url or not may_have_changed(delivery):
            return b""
        image = self._cover(scene.cover_url)
        if image_type(image) is None:
            return b""
        digest = cover_digest(self._server.url, item.key, image)
        if digest != known:
            self._api.upload_poster(item, image)
        return digest

    def _scan(self, where: Sequence[Place], *, unless_just_done: bool = False) -> bool:
        """Starts scans of the folders of these files. False if no library contains them."""
        folders = {
            (section.key, split(place.server)[0]): section
            for place in where
            for section in self._libraries.get()
            if section.may_hold(place.server)
        }
        for (key, folder), section in folders.items():
            if not unless_just_done or self._is_due(key, folder):
                self._api.scan(section, folder)
        return bool(folders)

    def _is_due(self, key: str, folder: str) -> bool:
        """Whether a scan of the folder is due. If so, it counts as started, which spares other scenes one."""
        now = self._clock()
        with self._lock:
            self._scanned = {known: at for known, at in self._scanned.items() if now - at < SCAN_SECONDS}
            if (key, folder) in self._scanned:
                return False
            self._scanned[key, folder] = now
            return True

    # For the check

    def introduce(self) -> Iterator[str]:
        """Server and libraries."""
        name, version = self._api.about()
        yield f"{name} at {self._server.host} (Plex {version}) accepts {label('plex_token')}."
        self._libraries.forget()
        yield f"Scenes are searched in {described(self._libraries.get())}."

    def preview(self, scene: Scene, where: Sequence[Place]) -> list[str] | None:
        """What a delivery would change; None if Plex doesn't know the item."""
        item = self._finder.find(scene.id, where)
        if item is None:
            return None
        item, edit = self._compare(item, wanted_state(scene, self._selection))
        under = next(p for p in where if any(same_path(file, p.server) for file in item.files))
        found = f"Scene {scene.id} is {item}, found under {under}."
        return [found, *(edit.changes or ["Nothing would change."])]

    def libraries(self) -> Sequence[Library]:
        """The libraries that are searched."""
        return self._libraries.get()

    def files_named(self, name: str) -> Iterator[str]:
        """The paths of files in these libraries that may have this name."""
        for section in self._libraries.get():
            for item in self._api.files_named(section, name):
                yield from item.files
