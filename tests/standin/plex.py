"""A stand-in for Plex Media Server: libraries, items, edits, ratings, scans and posters over HTTP.

Written from shared/DESTINATIONS.md, from Plex's API description (LukeHagar/plex-api-spec), from what
python-plexapi sends and reads, and from what users report about real servers: listings cut lists; a list that is
sent replaces the item's (python-plexapi pull request 151; the page on arrays of plexopedia.com says that it is
added to, so both can be chosen); an edit without an id changes the whole library; an upload locks the poster
(nevu's metadata editor). It knows nothing of Stash Courier. It answers in JSON on request, else in XML.
"""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from tests.standin.media_server import MediaServer
from tests.standin.receivers import Received, Reply

TOKEN = "plex-Token_7Yx"  # the only valid X-Plex-Token
MACHINE = "96f2fe7a78c9dc1f16a16bedbe90f98149be16b4"  # its machineIdentifier
# Lists by their names in edits, with the names of their elements and how many of them a listing shows
# (python-plexapi issues 200 for collections, 249 for genres, 409 and 1194 for roles).
TAGS = {
    "genre": ("Genre", 2),
    "label": ("Label", 2),
    "actor": ("Role", 3),
    "director": ("Director", 2),
    "collection": ("Collection", 2),
}
SCALARS = ("title", "titleSort", "summary", "studio", "originallyAvailableAt", "addedAt")
SHOWN = (*SCALARS, "userRating")  # which no edit changes (Darklyter/StashPlexAgent.bundle, pull request 21)
# What an entry of the cast has beside its name: in edits and in items (python-plexapi issue 462).
CAST = {"tagging.text": "role", "tag.thumb": "thumb", "tag.tagKey": "tagKey"}
_TAG = re.compile(r"(\w+)\[(\d+)\]\.tag\.tag")
_REMOVAL = re.compile(r"(\w+)\[\]\.tag\.tag-")

Row = dict[str, Any]  # in XML, scalars are attributes and lists of rows are elements


@dataclass
class Item:
    """A movie or video."""

    files: tuple[str, ...]  # one version of one part per file
    key: int = 0  # ratingKey; assigned by the server. 0: answers leave it out
    values: dict[str, str] = field(default_factory=dict)  # by names in SHOWN
    tags: dict[str, list[str]] = field(default_factory=dict)  # by names in TAGS
    cast: dict[str, dict[str, str]] = field(default_factory=dict)  # by names of actors: values by names in CAST
    locked: set[str] = field(default_factory=set)
    posters: list[bytes] = field(default_factory=list)


@dataclass
class Library:
    """A library, which Plex's API calls a section."""

    key: str
    title: str
    locations: tuple[str, ...]
    type: str = "movie"  # includes "other videos"
    scanner: str = "Plex Movie"
    items: list[Item] = field(default_factory=list)


