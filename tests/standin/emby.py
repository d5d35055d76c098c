"""A stand-in for Emby 4.9: lookups by path, notices and refreshes over HTTP.

Written from shared/DESTINATIONS.md and from dev.emby.media's REST reference. It knows nothing of Stash Courier.
"""

from __future__ import annotations

import json
import re
import threading
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

from tests.standin.receivers import Received, Receiver, Reply

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


class Emby:
    """One server. It listens inside its ``with`` block, which fails if a URL contained the key.

    Args:
        items: its items.
        libraries: folders by name of the library.
    """

    def __init__(self, *items: Item, libraries: dict[str, tuple[str, ...]] | None = None) -> None:
        self.items = list(items)
        self.libraries = libraries if libraries is not None else {"Films": ("/media",)}
        self.notices: list[Notice] = []
        self.refreshes: list[tuple[str, dict[str, str]]] = []  # item id and parameters
        self._lock = threading.Lock()
        self.receiver = Receiver(self._answer)

    @property
    def url(self) -> str:
        """Its address, without a trailing slash."""
        return self.receiver.url.rstrip("/")

    def requests(self, method: str = "", path: str = "") -> list[Received]:
        """The requests so far, filtered by method and by a regular expression for the whole path."""
        fits = re.compile(path or ".*")
        return [
            r
            for r in self.receiver.received
            if r.method == (method or r.method) and fits.fullmatch(urlsplit(r.path).path)
        ]

    def __enter__(self) -> Self:
        self.receiver.up()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.receiver.down()
        leaks = [r.path for r in self.receiver.received if KEY in unquote(r.path)]
        assert not leaks, f"the key was in a URL: {leaks}"

    def _answer(self, request: Received) -> Reply:
        parts = urlsplit(request.path)
        query = {name: values[-1] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
        with self._lock:
            if request.headers.get("x-emby-token") != KEY:
                return Reply(401, {"Content-Type": "text/plain"}, b"Access token is invalid or expired.")
            return self._route(request, parts.path.removeprefix("/emby"), query)

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
