"""The HTTP API of the stand-in.

From Jellyfin's ItemsController, ItemUpdateController, ImageController, PersonsController, CollectionController,
LibraryController, MediaInfoController and AuthorizationContext.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, unquote_plus, urlsplit

from tests.standin.jellyfin import dto
from tests.standin.jellyfin.disk import LibraryOptions
from tests.standin.jellyfin.state import USER, State
from tests.standin.receivers import Received, Receiver, Reply

__all__ = ["KEY", "USER", "StandInJellyfin"]

KEY = "0123456789abcdef0123456789abcdef"  # the only valid API key
LONGEST_REQUEST_LINE = 8192  # bytes; the default of Kestrel and of common proxies

_ID = re.compile(r"[0-9a-f]{32}")
_IMAGE_MARKS = {"image/jpeg": b"\xff\xd8\xff", "image/png": b"\x89PNG", "image/webp": b"RIFF"}


@dataclass
class StandInJellyfin(State):
    """One server. It listens inside its ``with`` block.

    ``counts`` has the number of requests by route, such as ``GET /Items?ids`` and ``POST /Items/{id}``.
    """

    prefix: str = ""  # the path it is served below, such as "/jellyfin"
    starting: bool = False  # answers 503 to everything
    retry_after: int | str | None = None  # sent with 503; only the setup server of 10.11 and later does that
    counts: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.receiver = Receiver(self._answer)

    @property
    def url(self) -> str:
        """Its address, without a trailing slash."""
        return f"{self.receiver.url.rstrip('/')}{self.prefix}"

    def __enter__(self) -> Self:
        self.receiver.up()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.receiver.down()

    # Answering

    def _answer(self, request: Received) -> Reply:
        with self._lock:
            self.run_due()
            return self._route(request)

    def _route(self, request: Received) -> Reply:
        target = urlsplit(request.path)
        values = parse_qs(target.query, keep_blank_values=True)
        query = {name.lower(): found[-1] for name, found in values.items()}
        path = target.path.removeprefix(self.prefix)
        if len(request.method) + len(request.path) + len("  HTTP/1.1") > LONGEST_REQUEST_LINE:
            return Reply(414)
        if not target.path.startswith(f"{self.prefix}/"):
            return Reply(302, {"Location": f"{self.prefix}/web/"})
        route = f"{request.method} {_ID.sub('{id}', path)}"
        self.counts[f"{route}?ids" if query.get("ids") and path == "/Items" else route] += 1
        if self.starting:
            return self._starting()
        if self._token(request.headers, query) != KEY:
            return Reply(401)
        found = (_ID.findall(path.removeprefix(f"/Users/{self.user}")) or [""])[0]
        if route.startswith(("POST /Collections", "DELETE /Collections")):
            return self._about_collection(route, found, query)
        if found:
            return self._about_item(route, found, query, request)
        return self._about_server(route, query, request)

    def _starting(self) -> Reply:
        wait = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        page = b"Jellyfin Server is loading. Please try again shortly."
        return Reply(503, {"Content-Type": "text/html", **wait}, page)

    def _about_server(self, route: str, query: Mapping[str, str], request: Received) -> Reply:
        match route:
            case "GET /System/Info":
                return _json(self._info())
            case "GET /System/Configuration":
                rules = [{"From": prefix, "To": instead} for prefix, instead in self.substitutions.items()]
                return _json({"PathSubstitutions": rules})
            case "GET /System/Ping":
                return _json("Jellyfin Server")
            case "GET /Library/VirtualFolders":
                return _json([self._virtual_folder(name) for name in self.libraries])
            case "GET /Items" | "GET /Users/{id}/Items":
                return self._list(query)
            case "GET /Persons":
                return self._persons(query)
            case "POST /Library/Media/Updated":
                return self._notified(json.loads(request.body))
        return Reply(404)

    def _about_item(self, route: str, found: str, query: Mapping[str, str], request: Received) -> Reply:
        item = self.items.get(found)
        if route == "GET /Items/{id}" and query.get("userid") != self.user:
            return _failed(400)  # an API key has no user
        if item is None and found not in self.persons.by_id and found not in self.collections.by_id:
            return _json({"title": "Not Found", "status": 404}, 404)
        match route:
            case "POST /Items/{id}":
                return self._update(found, request.body)
            case "POST /Items/{id}/Images/Primary":
                return self._save_image(found, request)
            case "GET /Items/{id}/Images/Primary" if found in self.images:
                return Reply(200, {"Content-Type": "image/jpeg"}, self.images[found])
            case "GET /Items/{id}/Images":
                tags = self._with_image({"Id": found})["ImageTags"]
                path = self.image_path(found)
                return _json([{"ImageType": k, "ImageTag": tag, "Path": path} for k, tag in tags.items()])
        if item is not None:
            match route:
                case "GET /Items/{id}" | "GET /Users/{id}/Items/{id}":
                    return _json(self._with_image(self.shown(item, dto.ALL_FIELDS)))
                case "GET /Items/{id}/PlaybackInfo":
                    return _json({"MediaSources": self.sources(item), "PlaySessionId": "0" * 32})
                case "POST /Items/{id}/Refresh":
                    return Reply(204)
        return Reply(404)

    def _about_collection(self, route: str, box: str, query: Mapping[str, str]) -> Reply:
        ids = [one.replace("-", "").lower() for one in query.get("ids", "").split(",") if one]
        if not set(ids) <= set(self.items) or (box and box not in self.collections.by_id):
            return _failed(400)
        match route:
            case "POST /Collections":
                return _json({"Id": self.collections.create(query["name"], ids)})
            case "POST /Collections/{id}/Items":
                self.collections.add(box, ids)
            case "DELETE /Collections/{id}/Items":
                self.collections.take_out(box, ids)
            case _:
                return Reply(404)
        return Reply(204)

    def _token(self, headers: Mapping[str, str], query: Mapping[str, str]) -> str:
        legacy = self.number < (12, 0)  # accepts the old headers and ?api_key=
        scheme, _, parts = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "mediabrowser" or (legacy and scheme.lower() == "emby"):
            found = {name.lower(): unquote_plus(value) for name, value in re.findall(r'(\w+)="([^"]*)"', parts)}
            if found.get("token"):
                return found["token"]
        old = (headers.get("x-emby-token"), headers.get("x-mediabrowser-token"), query.get("api_key"))
        return next(filter(None, old if legacy else ()), None) or query.get("apikey", "")

    def _info(self) -> dict[str, Any]:
        product = {"ProductName": "Jellyfin Server"} if self.number >= (10, 11) else {}
        return {"ServerName": "stand-in", "Version": self.version, "Id": "f" * 32, **product}

    def _virtual_folder(self, name: str) -> dict[str, Any]:
        options, folders = self.options.get(name, LibraryOptions()), self.libraries[name]
        shown: dict[str, Any] = {
            "PathInfos": [{"Path": folder} for folder in folders],
            "SaveLocalMetadata": options.save_local_metadata,
        }
        if options.metadata_savers is not None:
            shown["MetadataSavers"] = options.metadata_savers
        kind = {"CollectionType": options.collection} if options.collection else {}
        return {"Name": name, "Locations": folders, **kind, "LibraryOptions": shown}

    # Reading

    def _list(self, query: Mapping[str, str]) -> Reply:
        kinds = set(filter(None, query.get("includeitemtypes", "").split(",")))
        if query.get("ids"):
            found = self._by_ids(query["ids"].split(","))
        elif parent := query.get("parentid", "").replace("-", ""):
            box = self.collections.by_id.get(parent)
            # A bare key sees what is in a collection only with "recursive" (Folder.GetItemsInternal); a user does.
            sees = query.get("userid") == self.user or query.get("recursive") == "true"
            inside = box.items if box and sees else []
            found = [self.items[one] for one in inside if one in self.items]
        elif query.get("recursive") == "true" and kinds == {"BoxSet"}:
            found = self.collections.listed()
        elif query.get("recursive") == "true":
            found = self._all(kinds, collapsed=query.get("collapseboxsetitems") != "false")
        else:
            found = []
        if term := query.get("searchterm", "").lower():
            found = [one for one in found if term in (one["Name"] or "").lower()]
        if query.get("sortby", "").startswith("DateCreated"):
            found.sort(key=lambda item: item["DateCreated"])
        return self._page(found, query)

    def _by_ids(self, ids: list[str]) -> list[dict[str, Any]]:
        # Guid.Parse accepts ids with or without dashes. Invalid ids are ignored.
        wanted = dict.fromkeys(one.replace("-", "").lower() for one in ids)
        hidden = self.belongs_to() if self.number >= (12, 0) else ()
        found = [self.items[one] for one in wanted if one in self.items and one not in hidden]
        persons = [self.persons.by_id[one] for one in wanted if one in self.persons.by_id]
        return [*found, *persons, *(self.collections.item(one) for one in wanted if one in self.collections.by_id)]

    def _all(self, kinds: set[str], *, collapsed: bool) -> list[dict[str, Any]]:
        """The listing. Before 12 it lacks versions, parts and extras only if collections are collapsed."""
        found = [item for item in self.items.values() if not kinds or item["Type"] in kinds]
        if self.number >= (12, 0):
            hidden = self.belongs_to()
            return [item for item in found if item["Id"] not in hidden]
        return [item for item in found if item["ParentId"] or not collapsed]

    def _persons(self, query: Mapping[str, str]) -> Reply:
        found = list(self.persons.by_id.values())
        if item := query.get("appearsinitemid"):
            found = self.persons.appearing(self.items[item]["People"]) if item in self.items else []
        return self._page(found, query)

    def _page(self, found: list[dict[str, Any]], query: Mapping[str, str]) -> Reply:
        total = len(found)
        start = int(query.get("startindex", 0))
        found = found[start:][: int(query.get("limit", total))]
        fields = frozenset(name.lower() for name in query.get("fields", "").split(","))
        items = [self.shown(one, fields) if one["Id"] in self.items else dto.shown(one, fields) for one in found]
        if query.get("enableimages", "true") == "true":
            items = list(map(self._with_image, items))
        counted = query.get("enabletotalrecordcount", "true") == "true"
        return _json({"Items": items, "TotalRecordCount": total if counted else len(items), "StartIndex": start})

    def _with_image(self, item: Mapping[str, Any]) -> dict[str, Any]:
        image = self.images.get(item["Id"])
        tags = {} if image is None else {"Primary": dto.image_tag(image)}
        return {**item, "ImageTags": tags}

    # Changing

    def _update(self, found: str, body: bytes) -> Reply:
        try:
            sent = json.loads(body)
        except ValueError:
            return _json({"title": "One or more validation errors occurred.", "status": 400}, 400)
        if found in self.items:
            status = self.update(found, sent)
            return Reply(204) if status == 204 else _failed(status)
        if found in self.persons.by_id:
            self.persons.by_id[found]["Name"] = sent.get("Name")
        return Reply(204)

    def _notified(self, sent: dict[str, Any]) -> Reply:
        for update in sent["Updates"]:
            if not update.get("Path"):
                return _failed(400)
            self.notified.append(update)
            self.notice(update["Path"])
        return Reply(204)

    def _save_image(self, found: str, request: Received) -> Reply:
        media_type = request.headers.get("content-type", "").split(";")[0]
        if media_type not in _IMAGE_MARKS:
            return _json("Incorrect ContentType.", 400)
        try:
            image = base64.b64decode(request.body, validate=True)
        except binascii.Error:
            return _failed(500)
        if not image.startswith(_IMAGE_MARKS[media_type]):
            return _failed(500)
        self.save_image(found, image)
        return Reply(204)


def _json(content: Any, status: int = 200) -> Reply:
    headers = {"Content-Type": "application/json; charset=utf-8"}
    return Reply(status, headers, json.dumps(content, ensure_ascii=False).encode("utf-8", "surrogatepass"))


def _failed(status: int) -> Reply:
    return Reply(status, {"Content-Type": "text/plain"}, b"Error processing request.")
