"""The Emby destination, experimental: tells Emby that a file has changed and has its item refreshed.

It writes no fields: how Emby takes an update of tags and genres is not verified. So Emby shows what it finds
itself, such as in NFO files. Emby 4.9: ``X-Emby-Token``; ``/Items?Path=`` finds by the exact path; pages of
``/Items``, ``/Library/Media/Updated`` and ``/Items/{Id}/Refresh`` as in dev.emby.media's REST reference.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from stash_courier.queue.jobs import Delivery, Scene
from stash_courier.worker.destinations import TestReport
from stash_courier.worker.destinations.media.check import Check
from stash_courier.worker.destinations.media.libraries import NEGATIVE_SECONDS, Library, Recent, described, hint
from stash_courier.worker.destinations.media.settings import Server, fingerprint, read_server
from stash_courier.worker.destinations.media.state import (
    Place,
    advice,
    ambiguous,
    library_updated,
    no_file,
    not_there_yet,
    places,
    read_json,
    same_path,
    still_there,
    taken,
    unlike,
)
from stash_courier.worker.http.client import Client
from stash_courier.worker.settings import Problem, Settings
from stash_courier.worker.stash.covers import Cover, no_cover

KIND = "emby"
NAME = "Emby"

LARGEST = 16 * 1024 * 1024  # bytes of an answer; a page of the listing is a tenth of that
FOUND_AT_MOST = 20  # items that are shown for one path
PAGE = 1000  # items of the listing at once
# Looks into the files again and fills what is missing; nothing is thrown away.
REFRESH = "Recursive=false&MetadataRefreshMode=FullRefresh&ReplaceAllMetadata=false&ReplaceAllImages=false"

_KEYS = "enter a key that was made at its Settings > API Keys"


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


@dataclass(frozen=True, slots=True)
class EmbyItem:
    """A movie or video, as far as it matters here."""

    id: str
    name: str

    def __str__(self) -> str:
        """As the owner finds it."""
        return f'"{self.name}" (id {self.id})'


class Emby:
    """One Emby server.

    Args:
        server: where, and its key.
        settings: the common settings.
        fingerprint: of this destination's settings.
    """

    def __init__(self, server: Server, settings: Settings, fingerprint: str = "") -> None:
        self._server = server
        self._fingerprint = fingerprint
        self._path_map = settings.path_map
        self._headers = {"X-Emby-Token": server.key, "Accept": "application/json"}
        if server.authorization:
            self._headers["Authorization"] = server.authorization
        self._client = Client(
            timeout=settings.delivery_timeout_seconds,
            concurrency=settings.delivery_concurrency,
            secrets=server.hidden,
            advice=advice(server, _KEYS),
        )
        self._libraries = Recent(self._ask_libraries, NEGATIVE_SECONDS, time.monotonic)

    @property
    def id(self) -> str:
        """``emby``."""
        return KIND

    @property
    def fingerprint(self) -> str:
        """A hash of the ``emby_*`` settings."""
        return self._fingerprint

    def deliver(self, delivery: Delivery, scene: Scene | None, cover: bytes = b"") -> bytes:  # noqa: ARG002
        """Has Emby look at the scene's file again, or notice that it is gone.

        Raises:
            DeliveryFailed: it can't be done, or not yet.
        """
        where = places(delivery, scene, self._path_map)
        if scene is None:
            self._notify(where, "Deleted")
            return b""
        if not where:
            raise no_file(NAME, scene.id)
        found = self._find(scene.id, where)
        if found is None:
            self._notify(where, "Created")
            raise not_there_yet(NAME, scene.id, where, hint(where, self._libraries.get))
        place, item = found
        self._notify([place], "Modified")
        self._refresh(item)
        return b""

    def test(self, scene: Scene | None) -> TestReport:
        """Looks a real scene up; tells Emby nothing."""
        return Check(
            NAME,
            self._path_map,
            introduce=self._introduce,
            look_up=self._would_do,
            libraries=self._libraries.get,
            files_named=lambda _name: self._files(),
        ).run(scene)

    def close(self) -> None:
        """Lets go of connections."""
        self._client.close()

    def _find(self, scene_id: int, where: Sequence[Place]) -> tuple[Place, EmbyItem] | None:
        """The first of these files that Emby knows, and its item."""
        for place in where:
            wanted = quote(place.server, safe="", errors="replace")
            rows = self._rows(f"/Items?Path={wanted}&Recursive=true&Fields=Path&Limit={FOUND_AT_MOST}")
            found = {
                str(row.get("Id")): EmbyItem(str(row.get("Id")), str(row.get("Name")))
                for row in rows
                if same_path(str(row.get("Path")), place.server)
            }
            if len(found) > 1:
                raise ambiguous(NAME, scene_id, place, map(str, found.values()))
            if found:
                return place, next(iter(found.values()))
        return None

    def _notify(self, where: Sequence[Place], kind: str) -> None:
        if where:
            answer = self._client.request(
                "POST",
                f"{self._server.url}/Library/Media/Updated",
                headers={**self._headers, "Content-Type": "application/json"},
                body=library_updated(kind, [place.server for place in where]),
                fixed_url=True,
            )
            taken(answer, self._server)

    def _refresh(self, item: EmbyItem) -> None:
        url = f"{self._server.url}/Items/{quote(item.id, safe='')}/Refresh?{REFRESH}"
        with still_there(self._server, str(item)):
            taken(self._client.request("POST", url, headers=self._headers, body=b""), self._server)

    def _ask_libraries(self) -> list[Library]:
        return [
            Library(str(row.get("Name")), tuple(map(str, folders)))
            for row in self._rows("/Library/VirtualFolders/Query")
            if isinstance(folders := row.get("Locations"), list)
        ]

    def _files(self) -> Iterator[str]:
        """Paths of all videos."""
        seen: set[str] = set()
        for start in itertools.count(0, PAGE):
            query = f"Recursive=true&MediaTypes=Video&Fields=Path&StartIndex={start}&Limit={PAGE}"
            rows = self._rows(f"/Items?{query}")
            new = {str(row.get("Path")) for row in rows} - seen
            yield from new
            seen |= new
            if len(rows) < PAGE or not new:
                return

    def _rows(self, path: str) -> list[Mapping[str, object]]:
        return [row for row in self._get(path, "Items", list)["Items"] if isinstance(row, dict)]

    def _get(self, path: str, field: str, kind: type) -> dict[str, Any]:
        """An answer that holds a field of this kind, as all of Emby's to this question do."""
        answer = self._client.request(
            "GET", self._server.url + path, headers=self._headers, limit=LARGEST, fixed_url=True
        )
        found = read_json(answer, self._server)
        if not isinstance(found, dict) or not isinstance(found.get(field), kind):
            raise unlike(self._server, answer, self._client.excerpt(answer))
        return found

    # The test

    def _introduce(self) -> Iterator[str]:
        about = self._get("/System/Info", "Version", str)
        yield (
            f"{about.get('ServerName')} at {self._server.host} (Emby {about.get('Version')}) takes emby_api_key. "
            "Emby is experimental: it is told to look at a file again, no field is written."
        )
        yield f"Its libraries are {described(self._libraries.get())}."

    def _would_do(self, scene: Scene, where: Sequence[Place]) -> list[str] | None:
        found = self._find(scene.id, where)
        if found is None:
            return None
        place, item = found
        return [f"Scene {scene.id} is {item}, found under {place}. It would be refreshed."]
