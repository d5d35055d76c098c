"""The part of Emby's HTTP API that the destination uses, version 4.9. Decides nothing.

From the REST reference on dev.emby.media: the header ``X-Emby-Token``, ``/Items?Path=`` for the exact path, pages
of ``/Items``, ``/Library/VirtualFolders/Query``, ``/Library/Media/Updated`` and ``/Items/{Id}/Refresh``.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from stash_courier.worker.destinations.media.answers import (
    advice,
    check_write,
    library_updated,
    read_json,
    unexpected,
)
from stash_courier.worker.destinations.media.libraries import Library
from stash_courier.worker.destinations.media.places import same_path
from stash_courier.worker.destinations.media.settings import Server
from stash_courier.worker.http.client import Client

LARGEST = 16 * 1024 * 1024  # bytes of an answer; a page of the listing needs a tenth of it
FOUND_AT_MOST = 20  # items in the answer for one path
PAGE = 1000  # items in one request for the listing
# Reads the files again and fills in what is missing. Nothing is discarded.
REFRESH = "Recursive=false&MetadataRefreshMode=FullRefresh&ReplaceAllMetadata=false&ReplaceAllImages=false"

_KEYS = "enter a key that was made at its Settings > API Keys"


@dataclass(frozen=True, slots=True)
class EmbyItem:
    """A movie or video."""

    id: str
    name: str

    def __str__(self) -> str:
        """Name and id, for the owner."""
        return f'"{self.name}" (id {self.id})'


class EmbyApi:
    """One server. Every method raises ``DeliveryFailed`` unless it gets the expected answer. Thread-safe.

    Args:
        server: address and key.
        timeout: wall seconds for one request.
        concurrency: connections that are kept open.
    """

    def __init__(self, server: Server, *, timeout: float, concurrency: int) -> None:
        self._server = server
        self._headers = {"X-Emby-Token": server.key, "Accept": "application/json"}
        if server.authorization:
            self._headers["Authorization"] = server.authorization
        self._client = Client(
            timeout=timeout,
            concurrency=concurrency,
            secrets=server.hidden,
            advice=advice(server, _KEYS),
        )

    def about(self) -> tuple[str, str]:
        """Name and version of the server."""
        content = self._get("/System/Info", "Version", str)
        return str(content.get("ServerName")), content["Version"]

    def libraries(self) -> list[Library]:
        """The libraries and their folders."""
        return [
            Library(str(row.get("Name")), tuple(map(str, folders)))
            for row in self._rows("/Library/VirtualFolders/Query")
            if isinstance(folders := row.get("Locations"), list)
        ]

    def items_at(self, path: str) -> list[EmbyItem]:
        """The items with exactly this path of the server."""
        wanted = quote(path, safe="", errors="replace")
        rows = self._rows(f"/Items?Path={wanted}&Recursive=true&Fields=Path&Limit={FOUND_AT_MOST}")
        found = {
            str(row.get("Id")): EmbyItem(str(row.get("Id")), str(row.get("Name")))
            for row in rows
            if same_path(str(row.get("Path")), path)
        }
        return list(found.values())

    def files(self) -> Iterator[str]:
        """The paths of all videos."""
        seen: set[str] = set()
        for start in itertools.count(0, PAGE):
            query = f"Recursive=true&MediaTypes=Video&Fields=Path&StartIndex={start}&Limit={PAGE}"
            rows = self._rows(f"/Items?{query}")
            new = {str(row.get("Path")) for row in rows} - seen
            yield from new
            seen |= new
            if len(rows) < PAGE or not new:
                return

    def notify(self, kind: str, paths: Sequence[str]) -> None:
        """Reports files as ``Created``, ``Modified`` or ``Deleted``."""
        answer = self._client.request(
            "POST",
            f"{self._server.url}/Library/Media/Updated",
            headers={**self._headers, "Content-Type": "application/json"},
            body=library_updated(kind, paths),
            fixed_url=True,
        )
        check_write(answer, self._server)

    def refresh(self, item: EmbyItem) -> None:
        """Starts a refresh of an item."""
        url = f"{self._server.url}/Items/{quote(item.id, safe='')}/Refresh?{REFRESH}"
        check_write(self._client.request("POST", url, headers=self._headers, body=b""), self._server)

    def close(self) -> None:
        """Closes the connections."""
        self._client.close()

    def _rows(self, path: str) -> list[Mapping[str, object]]:
        return [row for row in self._get(path, "Items", list)["Items"] if isinstance(row, dict)]

    def _get(self, path: str, field: str, kind: type) -> dict[str, Any]:
        """An answer that has a field of this type."""
        answer = self._client.request(
            "GET", self._server.url + path, headers=self._headers, limit=LARGEST, fixed_url=True
        )
        found = read_json(answer, self._server)
        if not isinstance(found, dict) or not isinstance(found.get(field), kind):
            raise unexpected(self._server, answer, self._client.excerpt(answer))
        return found
