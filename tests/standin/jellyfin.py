"""A stand-in for Jellyfin on loopback, which also loses the fields that an update leaves out.

For tests and the demo. Written from Jellyfin's sources, 10.8 to 12 (ItemUpdateController, ItemsController,
DtoService, ImageController, LibraryManager.GetNewItemId, AuthorizationContext), not from our client. It implements
only what our client uses, and knows nothing of Stash Courier.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
import threading
import uuid
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, unquote_plus, urlsplit

from tests.standin.receivers import Received, Receiver, Reply

KEY = "0123456789abcdef0123456789abcdef"  # the only valid API key
USER = "5f6d4e3c2b1a40998877665544332211"  # the only user
LONGEST_REQUEST_LINE = 8192  # bytes; the default of Kestrel and of common proxies

CLASSES = {"Movie": "Movies.Movie", "Video": "Video", "MusicVideo": "MusicVideo", "Episode": "TV.Episode"}
LOCKABLE = {
    "Cast",
    "Genres",
    "ProductionLocations",
    "Studios",
    "Tags",
    "Name",
    "Overview",
    "Runtime",
    "OfficialRating",
}
# Fields to request, and the parts of an item that are sent only then.
ON_REQUEST = {
    "Path": ("Path",),
    "Settings": (
        "LockedFields",
        "LockData",
        "ForcedSortName",
        "PreferredMetadataCountryCode",
        "PreferredMetadataLanguage",
    ),
    "Tags": ("Tags",),
    "Genres": ("Genres",),
    "Studios": ("Studios",),
    "People": ("People",),
    "ProviderIds": ("ProviderIds",),
    "Overview": ("Overview",),
    "OriginalTitle": ("OriginalTitle",),
    "Taglines": ("Taglines",),
    "CustomRating": ("CustomRating",),
    "ProductionLocations": ("ProductionLocations",),
    "DateCreated": ("DateCreated",),
    "SpecialEpisodeNumbers": ("AirsBeforeSeasonNumber", "AirsAfterSeasonNumber", "AirsBeforeEpisodeNumber"),
}
# What an update does with each field, in the order of the server's code. A missing field becomes null ("replace"),
# is left alone ("keep"), or before version 12 fails the request after the fields above were changed ("require").
UPDATE = {
    "People": "keep",
    "Name": "replace",
    "ForcedSortName": "replace",
    "OriginalTitle": "replace",
    "CriticRating": "replace",
    "CommunityRating": "replace",
    "IndexNumber": "replace",
    "ParentIndexNumber": "replace",
    "Overview": "replace",
    "Genres": "require",
    "AirsAfterSeasonNumber": "replace",
    "AirsBeforeEpisodeNumber": "replace",
    "AirsBeforeSeasonNumber": "replace",
    "Taglines": "keep",
    "Studios": "keep",
    "DateCreated": "keep",
    "EndDate": "replace",
    "PremiereDate": "replace",
    "ProductionYear": "replace",
    "OfficialRating": "replace",
    "CustomRating": "replace",
    "Tags": "require",
    "ProductionLocations": "keep",
    "PreferredMetadataCountryCode": "replace",
    "PreferredMetadataLanguage": "replace",
    "AspectRatio": "replace",
    "LockData": "replace",
    "LockedFields": "keep",
    "ProviderIds": "require",
}

_ID = re.compile(r"[0-9a-f]{32}")
_IMAGE_MARKS = {"image/jpeg": b"\xff\xd8\xff", "image/png": b"\x89PNG", "image/webp": b"RIFF"}


@dataclass
class StandInJellyfin:
    """One server. It listens inside its ``with`` block, and its fields can be set at any time.

    ``counts`` has the number of requests by route, such as ``GET /Items?ids`` and ``POST /Items/{id}``.
    """

    version: str = "10.10.7"
    prefix: str = ""  # the path it is served below, such as "/jellyfin"
    starting: bool = False  # answers 503 to everything
    retry_after: int | None = None  # sent with 503; only the setup server of 10.11 does that
    computed_ids: bool = True  # False: random ids
    libraries: dict[str, list[str]] = field(default_factory=lambda: {"Movies": ["/media/movies"]})
    items: dict[str, dict[str, Any]] = field(default_factory=dict)  # by id, whole
    images: dict[str, bytes] = field(default_factory=dict)  # primary images by item id
    notified: list[dict[str, str]] = field(default_factory=list)  # Path and UpdateType
    posted: list[dict[str, Any]] = field(default_factory=list)  # bodies of item updates
    counts: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.receiver = Receiver(self._answer)
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        """Its address, without a trailing slash."""
        return f"{self.receiver.url.rstrip('/')}{self.prefix}"

    def add(self, path: str, kind: str = "Movie", **values: Any) -> str:
        """Adds an item as a scan does; returns its id."""
        item_id = self._id_of(path, kind)
        stem = path.replace("\\", "/").rpartition("/")[2].rpartition(".")[0]
        with self._lock:
            self.items[item_id] = {
                "Name": stem,
                "Id": item_id,
                "Type": kind,
                "MediaType": "Video",
                "Path": path,
                "DateCreated": f"2024-01-01T00:00:00.{len(self.items):07}Z",
                "LockedFields": [],
                "LockData": False,
                "Tags": [],
                "Genres": [],
                "Studios": [],
                "People": [],
                "ProviderIds": {},
                "Taglines": [],
                "ProductionLocations": [],
                "RunTimeTicks": 600_000_000,
                **values,
            }
        return item_id

    def people(self, item_id: str, kind: str) -> list[str]:
        """The names of an item's people of one kind."""
        return [p["Name"] for p in self.items[item_id]["People"] if p["Type"] == kind]

    def __enter__(self) -> Self:
        self.receiver.up()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.receiver.down()

    @property
    def _major(self) -> int:
        return int(self.version.split(".", 1)[0])

    def _id_of(self, path: str, kind: str) -> str:
        if not self.computed_ids:
            return uuid.uuid4().hex
        digest = hashlib.md5(
            f"MediaBrowser.Controller.Entities.{CLASSES[kind]}{path}".encode("utf-16-le")
        ).digest()
        return uuid.UUID(bytes_le=digest).hex

    # Answering

    def _answer(self, request: Received) -> Reply:
        with self._lock:
            return self._route(request)

    def _route(self, request: Received) -> Reply:
        target = urlsplit(request.path)
        query = {name.lower(): values[-1] for name, values in parse_qs(target.query).items()}
        path = target.path.removeprefix(self.prefix)
        if len(request.method) + len(request.path) + len("  HTTP/1.1") > LONGEST_REQUEST_LINE:
            return Reply(414)
        if not target.path.startswith(f"{self.prefix}/"):
            return Reply(302, {"Location": f"{self.prefix}/web/"})
        route = f"{request.method} {_ID.sub('{id}', path)}"
        self.counts[f"{route}?ids" if query.get("ids") else route] += 1
        if self.starting:
            wait = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
            return Reply(503, {"Content-Type": "text/html", **wait}, b"Jellyfin is loading.")
        if route == "GET /System/Info/Public":
            return self._json(self._info())
        if self._token(request.headers, query) != KEY:
            return Reply(401)
        item_id = (_ID.findall(path.removeprefix(f"/Users/{USER}")) or [""])[0]
        if item_id:
            return self._about_item(route, item_id, query, request)
        match route:
            case "GET /System/Info":
                return self._json(self._info())
            case "GET /Library/VirtualFolders":
                return self._json([{"Name": n, "Locations": f} for n, f in self.libraries.items()])
            case "GET /Items" | "GET /Users/{id}/Items":
                return self._list(query)
            case "POST /Library/Media/Updated":
                return self._notified(json.loads(request.body))
        return Reply(404)

    def _about_item(self, route: str, item_id: str, query: Mapping[str, str], request: Received) -> Reply:
        item = self.items.get(item_id)
        if route == "GET /Items/{id}" and query.get("userid") != USER:
            return _failed(400)  # an API key has no user
        if item is None:
            return Reply(404)
        match route:
            case "GET /Items/{id}" | "GET /Users/{id}/Items/{id}":
                return self._json(self._shown(item, {name.lower() for name in ON_REQUEST}))
            case "POST /Items/{id}":
                return self._update(item, json.loads(request.body))
            case "POST /Items/{id}/Images/Primary":
                return self._save_image(item, request)
            case "GET /Items/{id}/Images/Primary" if item_id in self.images:
                return Reply(200, {"Content-Type": "image/jpeg"}, self.images[item_id])
        return Reply(404)

    def _token(self, headers: Mapping[str, str], query: Mapping[str, str]) -> str:
        legacy = self._major < 12  # accepts the old headers and ?api_key=
        scheme, _, parts = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "mediabrowser" or (legacy and scheme.lower() == "emby"):
            found = {name.lower(): unquote_plus(value) for name, value in re.findall(r'(\w+)="([^"]*)"', parts)}
            if found.get("token"):
                return found["token"]
        old = (headers.get("x-emby-token"), headers.get("x-mediabrowser-token"), query.get("api_key"))
        return next(filter(None, old if legacy else ()), None) or query.get("apikey", "")

    def _info(self) -> dict[str, Any]:
        return {
            "ServerName": "stand-in",
            "Version": self.version,
            "ProductName": "Jellyfin Server",
            "Id": "f" * 32,
        }

    # Reading

    def _list(self, query: Mapping[str, str]) -> Reply:
        if query.get("ids"):
            # Guid.Parse accepts ids with or without dashes. Invalid ids are ignored.
            wanted = dict.fromkeys(i.replace("-", "").lower() for i in query["ids"].split(","))
            found = [self.items[item_id] for item_id in wanted if item_id in self.items]
        elif query.get("recursive") == "true":
            kinds = set(filter(None, query.get("includeitemtypes", "").split(",")))
            found = [item for item in self.items.values() if not kinds or item["Type"] in kinds]
        else:
            found = []  # the folders of the root
        if query.get("sortby", "").startswith("DateCreated"):
            found.sort(key=lambda item: item["DateCreated"])
        total = len(found)
        start = int(query.get("startindex", 0))
        found = found[start:][: int(query.get("limit", total))]
        fields = {name.lower() for name in query.get("fields", "").split(",")}
        images = query.get("enableimages", "true") == "true"
        items = [self._shown(item, fields, images=images) for item in found]
        counted = query.get("enabletotalrecordcount", "true") == "true"
        return self._json({"Items": items, "TotalRecordCount": total if counted else 0, "StartIndex": start})

    def _shown(self, item: Mapping[str, Any], fields: set[str], *, images: bool = True) -> dict[str, Any]:
        """The JSON of an item, without fields that weren't requested and without nulls."""
        hidden = {key for name, keys in ON_REQUEST.items() if name.lower() not in fields for key in keys}
        shown = {key: value for key, value in item.items() if value is not None and key not in hidden}
        if images:
            image = self.images.get(item["Id"])
            shown["ImageTags"] = {} if image is None else {"Primary": hashlib.md5(image).hexdigest()}
        if not shown.get("CommunityRating"):
            shown.pop("CommunityRating", None)
        return shown

    # Changing

    def _update(self, item: dict[str, Any], sent: dict[str, Any]) -> Reply:
        """Replaces the item in the order of the server's code, so a failure leaves a half-changed item."""
        self.posted.append(sent)
        if not set(sent.get("LockedFields") or ()) <= LOCKABLE:
            return _failed(400)  # the body has the wrong type
        for key, how in UPDATE.items():
            value = sent.get(key)
            if value is not None:
                item[key] = _stored(key, value)
            elif how == "require" and self._major < 12:
                return _failed(400)
            elif how == "replace":
                item[key] = False if key == "LockData" else None
        return Reply(204)

    def _notified(self, sent: dict[str, Any]) -> Reply:
        for update in sent["Updates"]:
            if not update.get("Path"):
                return _failed(400)
            self.notified.append(update)
        return Reply(204)

    def _save_image(self, item: dict[str, Any], request: Received) -> Reply:
        media_type = request.headers.get("content-type", "").split(";")[0]
        if media_type not in _IMAGE_MARKS:
            return Reply(400, {"Content-Type": "application/json"}, b'"Incorrect ContentType."')
        try:
            image = base64.b64decode(request.body, validate=True)
        except binascii.Error:
            return _failed(500)
        if not image.startswith(_IMAGE_MARKS[media_type]):
            return _failed(500)
        self.images[item["Id"]] = image
        return Reply(204)

    def _json(self, content: Any) -> Reply:
        headers = {"Content-Type": "application/json; charset=utf-8"}
        return Reply(200, headers, json.dumps(content, ensure_ascii=False).encode("utf-8", "surrogatepass"))


def _stored(key: str, value: Any) -> Any:
    """A value of an update, as the server stores it."""
    match key:
        case "People":
            return [
                {"Name": p["Name"], "Role": p.get("Role") or "", "Type": p.get("Type", "Unknown")} for p in value
            ]
        case "Studios":
            return [{"Name": s["Name"], "Id": hashlib.md5(s["Name"].encode()).hexdigest()} for s in value]
        case "Tags":
            return list({tag.strip().lower(): tag.strip() for tag in reversed(value)}.values())[::-1]
        case "Taglines":
            return value[:1]
        case "ProviderIds":
            return {name: text for name, text in value.items() if text}
        case _:
            return value


def _failed(status: int) -> Reply:
    return Reply(status, {"Content-Type": "text/plain"}, b"Error processing request.")
