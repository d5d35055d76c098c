"""Jellyfin's HTTP API, as far as the Jellyfin destination needs it; 10.8 to 12.

Decides nothing. Plain HTTP, since no Python client is fit: they hide what may be retried.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import quote, urlencode

from stash_courier.worker import VERSION
from stash_courier.worker.failures import DeliveryFailed, Failure
from stash_courier.worker.http import Answer, Client
from stash_courier.worker.jellyfin_items import READ, REQUIRED, Item
from stash_courier.worker.media import library_updated, read_json
from stash_courier.worker.media_settings import Server

LARGEST = 32 * 1024 * 1024  # bytes of an answer; 50 whole items or a page of the listing are far below
PAGE = 1000  # items of the listing at once
KINDS = "Movie,Video,MusicVideo,Episode"

_ID = re.compile(r"[0-9a-fA-F]{8}-?(?:[0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}")
_ADVICE = {
    401: "it does not know the key in jellyfin_api_key; make one in Jellyfin under Dashboard, API Keys",
    403: "the key in jellyfin_api_key may not do this; use one made under Dashboard, API Keys",
    404: "Jellyfin has nothing at this address; check jellyfin_url",
    405: "Jellyfin takes no such request at this address; check jellyfin_url",
    503: "it is starting or busy, so we wait; if it stays so for a day while Jellyfin runs, its own settings "
    "(Dashboard, Networking) refuse this machine",
}


@dataclass(frozen=True, slots=True)
class Library:
    """One of the server's libraries."""

    name: str
    folders: tuple[str, ...]  # as the server calls them

    def __str__(self) -> str:
        return f"{self.name} ({', '.join(self.folders) or 'no folder'})"


class JellyfinApi:
    """One server. Every method raises ``DeliveryFailed`` for any answer but the right one; for several threads.

    Args:
        server: where it is, and its key.
        timeout: wall seconds of one request.
        concurrency: connections that are kept.
    """

    def __init__(self, server: Server, *, timeout: float, concurrency: int) -> None:
        self._server = server
        # The only way that 12 takes by default; the values are URL-decoded there (AuthorizationContext.GetParts).
        says = {
            "Token": server.key,
            "Client": "Stash Courier",
            "Device": "Stash",
            "DeviceId": "stash-courier",
            "Version": VERSION,
        }
        parts = ", ".join(f'{name}="{quote(value, safe=" ")}"' for name, value in says.items())
        self._headers = {"Authorization": f"MediaBrowser {parts}"}
        self._client = Client(timeout=timeout, concurrency=concurrency, secrets=server.hidden, advice=_ADVICE)

    def items(self, ids: Iterable[str]) -> list[Item]:
        """Those of these items that exist, whole. ``GET /Items/{id}`` is no way: 400 with an API key."""
        query = {"ids": ",".join(ids), "fields": READ, "enableUserData": "false"}
        found = self._items(query)
        for item in found:
            wrong = next((key for key, kind in REQUIRED.items() if not isinstance(item.get(key), kind)), None)
            if wrong is not None:
                raise self._other(f"an item without {wrong}")
        return found

    def page(self, start: int) -> list[Item]:
        """A page of the listing of all videos, with ids and paths only; shorter than PAGE at the end."""
        query = {
            "recursive": "true",
            "includeItemTypes": KINDS,
            "collapseBoxSetItems": "false",
            "sortBy": "DateCreated,SortName",  # what comes meanwhile comes at the end
            "sortOrder": "Ascending",
            "fields": "Path",
            "enableImages": "false",
            "enableUserData": "false",
            "enableTotalRecordCount": "false",
            "startIndex": str(start),
            "limit": str(PAGE),
        }
        return self._items(query)

    def update(self, item: Item) -> None:
        """Replaces an item; it must be whole."""
        self._post(f"/Items/{item['Id']}", json.dumps(item).encode("ascii"), "application/json")

    def notify(self, kind: str, paths: Sequence[str]) -> None:
        """Tells that files were ``Created``, ``Modified`` or ``Deleted``; 204 whether it knows them or not."""
        self._post("/Library/Media/Updated", library_updated(kind, paths), "application/json")

    def image(self, item: Item) -> bytes:
        """An item's primary image, as the file is."""
        return self._get(f"/Items/{item['Id']}/Images/Primary").body

    def set_image(self, item: Item, image: bytes, media_type: str) -> None:
        """Sets an item's primary image. The body is base64, under the picture's own type."""
        self._post(f"/Items/{item['Id']}/Images/Primary", base64.b64encode(image), media_type)

    def about(self) -> str:
        """The server's product, version and name."""
        content = read_json(self._get("/System/Info", fixed_url=True), self._server)
        if not isinstance(content, dict) or "Version" not in content:
            raise self._other("no version")
        product = content.get("ProductName") or "Jellyfin Server"
        return f'{product} {content["Version"]} ("{content.get("ServerName") or ""}")'

    def libraries(self) -> list[Library]:
        """The libraries and their folders."""
        content = read_json(self._get("/Library/VirtualFolders", fixed_url=True), self._server)
        if not isinstance(content, list) or not all(isinstance(one, dict) for one in content):
            raise self._other("no libraries")
        return [Library(str(one.get("Name")), tuple(map(str, one.get("Locations") or ()))) for one in content]

    def close(self) -> None:
        """Lets go of connections."""
        self._client.close()

    def _items(self, query: dict[str, str]) -> list[Item]:
        content = read_json(self._get(f"/Items?{urlencode(query, safe=',')}", fixed_url=True), self._server)
        items = content.get("Items") if isinstance(content, dict) else None
        if not isinstance(items, list) or not all(
            isinstance(item, dict) and _ID.fullmatch(str(item.get("Id"))) for item in items
        ):
            raise self._other("no list of items")
        return items

    def _get(self, path: str, *, fixed_url: bool = False) -> Answer:
        headers = {**self._headers, "Accept": "application/json"} if fixed_url else self._headers
        return self._client.request(
            "GET", f"{self._server.url}{path}", headers=headers, limit=LARGEST, fixed_url=fixed_url
        )

    def _post(self, path: str, body: bytes, content_type: str) -> None:
        headers = {**self._headers, "Content-Type": content_type}
        self._client.request("POST", f"{self._server.url}{path}", headers=headers, body=body)

    def _other(self, what: str) -> DeliveryFailed:
        return DeliveryFailed(
            Failure.DESTINATION,
            f"{self._server.host} gave an answer that can't be used ({what}): is that Jellyfin, 10.8 or newer? "
            "Nothing was changed there.",
        )
