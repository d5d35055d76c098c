"""The Plex destination: an edit in Stash shows in Plex, in the fields that the owner lets us write.

When what is sent. How Plex is spoken to is plex_api.py's, which item is meant plex_finder.py's, what an edit says
plex_edit.py's, what media servers have in common media.py's. It never deletes anything and never unlocks a field.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from stash_courier.queue.failures import DeliveryFailed, Failure
from stash_courier.queue.jobs import Delivery, Scene
from stash_courier.worker.destinations import TestReport
from stash_courier.worker.destinations.media.check import Check
from stash_courier.worker.destinations.media.libraries import NEGATIVE_SECONDS, described, hint
from stash_courier.worker.destinations.media.settings import (
    Selection,
    Server,
    fingerprint,
    read_selection,
    read_server,
    read_switches,
    text,
)
from stash_courier.worker.destinations.media.state import (
    Place,
    State,
    no_file,
    not_there_yet,
    places,
    same_path,
    still_there,
    vanished,
    wanted_state,
)
from stash_courier.worker.destinations.plex.api import PlexApi, PlexItem, split
from stash_courier.worker.destinations.plex.edit import FIELDS, PlexEdit, edit_for, needs_whole
from stash_courier.worker.destinations.plex.finder import NAME, Finder, Libraries
from stash_courier.worker.settings import Problem, Settings
from stash_courier.worker.stash.covers import Cover, cover_digest, image_type, may_have_changed, no_cover

KIND = "plex"

SCAN_SECONDS = NEGATIVE_SECONDS  # before that no folder is scanned for a second missing scene


def configure(
    raw: Mapping[str, object], settings: Settings, cover: Cover = no_cover
) -> tuple[list[Plex], list[Problem]]:
    """Makes the destination if ``plex_url`` is set.

    Args:
        raw: the plugin's map as Stash stores it.
        settings: the common settings.
        cover: fetches covers.
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
    )
    return [made], []


class Plex:
    """One Plex Media Server.

    Args:
        server: where, and its token.
        libraries: names of libraries; "" for all that may hold scenes.
        selection: which fields are written.
        settings: the common settings.
        cover: fetches covers; None: no posters are sent.
        fingerprint: of the settings.
        clock: seconds that nobody sets.
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
        self._fingerprint = fingerprint
        self._clock = clock
        concurrency = settings.delivery_concurrency
        self._api = PlexApi(server, timeout=settings.delivery_timeout_seconds, concurrency=concurrency)
        self._libraries = Libraries(self._api, server.host, libraries, clock)
        self._finder = Finder(self._api, self._libraries, concurrency, clock)
        self._scanned: dict[tuple[str, str], float] = {}  # library and folder → when a scan was asked for
        self._lock = threading.Lock()

    @property
    def id(self) -> str:
        """``plex``."""
        return KIND

    @property
    def fingerprint(self) -> str:
        """A hash of the ``plex_*`` settings."""
        return self._fingerprint

    def prepare(self, jobs: Sequence[tuple[Delivery, Scene | None]]) -> None:
        """Looks up the items of the deliveries that come next, and reads them together."""
        scenes = {delivery.row_id: (delivery, scene) for delivery, scene in jobs if scene is not None}
        wanted = {row_id: wanted_state(scene, self._selection) for row_id, (_, scene) in scenes.items()}
        where = {
            row_id: (scene.id, places(delivery, scene, self._path_map))
            for row_id, (delivery, scene) in scenes.items()
        }
        self._finder.prepare(where, lambda row_id, item: needs_whole(item, wanted[row_id]))

    def deliver(self, delivery: Delivery, scene: Scene | None, cover: bytes = b"") -> bytes:
        """Makes the item as the scene is now; of a destroyed scene has the folder scanned, no more.

        Raises:
            DeliveryFailed: it can't be done, or not yet.
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

    def test(self, scene: Scene | None) -> TestReport:
        """Looks a real scene up and says what an update would change; changes nothing."""
        return Check(
            NAME,
            self._path_map,
            introduce=self._introduce,
            look_up=self._would_do,
            libraries=self._libraries.shown,
            files_named=self._files_named,
        ).run(scene)

    def close(self) -> None:
        """Lets go of connections."""
        self._api.close()

    def _update(self, delivery: Delivery, scene: Scene, where: Sequence[Place], cover: bytes) -> bytes:
        if not where:
            raise no_file(NAME, scene.id)
        (item,) = self._finder.prepared(delivery.row_id) or (self._finder.find(scene.id, where),)
        if item is None:
            asked = self._scan(where, unless_just_done=True)
            outside = hint(where, self._libraries.shown)
            self._libraries.doubt()  # the next attempt looks into libraries that were made meanwhile
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
        """Sends the edit; again for what is left if the server honours one removal a request only."""
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
                    f"{self._server.host} took an edit of {item} but still has {', '.join(rest.removals[:5])}, "
                    "which Stash has not: we try again.",
                )
            edit = rest

    def _send_poster(self, delivery: Delivery, scene: Scene, item: PlexItem, known: bytes) -> bytes:
        """Sends the cover as a poster unless the item has it from us; returns its digest."""
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
        """Has the folders of these files scanned; False if they are in none of the libraries."""
        folders = {
            (section.key, split(place.server)[0]): section
            for place in where
            for section in self._libraries.covering(place.server)
        }
        for (key, folder), section in folders.items():
            if not unless_just_done or self._is_due(key, folder):
                self._api.scan(section, folder)
        return bool(folders)

    def _is_due(self, key: str, folder: str) -> bool:
        """Whether a folder was not scanned just now for another scene; if so, it counts as scanned now."""
        now = self._clock()
        with self._lock:
            self._scanned = {known: at for known, at in self._scanned.items() if now - at < SCAN_SECONDS}
            if (key, folder) in self._scanned:
                return False
            self._scanned[key, folder] = now
            return True

    # The test

    def _introduce(self) -> Iterator[str]:
        about = self._api.about()
        yield f"{about.name} at {self._server.host} (Plex {about.version}) takes plex_token."
        self._libraries.forget()
        yield f"Scenes are looked for in {described(self._libraries.shown())}."

    def _would_do(self, scene: Scene, where: Sequence[Place]) -> list[str] | None:
        item = self._finder.find(scene.id, where)
        if item is None:
            return None
        item, edit = self._compare(item, wanted_state(scene, self._selection))
        under = next(p for p in where if any(same_path(file, p.server) for file in item.files))
        found = f"Scene {scene.id} is {item}, found under {under}."
        return [found, *(edit.changes or ["Nothing would change."])]

    def _files_named(self, name: str) -> Iterator[str]:
        for section in self._libraries.chosen():
            for item in self._api.files_named(section, name):
                yield from item.files
