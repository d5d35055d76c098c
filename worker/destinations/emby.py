"""The Emby destination, experimental: tells Emby that a file has changed and has its item refreshed.

It writes no fields: how Emby takes an update of tags and genres is not verified. So Emby shows what it finds
itself, such as in NFO files. Emby 4.9: ``X-Emby-Token``; ``/Items?Path=`` finds by the exact path;
``/Library/Media/Updated`` and ``/Items/{Id}/Refresh`` as in dev.emby.media's REST reference.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from stash_courier.plugin.settings import Problem, Settings, matches_prefix
from stash_courier.queue.jobs import Delivery, Scene
from stash_courier.worker.covers import Cover, no_cover
from stash_courier.worker.destinations import TestReport
from stash_courier.worker.failures import DeliveryFailed, Failure
from stash_courier.worker.http import Client
from stash_courier.worker.media import (
    Place,
    ambiguous,
    library_updated,
    no_file,
    not_there_yet,
    places,
    read_json,
    same_path,
)
from stash_courier.worker.media_settings import Server, fingerprint, read_server

KIND = "emby"
NAME = "Emby"

LARGEST = 1024 * 1024  # bytes of an answer
FOUND_AT_MOST = 20  # items that are shown for one path
# Looks into the files again and fills what is missing; nothing is thrown away.
REFRESH = "Recursive=false&MetadataRefreshMode=FullRefresh&ReplaceAllMetadata=false&ReplaceAllImages=false"

_ADVICE = {
    401: "it does not know the key; make one at its Settings > API Keys and enter it in emby_api_key",
    403: "its key may not do this; enter one made at its Settings > API Keys in emby_api_key",
    404: "Emby has nothing at this address; check emby_url",
    405: "Emby takes no such request at this address; check emby_url",
}


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
class Item:
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
            advice=_ADVICE,
        )

    @property
    def id(self) -> str:
        """``emby``."""
        return KIND

    @property
    def fingerprint(self) -> str:
        """A hash of the ``emby_*`` settings."""
        return self._fingerprint

    def deliver(self, delivery: Delivery, scene: Scene | None) -> None:
        """Has Emby look at the scene's file again, or notice that it is gone.

        Raises:
            DeliveryFailed: it can't be done, or not yet.
        """
        where = places(delivery, scene, self._path_map)
        if scene is None:
            self._notify(where, "Deleted")
            return
        if not where:
            raise no_file(NAME, scene.id)
        found = self._find(scene.id, where)
        if found is None:
            self._notify(where, "Created")
            raise not_there_yet(NAME, scene.id, where)
        place, item = found
        self._notify([place], "Modified")
        self._refresh(item)

    def test(self, scene: Scene | None) -> TestReport:
        """Looks a real scene up; tells Emby nothing."""
        lines: list[str] = []
        try:
            about = self._get("/System/Info", "Version", str)
            lines.append(
                f"{about.get('ServerName')} at {self._server.host} (Emby {about.get('Version')}) takes "
                "emby_api_key. Emby is experimental: it is told to look at a file again, no field is written."
            )
            folders = self._folders()
            lines.append(f"Its libraries are {_described(folders)}.")
            ok, found = self._try(scene, folders)
        except DeliveryFailed as failed:
            said = (f"It said: {failed.answer[:200]}",) if failed.answer else ()
            return TestReport(False, (*lines, failed.message, *said))
        return TestReport(ok, (*lines, *found))

    def close(self) -> None:
        """Lets go of connections."""
        self._client.close()

    def _find(self, scene_id: int, where: Sequence[Place]) -> tuple[Place, Item] | None:
        """The first of these files that Emby knows, and its item."""
        for place in where:
            wanted = quote(place.server, safe="", errors="replace")
            rows = self._rows(f"/Items?Path={wanted}&Recursive=true&Fields=Path&Limit={FOUND_AT_MOST}")
            found = {
                str(row.get("Id")): Item(str(row.get("Id")), str(row.get("Name")))
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
            self._client.request(
                "POST",
                f"{self._server.url}/Library/Media/Updated",
                headers={**self._headers, "Content-Type": "application/json"},
                body=library_updated(kind, [place.server for place in where]),
                fixed_url=True,
            )

    def _refresh(self, item: Item) -> None:
        url = f"{self._server.url}/Items/{quote(item.id, safe='')}/Refresh?{REFRESH}"
        try:
            self._client.request("POST", url, headers=self._headers, body=b"")
        except DeliveryFailed as failed:
            if failed.status != 404:
                raise
            message = (
                f"{self._server.host} no longer has {item}, which it found a moment ago: we look again later."
            )
            raise DeliveryFailed(Failure.REFUSED, message, status=404, answer=failed.answer) from failed

    def _folders(self) -> dict[str, list[str]]:
        """The folders of each library, as Emby calls them."""
        rows = self._rows("/Library/VirtualFolders/Query")
        return {
            str(row.get("Name")): [str(folder) for folder in locations]
            for row in rows
            if isinstance(locations := row.get("Locations"), list)
        }

    def _rows(self, path: str) -> list[Mapping[str, object]]:
        return [row for row in self._get(path, "Items", list)["Items"] if isinstance(row, dict)]

    def _get(self, path: str, field: str, kind: type) -> dict[str, Any]:
        """An answer that holds a field of this kind, as all of Emby's to this question do."""
        answer = self._client.request(
            "GET", self._server.url + path, headers=self._headers, limit=LARGEST, fixed_url=True
        )
        found = read_json(answer, self._server)
        if not isinstance(found, dict) or not isinstance(found.get(field), kind):
            raise DeliveryFailed(
                Failure.DESTINATION,
                f"{self._server.host} answers as Emby never does: another program is there; check emby_url.",
                status=answer.status,
                answer=self._client.excerpt(answer),
            )
        return found

    def _try(self, scene: Scene | None, folders: Mapping[str, Sequence[str]]) -> tuple[bool, list[str]]:
        """Whether a delivery of this scene would reach its item."""
        if scene is None:
            return True, ["Stash holds no scene, so no path was looked up."]
        where = places(None, scene, self._path_map)
        if not where:
            raise no_file(NAME, scene.id)
        found = self._find(scene.id, where)
        if found is not None:
            place, item = found
            return True, [f"Scene {scene.id} is {item}, found under {place}. It would be refreshed."]
        lines = [f"Scene {scene.id} is not known under {'; nor under '.join(map(str, where))}."]
        if not any(matches_prefix(p.server, f) for p in where for known in folders.values() for f in known):
            lines.append(
                f"None of its libraries holds that folder: they are {_described(folders)}. Add the rule to "
                "path_map that is missing."
            )
        return False, lines


def _described(folders: Mapping[str, Sequence[str]]) -> str:
    return "; ".join(f"{name} ({', '.join(known)})" for name, known in folders.items()) or "none"
