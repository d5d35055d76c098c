"""The Emby destination, experimental: refreshes the items of changed files, and reports new and deleted files.

It writes no fields, because how Emby accepts updates of tags and genres isn't verified. So Emby shows what it
finds itself, for example in NFO files. The protocol is in api.py.

Which names Emby never makes an item of isn't known, so all files are waited for. Its last public source leaves out
folders such as ``@eaDir`` (CoreResolutionIgnoreRule.cs in MediaBrowser/Emby at 3cac4de), but no hidden files. It
also leaves out files whose name begins with ``._``, but in 2025 they are reported as items (issue 3898 there).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from urllib.parse import urlencode

from stash_courier.queue.jobs import Delivery, Scene
from stash_courier.worker.connections.model import Connection
from stash_courier.worker.destinations import Delivered
from stash_courier.worker.destinations.emby.api import EmbyApi, EmbyItem
from stash_courier.worker.destinations.media.api import still_there
from stash_courier.worker.destinations.media.base import Known, MediaDestination
from stash_courier.worker.destinations.media.libraries import NEGATIVE_SECONDS, Cached
from stash_courier.worker.destinations.media.places import Place, ambiguous
from stash_courier.worker.destinations.media.record import Record
from stash_courier.worker.destinations.media.report import Shown
from stash_courier.worker.destinations.media.scans import Notices
from stash_courier.worker.destinations.media.settings import Server
from stash_courier.worker.stash.covers import Cover


def make(connection: Connection, _cover: Cover, clock: Callable[[], float] = time.monotonic) -> Emby:
    """The destination of a connection."""
    return Emby(connection, clock)


class Emby(MediaDestination):
    """One Emby server. The clock is in monotonic seconds."""

    def __init__(self, connection: Connection, clock: Callable[[], float]) -> None:
        server = Server("Emby", connection.options.url, connection.options.key)
        self._api = EmbyApi(server, connection.policy)
        libraries = Cached(self._api.libraries, NEGATIVE_SECONDS, clock)
        super().__init__(connection, server, self._api, libraries)
        self._notices = Notices(server.name, self._api.notify, clock)

    def _update(
        self,
        delivery: Delivery,
        scene: Scene,
        where: Sequence[Place],
        record: Record,  # noqa: ARG002
    ) -> Delivered:
        """Makes Emby read the scene's file again."""
        found = self._find(scene.id, where)
        if found is None:
            raise self._absent(delivery, scene, where)
        _, item = found
        # No notice: it would only make the server refresh the item too (FileRefresher.ProcessPathChanges in
        # MediaBrowser/Emby), and start the wait for a scan of its folder anew.
        with still_there(self._server, str(item)):
            self._api.refresh(item)
        query = urlencode({"id": item.id, "serverId": item.server})
        return Delivered(link=f"{self._server.url}/web/index.html#!/item?{query}" if item.server else "")

    def _announce(self, where: Sequence[Place]) -> float:
        return self._notices.created([one.server for one in where])

    def _delete(self, where: Sequence[Place]) -> None:
        self._notices.deleted([one.server for one in where])

    def _find(self, scene_id: int, where: Sequence[Place]) -> tuple[Place, EmbyItem] | None:
        """The first of these places that Emby knows, and its item."""
        for place in where:
            found = self._api.items_at(place.server)
            if len(found) > 1:
                raise ambiguous(self._name, scene_id, place, map(str, found))
            if found:
                return place, found[0]
        return None

    def _about(self) -> str:
        name, version = self._api.about()
        return f'Emby {version} ("{name}")'

    def _knows(self, scene: Scene, where: Sequence[Place]) -> Known:
        return Known(self._find(scene.id, where) is not None)

    def _preview(self, scene: Scene, where: Sequence[Place], record: Record) -> list[str]:  # noqa: ARG002
        found = self._find(scene.id, where)
        if found is None:
            return []  # removed a moment ago
        place, item = found
        return [f"Scene {scene.id} is {item}, found under {place}. It would be refreshed; no field is written."]

    def _values(self, scene: Scene) -> list[str]:  # noqa: ARG002
        return ["Emby refreshes the item; no field is written."]

    def _shown(self) -> Iterator[Shown]:
        """How Emby shows versions and parts isn't verified, so each file counts as an item of its own."""
        return (Shown(path, "own") for path in self._api.files())

    def _files_named(self, names: Collection[str]) -> Iterator[str]:  # noqa: ARG002  # can't be asked for file names
        return self._api.files()