class Plex(MediaServer):
    """One server.

    Args:
        libraries: its libraries.
    """

    def __init__(self, *libraries: Library) -> None:
        super().__init__(TOKEN)
        self.libraries = list(libraries)
        self.name = "Attic"
        self.version = "1.41.3.9314-a0bfb8370"
        self.one_removal = False  # only the first removal of a request is executed
        self.replaces_tags = True  # the tags in an edit replace the item's; otherwise they are added
        self.scans: list[tuple[str, str]] = []  # library's key and folder; "" for the whole library
        self._keys = iter(range(101, 1_000_000))

    def add(self, library: Library, *files: str, **values: str) -> Item:
        """Adds an item as a scan does. The default title is the file's stem."""
        stem = re.split(r"[/\\]", files[0])[-1].rsplit(".", 1)[0]
        item = Item(files, next(self._keys), {"title": stem, **values})
        library.items.append(item)
        return item

    @property
    def lookups(self) -> list[Received]:
        """The requests for listings."""
        return self.requests("GET", r"/library/sections/\d+/all")

    @property
    def reads(self) -> list[Received]:
        """The requests for items by key."""
        return self.requests("GET", r"/library/metadata/[\d,]+")

    @property
    def edits(self) -> list[Received]:
        """The edits."""
        return self.requests("PUT", r"/library/sections/\d+/all")

    def answer(self, request: Received, path: str, query: dict[str, str]) -> Reply:
        """Answers a request."""
        if path == "/identity":  # needs no token (plexopedia.com, "Server Identity")
            about = {"size": 0, "claimed": True, "machineIdentifier": MACHINE, "version": self.version}
            return self._reply(request, about)
        if request.headers.get("x-plex-token") != TOKEN:
            return error(401, "Unauthorized")
        return self._route(request, path, query)

    def _route(self, request: Received, path: str, query: dict[str, str]) -> Reply:
        match request.method, path.strip("/").split("/"):
            case "GET", [""]:
                about = {"friendlyName": self.name, "machineIdentifier": MACHINE, "version": self.version}
                return self._reply(request, about)
            case "GET", ["library"]:
                return self._reply(request, {"title1": "Plex Library"})
            case "GET", ["library", "sections"]:
                return self._reply(request, {"Directory": [section(library) for library in self.libraries]})
            case "PUT", [":", "rate"]:
                return self._rate(query)
            case _, ["library", "sections", key, action] if found := [x for x in self.libraries if x.key == key]:
                return self._section(request, found[0], action, query)
            case _, ["library", "metadata", key, *rest] if items := self._items(key):
                return self._metadata(request, items, rest)
        return error(404, "Not Found")

    def _items(self, keys: str) -> list[tuple[Library, Item]]:
        wanted = keys.split(",")
        return [(library, item) for library in self.libraries for item in library.items if str(item.key) in wanted]

    def _section(self, request: Received, library: Library, action: str, query: dict[str, str]) -> Reply:
        match request.method, action:
            case "GET", "all":
                if "file" in query and "type" not in query:
                    return error(500, "Internal Server Error")
                return self._listing(request, library, query)
            case "PUT", "all":
                return self._edit(library, query)
            case "GET", "refresh":
                self.scans.append((library.key, query.get("path", "")))
                return Reply(200)
        return error(404, "Not Found")

    def _listing(self, request: Received, library: Library, query: dict[str, str]) -> Reply:
        found = [
            item
            for item in library.items
            # a comma separates alternatives, as in every filter
            if any(
                part.lower() in file.lower() for file in item.files for part in query.get("file", "").split(",")
            )
            and all(query[k].lower() in item.values.get(k, "").lower() for k in SHOWN if k in query)
        ]
        start, size = (
            int(query.get(name) or request.headers.get(name.lower()) or default)
            for name, default in (("X-Plex-Container-Start", 0), ("X-Plex-Container-Size", len(found)))
        )
        rows = [metadata(library, item, cut=True) for item in found[start : start + size]]
        return self._reply(request, {"totalSize": len(found), "offset": start, "Metadata": rows})

    def _metadata(self, request: Received, found: list[tuple[Library, Item]], rest: list[str]) -> Reply:
        match request.method, rest:
            case "GET", []:
                return self._reply(request, {"Metadata": [metadata(*one, cut=False) for one in found]})
            case "POST", ["posters"]:
                found[0][1].posters.append(request.body)
                found[0][1].locked.add("thumb")
                return Reply(200)
        return error(404, "Not Found")

    def _rate(self, query: dict[str, str]) -> Reply:
        found = [item for _, item in self._items(query.get("key", ""))]
        try:
            rating = float(query["rating"])
        except (KeyError, ValueError):
            return error(400, "Bad Request")
        if query.get("identifier") != "com.plexapp.plugins.library" or not found or not -1 <= rating <= 10:
            return error(400, "Bad Request")
        found[0].values.pop("userRating", None)
        if rating >= 0:
            found[0].values["userRating"] = f"{rating:g}"
        return Reply(200)

    def _edit(self, library: Library, query: dict[str, str]) -> Reply:
        # The id is a filter: without one, all items match.
        keys = list(filter(None, query.get("id", "").split(",")))
        items = [item for item in library.items if not keys or str(item.key) in keys]
        if query.get("type") != "1" or not items:
            return error(400, "Bad Request")
        for item in items:
            self._change(item, query)
        return Reply(200)

    def _change(self, item: Item, query: dict[str, str]) -> None:
        for name, value in query.items():
            what, _, how = name.partition(".")
            if how == "value" and what in SCALARS:
                item.values[what] = value
            elif how == "locked":
                (item.locked.add if value == "1" else item.locked.discard)(what)
        for what in TAGS:
            given = {m[2]: v for k, v in query.items() if (m := _TAG.fullmatch(k)) and m[1] == what}
            removals = [v for k, v in query.items() if (m := _REMOVAL.fullmatch(k)) and m[1] == what]
            if not given and not removals:
                continue
            gone = [unquote(name) for name in ",".join(removals).split(",") if name]
            kept = [] if given and self.replaces_tags else item.tags.get(what, [])
            after = list(dict.fromkeys([*kept, *given.values()]))
            gone = gone[:1] if self.one_removal else gone
            item.tags[what] = [tag for tag in after if tag not in gone]
            if what == "actor":
                for n, name in given.items():
                    sent = {ours: query.get(f"actor[{n}].{theirs}") for theirs, ours in CAST.items()}
                    had = {} if self.replaces_tags else item.cast.get(name, {})
                    item.cast[name] = {**had, **{k: v for k, v in sent.items() if v}}

    def _reply(self, request: Received, container: Row) -> Reply:
        rows = next((value for value in container.values() if isinstance(value, list)), None)
        if rows is not None:
            container = {"size": len(rows), **container}
        if "application/json" in request.headers.get("accept", ""):
            body = json.dumps({"MediaContainer": container}).encode()
            return Reply(200, {"Content-Type": "application/json"}, body)
        body = ET.tostring(element("MediaContainer", container), "utf-8", xml_declaration=True)
        return Reply(200, {"Content-Type": "text/xml;charset=utf-8"}, body)


