"""A stand-in for Emby 4.9: lookups by path, notices and refreshes over HTTP.

Written from shared/DESTINATIONS.md and from dev.emby.media's REST reference. It knows nothing of Stash Courier.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from tests.standin.media_server import MediaServer
from tests.standin.receivers import Received, Reply

KEY = "0123456789abcdef0123456789ABCDEF"


@dataclass(frozen=True)
class Item:
    """A movie or video."""

    id: str
    path: str
    name: str = "Film"


@dataclass(frozen=True)
class Notice:
    """One entry of ``POST /Library/Media/Updated``."""

    path: str
    kind: str  # Created, Modified, Deleted


class Emby(MediaServer):
    """One server.

    Args:
        items: its items.
        libraries: folders by name of the library.
    """

    def __init__(self, *items: Item, libraries: dict[str, tuple[str, ...]] | None = None) -> None:
        super().__init__(KEY)
        self.items = list(items)
        self.libraries = libraries if libraries is not None else {"Films": ("/media",)}
        self.notices: list[Notice] = []
        self.refreshes: list[tuple[str, dict[str, str]]] = []  # item id and parameters

    def answer(self, request: Received, path: str, query: dict[str, str]) -> Reply:
        """Answers a request."""
        if request.headers.get("x-emby-token") != KEY:
            return Reply(401, {"Content-Type": "text/plain"}, b"Access token is invalid or expired.")
        return self._route(request, path.removeprefix("/emby"), query)

    def _route(self, request: Received, path: str, query: dict[str, str]) -> Reply:
        match request.method, path.strip("/").split("/"):
            case "GET", ["System", "Info"]:
                return _json({"ServerName": "Shed", "Version": "4.9.1.80", "Id": "0123abcd"})
            case "GET", ["Library", "VirtualFolders", "Query"]:
                return _page([{"Name": n, "Locations": list(p)} for n, p in self.libraries.items()])
            case "GET", ["Items"]:
                return self._items(query)
            case "POST", ["Library", "Media", "Updated"]:
                return self._updated(request)
            case "POST", ["Items", item_id, "Refresh"]:
                if item_id not in {item.id for item in self.items}:
                    return Reply(404, {"Content-Type": "text/plain"}, b"Item not found")
                self.refreshes.append((item_id, query))
                return Reply(204)
        return Reply(404, {"Content-Type": "text/plain"}, b"Not found")

    def _items(self, query: dict[str, str]) -> Reply:
        if query.get("Recursive") != "true":  # then only the libraries are listed
            return _page([])
        found = [item for item in self.items if query.get("Path", item.path) == item.path]
        start, size = int(query.get("StartIndex", 0)), int(query.get("Limit", len(found)))
        found = found[start : start + size]
        shown = "Path" in query.get("Fields", "").split(",")
        return _page(
            [
                {"Id": i.id, "Name": i.name, "ServerId": "0123abcd", **({"Path": i.path} if shown else {})}
                for i in found
            ]
        )

    def _updated(self, request: Received) -> Reply:
        for update in request.json()["Updates"]:
            self.notices.append(Notice(update["Path"], update["UpdateType"]))
        return Reply(204)


def _page(rows: list[dict[str, Any]]) -> Reply:
    return _json({"Items": rows, "TotalRecordCount": len(rows)})


def _json(content: object) -> Reply:
    return Reply(200, {"Content-Type": "application/json; charset=utf-8"}, json.dumps(content).encode())
