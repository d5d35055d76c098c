"""The part of Jellyfin's HTTP API that the destination uses, versions 10.8 to 12. Decides nothing.

Plain HTTP, because the Python clients hide which failures may be retried.
"""

from __future__ import annotations

import base64
import itertools
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode
from uuid import UUID

from stash_courier.queue.failures import DeliveryFailed
from stash_courier.worker import VERSION
from stash_courier.worker.connections.model import Policy
from stash_courier.worker.destinations.jellyfin.items import READ, JellyfinItem, wrong_in
from stash_courier.worker.destinations.media.api import JSON, MediaApi, library_updated, read_json
from stash_courier.worker.destinations.media.libraries import MIXED, Library
from stash_courier.worker.destinations.media.settings import Server
from stash_courier.worker.http.client import Answer
from stash_courier.worker.paths import PathMap, path_map

PAGE = 1000  # items in one request for the listing
# Ids in one request: four for each of 50 scenes. They make a request line of 6.9 KB; servers and proxies accept 8.
IDS_AT_ONCE = 200
KINDS = "Movie,Video,MusicVideo,Episode"

_ID = re.compile(r"[0-9a-fA-F]{8}-?(?:[0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}")
_KEYS = "enter a key that was made in Jellyfin under Dashboard, API Keys"
_BUSY = (
    "it is starting or busy, so we wait; if this lasts for a day while Jellyfin is running, its own settings "
    "(Dashboard, Networking) refuse this machine"
)