def section(library: Library) -> Row:
    """A library in ``/library/sections``."""
    return {
        "key": library.key,
        "type": library.type,
        "title": library.title,
        "scanner": library.scanner,
        "Location": [{"id": n, "path": path} for n, path in enumerate(library.locations, 1)],
    }


def metadata(library: Library, item: Item, *, cut: bool) -> Row:
    """An item in a listing (``cut``) or on its own page. Unset values are absent."""
    row: Row = {
        **({"ratingKey": str(item.key), "key": f"/library/metadata/{item.key}"} if item.key else {}),
        "type": library.type,
        "librarySectionID": int(library.key),
        **{name: value for name in SHOWN if (value := item.values.get(name))},
    }
    if "userRating" in row:
        row["userRating"] = float(row["userRating"])
    if "addedAt" in row:
        row["addedAt"] = int(row["addedAt"])
    row["Media"] = [{"id": n, "Part": [{"id": n, "file": file}]} for n, file in enumerate(item.files, 1)]
    for what, (name, shown) in TAGS.items():
        if tags := item.tags.get(what):
            more = item.cast if what == "actor" else {}
            row[name] = [{"tag": tag, **more.get(tag, {})} for tag in (tags[:shown] if cut else tags)]
    if item.locked and not cut:
        row["Field"] = [{"locked": True, "name": name} for name in sorted(item.locked)]
    return row


def element(name: str, row: Row) -> ET.Element:
    """A row as XML."""
    made = ET.Element("Video" if name == "Metadata" else name)
    for key, value in row.items():
        if isinstance(value, list):
            made.extend(element(key, inner) for inner in value)
        else:
            made.set(key, str(int(value) if isinstance(value, bool) else value))
    return made


def error(status: int, phrase: str) -> Reply:
    """An error, which Plex sends as an HTML page."""
    page = f"<html><head><title>{phrase}</title></head><body><h1>{status} {phrase}</h1></body></html>"
    return Reply(status, {"Content-Type": "text/html"}, page.encode())
