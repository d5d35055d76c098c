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

from stash_courier.worker.connections.model import Policy
from stash_courier.worker.destinations.media.api import JSON, MediaApi, library_updated, read_json
from stash_courier.worker.destinations.media.libraries import Library
from stash_courier.worker.destinations.media.places import same_path
from stash_courier.worker.destinations.media.settings import Server

FOUND_AT_MOST = 20  # items in the answer for one path
PAGE = 1000  # items in one request for the listing
# Reads the files again and fills in what is missing. Nothing is discarded.
REFRESH = "Recursive=false&MetadataRefreshMode=FullRefresh&ReplaceAllMetadata=false&ReplaceAllImages=false"


@dataclass(frozen=True, slots=True)
class EmbyItem:
    """A movie or video."""

    id: str
    name: str
    server: str = ""  # the server's id, which the address of the item's page contains

    def __str__(self) -> str:
        """Name and id, for the owner."""
        return f'"{self.name}" (id {self.id})'


class EmbyApi(MediaApi):
    """One Emby server."""

    LARGEST = 16 * 1024 * 1024

    def __init__(self, server: Server, policy: Policy) -> None:
        headers = {"X-Emby-Token": server.key, "Accept": JSON}
        super().__init__(server, policy, headers, "enter a key that was made at its Settings > API Keys")

    def about(self) -> tuple[str, str]:
        """Name and version of the server."""
        content = self._read("/System/Info", "Version", str)
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
        found = (
            EmbyItem(str(row.get("Id")), str(row.get("Name")), str(row.get("ServerId") or ""))
            for row in rows
            if same_path(str(row.get("Path")), path)
        )
        return list({item.id: item for item in found}.values())

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
        self._write("POST", "/Library/Media/Updated", library_updated(kind, paths), JSON, fixed_url=True)

    def refresh(self, item: EmbyItem) -> None:
        """Starts a refresh of an item."""
        self._write("POST", f"/Items/{quote(item.id, safe='')}/Refresh?{REFRESH}", b"")

    def _rows(self, path: str) -> list[Mapping[str, object]]:
        return [row for row in self._read(path, "Items", list)["Items"] if isinstance(row, dict)]

    def _read(self, path: str, field: str, kind: type) -> dict[str, Any]:
        """An answer that has a field of this type."""
        answer = self._get(path, fixed_url=True)
        found = read_json(answer, self._server)
        if not isinstance(found, dict) or not isinstance(found.get(field), kind):
            raise self._unexpected(answer)
        return found