class JellyfinApi(MediaApi):
    """One Jellyfin server."""

    def __init__(self, server: Server, policy: Policy) -> None:
        # The only scheme that 12 accepts by default. It URL-decodes the values (AuthorizationContext.GetParts).
        client = {
            "Token": server.key,
            "Client": "Stash Courier",
            "Device": "Stash",
            "DeviceId": "stash-courier",
            "Version": VERSION,
        }
        parts = ", ".join(f'{name}="{quote(value, safe=" ")}"' for name, value in client.items())
        headers = {"Authorization": f"MediaBrowser {parts}"}
        super().__init__(server, policy, headers, _KEYS, {503: _BUSY})

    def items(self, ids: Iterable[str]) -> list[JellyfinItem]:
        """The items with these ids, whole; ids that don't exist are left out.

        ``GET /Items/{id}`` can't be used: it answers 400 to an API key.
        """
        answer, found = self._items({"ids": ",".join(ids), "fields": READ, "enableUserData": "false"})
        for wrong in filter(None, map(wrong_in, found)):
            raise self._unexpected(answer, wrong)
        return found

    def page(self, start: int, fields: str = "Path") -> list[JellyfinItem]:
        """A page of the listing of all videos, with ids and these fields. The last page is shorter than PAGE."""
        query = {"recursive": "true", "includeItemTypes": KINDS, "collapseBoxSetItems": "false", "fields": fields}
        return self._page(query, start, "DateCreated,SortName")  # new items appear at the end

    def sources(self, ids: Iterable[str]) -> list[JellyfinItem]:
        """The items with these ids, with the paths of all their versions and nothing else."""
        return self._items({"ids": ",".join(ids), "fields": "Path,MediaSources", "enableUserData": "false"})[1]

    def update(self, item: JellyfinItem) -> None:
        """Replaces an item, which must be whole."""
        self._write("POST", f"/Items/{item['Id']}", json.dumps(item).encode("ascii"), JSON)

    def notify(self, kind: str, paths: Sequence[str]) -> None:
        """Reports files as ``Created``, ``Modified`` or ``Deleted``. Answers 204 whether it knows them or not."""
        self._write("POST", "/Library/Media/Updated", library_updated(kind, paths), JSON, fixed_url=True)

    def image(self, item: JellyfinItem) -> bytes:
        """The file of an item's primary image."""
        return self._get(f"/Items/{item['Id']}/Images/Primary", accept="").body

    def set_image(self, item: JellyfinItem, image: bytes, media_type: str) -> None:
        """Sets an item's primary image.

        The body is base64, although the Content-Type is that of the image (ImageController).
        """
        self._write("POST", f"/Items/{item['Id']}/Images/Primary", base64.b64encode(image), media_type)

    def has_image(self, item_id: str) -> bool:
        """Whether an item has a primary image now; also of a person."""
        answer = self._get(f"/Items/{item_id}/Images")
        images = read_json(answer, self._server)
        if not isinstance(images, list) or not all(isinstance(one, dict) for one in images):
            raise self._unexpected(answer, "no list of images")
        return any(image.get("ImageType") == "Primary" for image in images)

    def collections(self, start: int = 0, term: str = "") -> list[JellyfinItem]:
        """A page of the listing of all collections, with ids, names and paths. The last is shorter than PAGE.

        ``term``: only those whose name contains it.
        """
        search = {"searchTerm": term} if term else {}
        query = {"recursive": "true", "includeItemTypes": "BoxSet", **search, "fields": "Path"}
        return self._page(query, start)

    def collected(self, collection: str, start: int) -> list[JellyfinItem]:
        """A page of what is in a collection, with ids. The last page is shorter than PAGE.

        Without ``recursive`` an API key is shown nothing (Folder.GetItemsInternal: the linked items are left out).
        """
        return self._page({"parentId": collection, "recursive": "true", "collapseBoxSetItems": "false"}, start)

    def create_collection(self, name: str, item_id: str) -> str:
        """Makes a collection with one item; returns its id.

        Jellyfin keeps it in a folder that is named after it. If that folder is there, the collection in it is
        replaced and its items are lost (CollectionManager.CreateCollectionAsync).
        """
        url = f"{self._server.url}/Collections?{urlencode({'name': name, 'ids': item_id})}"
        answer = self._client.request("POST", url, headers={**self._headers, "Accept": JSON}, body=b"")
        content = read_json(answer, self._server)
        found = str(content.get("Id")) if isinstance(content, dict) else ""
        if not _ID.fullmatch(found):
            raise self._unexpected(answer, "no collection")
        return found

    def collect(self, collection: str, item_id: str) -> None:
        """Adds an item to a collection. 204 also if it is in it; 400 if there is no such collection or item."""
        self._write("POST", f"/Collections/{collection}/Items?ids={item_id}", b"")

    def take_out(self, collection: str, item_id: str) -> None:
        """Takes an item out of a collection, which stays. 204 also if it isn't in it; 400 as in ``collect``."""
        self._write("DELETE", f"/Collections/{collection}/Items?ids={item_id}")

    def source_paths(self, item_id: str) -> list[str]:
        """The paths of the files that can be played as an item; none if there is no such item.

        From 12, ``/Items?ids=`` leaves out the other versions of an item. This doesn't.
        """
        try:
            answer = self._get(f"/Items/{item_id}/PlaybackInfo")
        except DeliveryFailed as failed:
            if failed.status == 404:
                return []
            raise
        content = read_json(answer, self._server)
        sources = content.get("MediaSources") if isinstance(content, dict) else None
        if not isinstance(sources, list):
            raise self._unexpected(answer, "no list of media sources")
        return [str(one.get("Path")) for one in sources if isinstance(one, dict)]

    def persons(self, item_id: str) -> list[JellyfinItem]:
        """The persons in an item's cast, also those whom its ``People`` leave out."""
        query = {"appearsInItemId": item_id, "enableImages": "false", "enableUserData": "false"}
        return self._items(query, "/Persons")[1]

    def about(self) -> str:
        """Product, version and name of the server."""
        content = self._info()
        product = content.get("ProductName") or "Jellyfin Server"
        return f'{product} {content["Version"]} ("{content.get("ServerName") or ""}")'

    def version(self) -> tuple[int, int]:
        """The first two numbers of the server's version; (0, 0) if they can't be read."""
        found = re.match(r"(\d+)\.(\d+)", str(self._info()["Version"]))
        return (int(found[1]), int(found[2])) if found else (0, 0)

    def _info(self) -> dict[str, Any]:
        answer = self._get("/System/Info", fixed_url=True)
        content = read_json(answer, self._server)
        if not isinstance(content, dict) or "Version" not in content:
            raise self._unexpected(answer, "no version")
        return content

    def substitutions(self) -> PathMap:
        """What answers show instead of the beginning of a file's path.

        The server's configuration has PathSubstitutions; up to 10.9 a library's folder may have a NetworkPath
        (LibraryManager.GetPathAfterNetworkSubstitution).
        """
        answer = self._get("/System/Configuration", fixed_url=True)
        content = read_json(answer, self._server)
        found = content.get("PathSubstitutions") if isinstance(content, dict) else None
        rules = [(one.get("From"), one.get("To")) for one in found or () if isinstance(one, dict)]
        for folder in self._folders():
            infos = (folder.get("LibraryOptions") or {}).get("PathInfos") or ()
            rules += [(one.get("Path"), one.get("NetworkPath")) for one in infos if isinstance(one, dict)]
        return path_map((str(source), str(target)) for source, target in rules if source and target)

    def libraries(self) -> list[Library]:
        """The libraries and their folders."""
        return [_library(one) for one in self._folders()]

    def _folders(self) -> list[dict[str, Any]]:
        answer = self._get("/Library/VirtualFolders", fixed_url=True)
        content = read_json(answer, self._server)
        if not isinstance(content, list) or not all(
            isinstance(one, dict) and isinstance(one.get("Locations") or [], list) for one in content
        ):
            raise self._unexpected(answer, "no libraries")
        return content

    def _page(self, query: Mapping[str, str], start: int, by: str = "SortName") -> list[JellyfinItem]:
        shown = dict.fromkeys(("enableImages", "enableUserData", "enableTotalRecordCount"), "false")
        which = {"sortBy": by, "sortOrder": "Ascending", "startIndex": str(start), "limit": str(PAGE)}
        return self._items({**query, **shown, **which})[1]

    def _items(self, query: dict[str, str], path: str = "/Items") -> tuple[Answer, list[JellyfinItem]]:
        answer = self._get(f"{path}?{urlencode(query, safe=',')}", fixed_url=True)
        content = read_json(answer, self._server)
        items = content.get("Items") if isinstance(content, dict) else None
        if not isinstance(items, list) or not all(
            isinstance(item, dict) and _ID.fullmatch(str(item.get("Id"))) for item in items
        ):
            raise self._unexpected(answer, "no list of items")
        return answer, items

    def _unexpected(self, answer: Answer, what: str = "") -> DeliveryFailed:
        return super()._unexpected(answer, f"{what}; it must be Jellyfin 10.8 or newer")


def pages(page: Callable[[int], list[JellyfinItem]]) -> Iterator[list[JellyfinItem]]:
    """The pages of a listing. Each item comes once: a listing may move between two pages.

    Args:
        page: asks for the page with this start; the last one is shorter than PAGE.
    """
    seen: set[bytes] = set()
    for start in itertools.count(0, PAGE):
        items = page(start)
        new = {key: item for item in items if (key := UUID(item["Id"]).bytes) not in seen}
        seen |= new.keys()
        yield list(new.values())
        if len(items) < PAGE or not new:
            break


def _library(folder: dict[str, Any]) -> Library:
    """A library with its options (MediaBrowser.Model.Configuration.LibraryOptions).

    Without a list of savers the server's default applies, which is to save. Of another option that is missing, the
    worse is assumed.
    """
    options = folder.get("LibraryOptions")
    options = options if isinstance(options, dict) else {}
    savers = options.get("MetadataSavers")
    return Library(
        str(folder.get("Name")),
        tuple(map(str, folder.get("Locations") or ())),
        type=str(folder.get("CollectionType") or MIXED),
        saves_nfo=not isinstance(savers, list) or any(str(one).casefold() == "nfo" for one in savers),
        images_beside=options.get("SaveLocalMetadata") is not False,
    )
