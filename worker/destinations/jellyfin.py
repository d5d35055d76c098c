"""The Jellyfin destination: an edit in Stash shows in Jellyfin, in the fields that the owner lets us write.

Which item, and when. How Jellyfin is spoken to is jellyfin_api.py's, where an item is jellyfin_lookup.py's, what
is changed in it jellyfin_items.py's. It never deletes an item, and unlocks nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from stash_courier.plugin.settings import Problem, Settings, matches_prefix
from stash_courier.queue.jobs import Delivery, Scene
from stash_courier.worker.addresses import BadSetting
from stash_courier.worker.covers import Cover, Memory, image_type, may_have_changed, no_cover
from stash_courier.worker.destinations import TestReport
from stash_courier.worker.failures import DeliveryFailed
from stash_courier.worker.jellyfin_api import JellyfinApi, Library
from stash_courier.worker.jellyfin_items import FIELDS, Edit, Item, known_as, lay_over
from stash_courier.worker.jellyfin_lookup import Lookup
from stash_courier.worker.media import (
    Place,
    ambiguous,
    no_file,
    not_there_yet,
    places,
    rule_between,
    same_path,
    wanted_state,
)
from stash_courier.worker.media_settings import (
    Selection,
    Server,
    fingerprint,
    read_selection,
    read_server,
    switch,
)

KIND = "jellyfin"
NAME = "Jellyfin"

NAMESAKES = 3  # files of the same name that a test shows


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
    switches = {}
    for setting in ("jellyfin_refresh_only", "jellyfin_images"):
        try:
            switches[setting] = switch(raw, setting)
        except BadSetting as error:
            problems.append(Problem(setting, f"{setting} {error}."))
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
        self._covers = Memory()
        self._api = JellyfinApi(
            server, timeout=settings.delivery_timeout_seconds, concurrency=settings.delivery_concurrency
        )
        self._lookup = Lookup(self._api)

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

    def deliver(self, delivery: Delivery, scene: Scene | None) -> None:
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
            return
        if not where:
            raise no_file(NAME, scene.id)
        if self._refresh_only:
            self._api.notify("Created" if delivery.event == "create" else "Modified", paths)
            return
        item = self._find(scene.id, where)
        if item is None:
            self._api.notify("Created", paths)
            raise not_there_yet(NAME, scene.id, where)
        edit = self._edit(item, scene)
        if edit.changes:
            self._update(scene.id, where, edit)
        if self._cover is not None and may_have_changed(delivery):
            self._show_cover(self._cover, item, scene)

    def test(self, scene: Scene | None) -> TestReport:
        """Says who answers, whether it takes the key, and what a delivery would do. Changes nothing."""
        lines: list[str] = []
        try:
            lines.append(f"{self._server.host} is {self._api.about()} and takes the key.")
            libraries = self._api.libraries()
            lines.append(f"Its libraries: {'; '.join(map(str, libraries)) or 'none'}.")
            ok, more = self._try(scene, libraries)
        except DeliveryFailed as failed:
            said = (f"It said: {failed.answer[:200]}",) if failed.answer else ()
            return TestReport(False, (*lines, failed.message, *said))
        return TestReport(ok, (*lines, *more))

    def close(self) -> None:
        """Lets go of connections."""
        self._api.close()

    def _find(self, scene_id: int, where: Sequence[Place]) -> Item | None:
        """The item with exactly that path: of the first file that Jellyfin knows."""
        found = self._lookup.find([place.server for place in where])
        if len(found) > 1:
            place = next(place for place in where if same_path(place.server, found[0]["Path"]))
            raise ambiguous(NAME, scene_id, place, map(known_as, found))
        return found[0] if found else None

    def _edit(self, item: Item, scene: Scene) -> Edit:
        return lay_over(item, wanted_state(scene, self._selection), add_only=self._selection.add_only)

    def _update(self, scene_id: int, where: Sequence[Place], edit: Edit) -> None:
        try:
            self._api.update(edit.body)
        except DeliveryFailed as failed:
            if failed.status == 404:  # it went away, or came back under another id, since it was read
                raise not_there_yet(NAME, scene_id, where) from failed
            raise

    def _show_cover(self, cover: Cover, item: Item, scene: Scene) -> None:
        """Makes the scene's cover the item's primary image, unless it is that already."""
        image = cover(scene.cover_url) if scene.cover_url else b""
        media_type = image_type(image)
        if media_type is None or self._covers.has(scene.id, image):
            return
        if "Primary" not in (item.get("ImageTags") or {}) or self._api.image(item) != image:
            self._api.set_image(item, image, media_type)
        self._covers.note(scene.id, image)

    # The test

    def _try(self, scene: Scene | None, libraries: Sequence[Library]) -> tuple[bool, list[str]]:
        """Whether a delivery of this scene would reach its item, and what it would do."""
        if scene is None:
            return True, ["Stash holds no scene, so no path was looked up."]
        where = places(None, scene, self._path_map)
        if not where:
            raise no_file(NAME, scene.id)
        item = self._find(scene.id, where)
        if item is None:
            return False, [
                f"Scene {scene.id} is not there under {'; nor under '.join(map(str, where))}.",
                *self._why_not(where[0], libraries),
            ]
        found = f"Scene {scene.id} is {known_as(item)}, found under {item['Path']}."
        if self._refresh_only:
            return True, [found, "jellyfin_refresh_only is on: Jellyfin is told of changes, no field is written."]
        locked = ["It is locked there as a whole; that lock stays."] if item["LockData"] else []
        return True, [found, *locked, *(self._edit(item, scene).changes or ["Nothing would change."])]

    def _why_not(self, place: Place, libraries: Sequence[Library]) -> list[str]:
        """What the server calls its own paths, and the rule that would make the two meet."""
        folders = [(library, folder) for library in libraries for folder in library.folders]
        for library, folder in folders:
            if matches_prefix(place.server, folder):
                return [f"That is in the library {library.name} ({folder}), which has not scanned it yet."]
        name = place.server.replace("\\", "/").rpartition("/")[2]
        lines = [
            f"It has a file of that name at {path}: {_would_help(place.stash, path)}."
            for path in self._lookup.files_named(name)[:NAMESAKES]
        ]
        if not lines:
            lines = [
                f"Its library {library.name} has a folder of that name at {folder}: {_would_help(above, folder)}."
                for library, folder in folders
                if (above := _folder_named_as(place.stash, folder))
            ]
        return ["No library of Jellyfin's holds that folder.", *lines]


def _would_help(stash: str, server: str) -> str:
    return f"the rule {rule_between(stash, server)} in path_map would make the two meet"


def _folder_named_as(path: str, folder: str) -> str:
    """The part of the path that ends in a folder of the same name, "" if there is none."""
    name = folder.replace("\\", "/").rstrip("/").rpartition("/")[2]
    components = path.replace("\\", "/").split("/")[:-1]
    return path[: len("/".join(components[: components.index(name) + 1]))] if name in components else ""
