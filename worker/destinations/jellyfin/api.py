"""The part of Jellyfin's HTTP API that the destination uses, versions 10.8 to 12. Decides nothing.

Plain HTTP, because the Python clients hide which failures may be retried.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Sequence
from urllib.parse import quote, urlencode

from stash_courier.queue.failures import DeliveryFailed
from stash_courier.worker import VERSION
from stash_courier.worker.destinations.jellyfin.items import READ, JellyfinItem, wrong_in
from stash_courier.worker.destinations.media.answers import (
    advice,
    check_write,
    library_updated,
    read_json,
    unexpected,
)
from stash_courier.worker.destinations.media.libraries import Library
from stash_courier.worker.destinations.media.settings import Server
from stash_courier.worker.http.client import Answer, Client

LARGEST = 32 * 1024 * 1024  # bytes of an answer; 50 whole items or a page of the listing need far less
PAGE = 1000  # items in one request for the listing
KINDS = "Movie,Video,MusicVideo,Episode"

_ID = re.compile(r"[0-9a-fA-F]{8}-?(?:[0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}")
_KEYS = "enter a key that was made in Jellyfin under Dashboard, API Keys"
_BUSY = (
    "it is starting or busy, so we wait; if this lasts for a day while Jellyfin is running, its own settings "
    "(Dashboard, Networking) refuse this machine"
)


class JellyfinApi:
    """One server. Every method raises ``DeliveryFailed`` unless it gets the expected answer. Thread-safe.

    Args:
        server: address and key.
        timeout: wall seconds for one request.
        concurrency: connections that are kept open.
    """

    def __init__(self, server: Server, *, timeout: float, concurrency: int) -> None:
        self._server = server
        # The only scheme that 12 accepts by default. It URL-decodes the values (AuthorizationContext.GetParts).
        client = {
            "Token": server.key,
            "Client": "Stash Courier",
            "Device": "Stash",
            "DeviceId": "stash-courier",
            "Version": VERSION,
        }
        parts = ", ".join(f'{name}="{quote(value, safe=" ")}"' for name, value in client.items())
        self._headers = {"Authorization": f"MediaBrowser {parts}"}
        self._client = Client(
            timeout=timeout,
            concurrency=concurrency,
            secrets=server.hidden,
            advice={**advice(server, _KEYS), 503: _BUSY},
        )

    def items(self, ids: Iterable[str]) -> list[JellyfinItem]:
        """The items with these ids, whole; ids that don't exist are left out.

        ``GET /Items/{id}`` can't be used: it answers 400 to an API key.
        """
        query = {"ids": ",".join(ids), "fields": READ, "enableUserData": "false"}
        answer, found = self._items(query)
        for wrong in filter(None, map(wrong_in, found)):
            raise self._unexpected(answer, wrong)
        return found

    def page(self, start: int) -> list[JellyfinItem]:
        """A page of the listing of all videos, with ids and paths only. The last page is shorter than PAGE."""
        query = {
            "recursive": "true",
            "includeItemTypes": KINDS,
            "collapseBoxSetItems": "false",
            "sortBy": "DateCreated,SortName",  # new items appear at the end
            "sortOrder": "Ascending",
            "fields": "Path",
            "enableImages": "false",
            "enableUserData": "false",
            "enableTotalRecordCount": "false",
            "startIndex": str(start),
            "limit": str(PAGE),
        }
        return self._items(query)[1]

    def update(self, item: JellyfinItem) -> None:
        """Replaces an item, which must be whole."""
        self._post(f"/Items/{item['Id']}", json.dumps(item).encode("ascii"), "application/json")

    def notify(self, kind: str, paths: Sequence[str]) -> None:
        """Reports files as ``Created``, ``Modified`` or ``Deleted``. Answers 204 whether it knows them or not."""
        path = "/Library/Media/Updated"
        self._post(path, library_updated(kind, paths), "application/json", fixed_url=True)

    def image(self, item: JellyfinItem) -> bytes:
        """The file of an item's primary image."""
        return self._get(f"/Items/{item['Id']}/Images/Primary").body

    def set_image(self, item: JellyfinItem, image: bytes, media_type: str) -> None:
        """Sets an item's primary image.

        The body is base64, although the Content-Type is that of the image (ImageController).
        """
        self._post(f"/Items/{item['Id']}/Images/Primary", base64.b64encode(image), media_type)

    def about(self) -> str:
        """Product, version and name of the server."""
        answer = self._get("/System/Info", fixed_url=True)
        content = read_json(answer, self._server)
        if not isinstance(content, dict) or "Version" not in content:
            raise self._unexpected(answer, "no version")
        product = content.get("ProductName") or "Jellyfin Server"
        return f'{product} {content["Version"]} ("{content.get("ServerName") or ""}")'

    def libraries(self) -> list[Library]:
        """The libraries and their folders."""
        answer = self._get("/Library/VirtualFolders", fixed_url=True)
        content = read_json(answer, self._server)
        if not isinstance(content, list) or not all(
            isinstance(one, dict) and isinstance(one.get("Locations") or [], list) for one in content
        ):
            raise self._unexpected(answer, "no libraries")
        return [Library(str(one.get("Name")), tuple(map(str, one.get("Locations") or ()))) for one in content]

    def close(self) -> None:
        """Closes the connections."""
        self._client.close()

    def _items(self, query: dict[str, str]) -> tuple[Answer, list[JellyfinItem]]:
        answer = self._get(f"/Items?{urlencode(query, safe=',')}", fixed_url=True)
        content = read_json(answer, self._server)
        items = content.get("Items") if isinstance(content, dict) else None
        if not isinstance(items, list) or not all(
            isinstance(item, dict) and _ID.fullmatch(str(item.get("Id"))) for item in items
        ):
            raise self._unexpected(answer, "no list of items")
        return answer, items

    def _get(self, path: str, *, fixed_url: bool = False) -> Answer:
        headers = {**self._headers, "Accept": "application/json"} if fixed_url else self._headers
        return self._client.request(
            "GET", f"{self._server.url}{path}", headers=headers, limit=LARGEST, fixed_url=fixed_url
        )

    def _post(self, path: str, body: bytes, content_type: str, *, fixed_url: bool = False) -> None:
        headers = {**self._headers, "Content-Type": content_type}
        url = f"{self._server.url}{path}"
        check_write(
            self._client.request("POST", url, headers=headers, body=body, fixed_url=fixed_url), self._server
        )

    def _unexpected(self, answer: Answer, what: str) -> DeliveryFailed:
        said = self._client.excerpt(answer)
        return unexpected(self._server, answer, said, f"{what}; it must be Jellyfin 10.8 or newer")
