"""What the destinations for media servers share: the frame of a delivery, covers, and "Test destinations".

The check changes nothing. The usual mistake is a missing rule in path_map. So if the scene's path isn't known, the
report shows the server's own paths beside ours, with the rule that would map one to the other.
"""

from __future__ import annotations

import abc
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence

from stash_courier.queue.failures import DeliveryFailed, Failure
from stash_courier.queue.jobs import Delivery, Scene
from stash_courier.worker.destinations import CheckReport
from stash_courier.worker.destinations.media.api import MediaApi
from stash_courier.worker.destinations.media.libraries import Cached, Library, none_holds
from stash_courier.worker.destinations.media.places import (
    Place,
    all_places,
    file_name,
    is_named,
    not_there_yet,
    places,
    rule_between,
    same_path,
)
from stash_courier.worker.destinations.media.settings import Server
from stash_courier.worker.settings import Settings, label
from stash_courier.worker.stash.covers import Cover, cover_digest, image_type, may_have_changed

NAMESAKES = 3  # files with the same name that are shown


class MediaDestination(abc.ABC):
    """One media server.

    Args:
        api: is closed with the destination.
        libraries: those that are searched.
        cover: fetches covers; None if none are sent.
    """

    def __init__(
        self,
        server: Server,
        settings: Settings,
        api: MediaApi,
        libraries: Cached[Sequence[Library]],
        cover: Cover | None = None,
    ) -> None:
        self.id = server.kind
        self.fingerprint = server.fingerprint
        self._server = server
        self._name = server.name
        self._path_map = settings.path_map
        self._libraries = libraries
        self._cover = cover
        self.close = api.close

    def deliver(self, delivery: Delivery, scene: Scene | None, cover: bytes = b"") -> bytes:
        """Updates the scene's item, or reports that its file is gone.

        Raises:
            DeliveryFailed: NOT_THERE_YET while the server has no item with the scene's path; ITEM_REFUSED if
                several items have it.
        """
        if scene is not None:
            return self._update(delivery, scene, self._places(scene), cover)
        if where := places(delivery, None, self._path_map):  # else its last path is unknown
            self._delete(where)
        return b""

    def check(self, scene: Scene | None) -> CheckReport:
        """Reports which server answers, whether it accepts the key, and what a delivery would change."""
        lines: list[str] = []
        try:
            lines.extend(self._introduce())  # the lines before a failure are kept
            if scene is None:
                return CheckReport(True, (*lines, "Stash has no scene, so no path was looked up."))
            where = self._places(scene)
            found = self._preview(scene, where)
            if found is not None:
                return CheckReport(True, (*lines, *found))
            lines.append(f"Scene {scene.id} is not known under {all_places(where)}.")
            lines.extend(self._why_unknown(where))
        except DeliveryFailed as failed:
            said = (f"It said: {failed.answer[:200]}",) if failed.answer else ()
            lines += (failed.message, *said)
        return CheckReport(False, tuple(lines))

    # What each server does. Every method may raise DeliveryFailed.

    @abc.abstractmethod
    def _update(self, delivery: Delivery, scene: Scene, where: Sequence[Place], cover: bytes) -> bytes:
        """Updates the scene's item. Returns the digest of a cover that the item has from us."""

    @abc.abstractmethod
    def _delete(self, where: Sequence[Place]) -> None:
        """Reports that a scene's files are gone."""

    @abc.abstractmethod
    def _introduce(self) -> Iterator[str]:
        """Sentences: which server answers, and which libraries it has."""

    @abc.abstractmethod
    def _preview(self, scene: Scene, where: Sequence[Place]) -> list[str] | None:
        """Sentences: what a delivery would do. None if the server doesn't know the item."""

    @abc.abstractmethod
    def _files_named(self, name: str) -> Iterable[str]:
        """The server's paths of files that may have this name."""

    # Shared steps

    def _places(self, scene: Scene) -> tuple[Place, ...]:
        where = places(None, scene, self._path_map)
        if not where:
            raise DeliveryFailed(
                Failure.ITEM_REFUSED,
                f"Scene {scene.id} has no file in Stash, so it can't be found in {self._name}. Assign a file, or "
                "delete the scene.",
            )
        return where

    def _unknown(self, scene: Scene, where: Sequence[Place], *, asked: bool = True) -> DeliveryFailed:
        """The failure if the server has no item at these places."""
        try:
            outside = none_holds(where, self._libraries.get())
        except DeliveryFailed:
            outside = ""
        return not_there_yet(self._name, scene.id, where, outside, asked=asked)

    def _send_cover(
        self, delivery: Delivery, scene: Scene, item: str, known: bytes, send: Callable[[bytes, str], None]
    ) -> bytes:
        """Sends the cover and its media type, unless the item has it from us. Returns its digest."""
        if self._cover is None or not scene.cover_url or not may_have_changed(delivery):
            return b""
        image = self._cover(scene.cover_url)
        media_type = image_type(image)
        if media_type is None:
            return b""
        digest = cover_digest(self._server.url, item, image)
        if digest != known:
            send(image, media_type)
        return digest

    def _why_unknown(self, where: Sequence[Place]) -> list[str]:
        """Files or folders with the same names elsewhere on the server. Without any, a scan may be pending."""
        libraries = self._libraries.get()
        outside = none_holds(where, libraries)
        lines = [outside] if outside else []
        if namesakes := [line for place in where for line in self._namesakes(place)]:
            return [*lines, *dict.fromkeys(namesakes)]
        if outside:
            return [*lines, *(line for place in where for line in _folders_alike(place, libraries))]
        holder = next((one for one in libraries if any(one.holds(place.server) for place in where)), None)
        return [f"That folder is in the library {holder}, which has not scanned it yet."] if holder else []

    def _namesakes(self, place: Place) -> Iterator[str]:
        """Files with the same name at other paths."""
        name = file_name(place.server)
        others = (
            path for path in self._files_named(name) if is_named(path, name) and not same_path(path, place.server)
        )
        for path in itertools.islice(dict.fromkeys(others), NAMESAKES):
            yield f"It has a file of that name at {path}: {_would_help(place, place.stash, path)}."


def _folders_alike(place: Place, libraries: Sequence[Library]) -> Iterator[str]:
    """Folders of libraries with the name of a folder in the path."""
    for library in libraries:
        for folder in library.folders or ():
            if above := _part_to(file_name(folder), place.stash):
                yield (
                    f"Its library {library.name} has a folder of that name at {folder}: "
                    f"{_would_help(place, above, folder)}."
                )


def _part_to(name: str, path: str) -> str:
    """The beginning of the path up to a folder of this name; "" if there is none."""
    components = path.replace("\\", "/").split("/")[:-1]
    return path[: len("/".join(components[: components.index(name) + 1]))] if name in components else ""


def _would_help(place: Place, ours: str, theirs: str) -> str:
    """The rule that maps our path to theirs. The longest prefix wins, so it has to replace a longer rule."""
    rule = rule_between(ours, theirs)
    replaces = place.rule is not None and len(rule.partition(" => ")[0]) <= len(place.rule[0])
    instead = f", in place of {place.rule[0]} => {place.rule[1]}," if place.rule and replaces else ""
    return f"the rule {rule} in {label('path_map')}{instead} would map one to the other"
