"""The Emby destination, experimental: reports changed files to Emby and starts a refresh of their items.

It writes no fields, because how Emby accepts updates of tags and genres isn't verified. So Emby shows what it
finds itself, for example in NFO files. The protocol is in api.py.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence

from stash_courier.queue.jobs import Delivery, Scene
from stash_courier.worker.destinations import CheckReport
from stash_courier.worker.destinations.emby.api import EmbyApi, EmbyItem
from stash_courier.worker.destinations.media.check import check_server
from stash_courier.worker.destinations.media.errors import ambiguous, no_file, not_there_yet, still_there
from stash_courier.worker.destinations.media.libraries import NEGATIVE_SECONDS, Cached, Library, described, hint
from stash_courier.worker.destinations.media.places import Place, places
from stash_courier.worker.destinations.media.settings import Server, fingerprint, read_server
from stash_courier.worker.settings import Problem, Settings, label
from stash_courier.worker.stash.covers import Cover, no_cover

KIND = "emby"
NAME = "Emby"


def configure(
    raw: Mapping[str, object], settings: Settings, _cover: Cover = no_cover
) -> tuple[list[Emby], list[Problem]]:
    """Makes the destination if ``emby_url`` is set.

    Args:
        raw: the plugin's map as Stash stores it.
        settings: the common settings.
    """
    server, problems = read_server(raw, KIND, "emby_api_key", NAME)
    return ([] if server is None else [Emby(server, settings, fingerprint(raw, KIND))]), problems


class Emby:
    """One Emby server.

    Args:
        server: address and key.
        settings: the common settings.
        fingerprint: of this destination's settings.
    """

    def __init__(self, server: Server, settings: Settings, fingerprint: str = "") -> None:
        self._server = server
        self.id = KIND
        self.fingerprint = fingerprint
        self._path_map = settings.path_map
        self._api = EmbyApi(
            server, timeout=settings.delivery_timeout_seconds, concurrency=settings.delivery_concurrency
        )
        self._libraries = Cached(self._api.libraries, NEGATIVE_SECONDS, time.monotonic)

    def deliver(self, delivery: Delivery, scene: Scene | None, cover: bytes = b"") -> bytes:  # noqa: ARG002
        """Makes Emby read the scene's file again, or notice that it is gone.

        Raises:
            DeliveryFailed: NOT_THERE_YET while Emby has no item with the scene's path; ITEM_REFUSED if several
                items have it.
        """
        where = places(delivery, scene, self._path_map)
        paths = [place.server for place in where]
        if scene is None:
            if paths:  # else its last path is unknown
                self._api.notify("Deleted", paths)
            return b""
        if not where:
            raise no_file(NAME, scene.id)
        found = self._find(scene.id, where)
        if found is None:
            self._api.notify("Created", paths)
            raise not_there_yet(NAME, scene.id, where, hint(where, self._libraries.get))
        place, item = found
        self._api.notify("Modified", [place.server])
        with still_there(self._server, str(item)):
            self._api.refresh(item)
        return b""

    def check(self, scene: Scene | None) -> CheckReport:
        """Reports which server answers, whether it accepts the key, and which item the scene is."""
        return check_server(self, NAME, self._path_map, scene)

    def close(self) -> None:
        """Closes the connections."""
        self._api.close()

    def _find(self, scene_id: int, where: Sequence[Place]) -> tuple[Place, EmbyItem] | None:
        """The first of these places that Emby knows, and its item."""
        for place in where:
            found = self._api.items_at(place.server)
            if len(found) > 1:
                raise ambiguous(NAME, scene_id, place, map(str, found))
            if found:
                return place, found[0]
        return None

    # For the check

    def introduce(self) -> Iterator[str]:
        """Server and libraries."""
        name, version = self._api.about()
        yield (
            f"{name} at {self._server.host} (Emby {version}) accepts {label('emby_api_key')}. "
            "Emby is experimental: it is asked to read files again, but no field is written."
        )
        yield f"Its libraries are {described(self._libraries.get())}."

    def preview(self, scene: Scene, where: Sequence[Place]) -> list[str] | None:
        """Which item would be refreshed; None if Emby doesn't know it."""
        found = self._find(scene.id, where)
        if found is None:
            return None
        place, item = found
        return [f"Scene {scene.id} is {item}, found under {place}. It would be refreshed."]

    def libraries(self) -> list[Library]:
        """All libraries."""
        return self._libraries.get()

    def files_named(self, name: str) -> Iterator[str]:  # noqa: ARG002  # Emby can't be asked for a file name
        """The paths of all videos."""
        return self._api.files()
