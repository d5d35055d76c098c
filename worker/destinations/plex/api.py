"""The part of Plex Media Server's HTTP API that the destination uses. Decides nothing.

The token is sent in a header, never in a URL. The parameters of edits are those that python-plexapi sends. That
library itself isn't used because it turns 429, 500, 502, 503 and 504 into the same error; in the tests it drives
the stand-in. Where something else is known of the server, its source is named beside it: "Plex's API description"
is the OpenAPI document that LukeHagar/plex-api-spec publishes.
"""

from __future__ import annotations

import ntpath
import posixpath
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import quote

from stash_courier.queue.failures import DeliveryFailed, Failure
from stash_courier.worker.connections.model import Policy
from stash_courier.worker.destinations.media.api import JSON, MediaApi, read_json
from stash_courier.worker.destinations.media.libraries import Library
from stash_courier.worker.destinations.media.settings import Server
from stash_courier.worker.http.client import Answer
from stash_courier.worker.paths import is_windows

MOVIE = 1  # Plex's number for the type "movie", which includes "other videos"
PAGE = 100  # items in the first request for a listing: enough for nearly any file name
NEXT_PAGE = 1000  # items in further requests, for a file name that many files have
# Listings of real servers show only the first two or three genres, roles and collections of an item
# (python-plexapi issues 200, 249, 1194), so a list of this length in a listing may have been cut.
SHOWN = 2

IDENTITY_SECONDS = 3600.0  # how long a server that doesn't say its identifier isn't asked again

LIBRARY = "com.plexapp.plugins.library"  # what rates an item: the server's own library

SCALARS = ("title", "summary", "originallyAvailableAt", "studio", "addedAt", "userRating")
# The names of lists in edits, and in items.
LISTS = {
    "actor": "Role",
    "genre": "Genre",
    "label": "Label",
    "director": "Director",
    "collection": "Collection",
}

_ADVICE = {
    414: "the texts of this scene are longer than it accepts",
    503: "it is starting or in maintenance, so we wait",
}


@dataclass(frozen=True, slots=True)
class Section(Library):
    """A library, which Plex's API calls a section."""

    key: str
    type: str  # "movie" includes other videos
    scanner: str = ""


@dataclass(frozen=True, slots=True)
class Role:
    """A performer in an item's cast."""

    name: str
    role: str = ""
    thumb: str = ""  # URL of a picture
    key: str = ""  # tagKey: who it is on plex.tv

    def parameters(self, n: int) -> dict[str, str]:
        """The entry with this number in an edit.

        From python-plexapi issue 462 and pull request 510. ``tagKey`` is from MoviePilot's plugin PlexPersonMeta.
        """
        entry = {"tag.tag": self.name, "tagging.text": self.role, "tag.thumb": self.thumb, "tag.tagKey": self.key}
        return {f"actor[{n}].{name}": value for name, value in entry.items() if value}


@dataclass(frozen=True, slots=True)
class PlexItem:
    """A movie or video."""

    key: str  # Plex's ratingKey
    section: Section
    files: tuple[str, ...]  # the server's full paths; those of the first version come first
    scalars: Mapping[str, str]  # by names in SCALARS; unset ones are absent
    lists: Mapping[str, tuple[str, ...]]  # by names in LISTS
    cast: tuple[Role, ...] = ()  # the entries of the list of actors
    # Names of fields, as in edits (python-plexapi's tests against a real server); "thumb" is the poster.
    locked: frozenset[str] = frozenset()
    whole: bool = False  # False: from a listing, which may have cut the lists and leaves out the locks

    def __str__(self) -> str:
        """Title, library and id, for the owner."""
        return f'"{self.scalars.get("title", "")}" in {self.section.name} (id {self.key})'

    @property
    def has_id(self) -> bool:
        """Whether it can be named in a request. ``read`` and all writes refuse an item without an id."""
        return _is_id(self.key) and _is_id(self.section.key)


class PlexApi(MediaApi):
    """One Plex Media Server. The clock is in monotonic seconds."""

    def __init__(self, server: Server, policy: Policy, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._asking = threading.Lock()  # held during the request for the identifier, so that only one thread asks
        self._machine = ""  # the server's machine identifier, once it has said it
        self._ask_at = clock()  # when it may be asked for
        headers = {"X-Plex-Token": server.key, "Accept": JSON}
        super().__init__(server, policy, headers, "enter the token of the server's owner", _ADVICE)

    def about(self) -> tuple[str, str]:
        """Name and version. This also checks the token, which ``/identity`` would not."""
        found = self._container(self._get("/", fixed_url=True))
        return _text(found.get("friendlyName")), _text(found.get("version"))

    def sections(self) -> tuple[Section, ...]:
        """All libraries."""
        found = self._container(self._get("/library/sections", fixed_url=True))
        return tuple(
            Section(
                name=_text(row.get("title")),
                folders=tuple(_text(place.get("path")) for place in _rows(row.get("Location"))) or None,
                key=_text(row.get("key")),
                type=_text(row.get("type")),
                scanner=_text(row.get("scanner")),
            )
            for row in _rows(found.get("Directory"))
        )

    def files_named(self, section: Section, name: str) -> Iterator[PlexItem]:
        """Items of a listing with a file whose path may contain the name.

        A comma separates alternatives in Plex's filters, so the longest part of the name between commas is
        searched for. Without ``type`` some servers answer 500.
        """
        wanted = quote(max(name.split(","), key=len), safe="", errors="replace")
        for row in self._listing(section, f"&file={wanted}", PAGE):
            yield _item(row, section, whole=False)

    def media(self, section: Section) -> Iterator[list[list[str]]]:
        """The files of each item of a library: of each of its versions, those of all parts."""
        for row in self._listing(section, "", NEXT_PAGE):
            versions = [_rows(one.get("Part")) for one in _rows(row.get("Media"))]
            yield [[_text(part.get("file")) for part in parts] for parts in versions]

    def read(self, items: Collection[PlexItem]) -> dict[str, PlexItem]:
        """The items that still exist, by key, with whole lists and their locks. One request."""
        sections = {self._id(item): item.section for item in items}
        found = self._container(self._get(f"/library/metadata/{','.join(sections)}"))
        rows = {_text(row.get("ratingKey")): row for row in _rows(found.get("Metadata"))}
        return {key: _item(row, sections[key], whole=True) for key, row in rows.items() if key in sections}

    def edit(self, item: PlexItem, parameters: Mapping[str, str]) -> None:
        """Changes an item: ``field.value``, ``field.locked``, ``tag[0].tag.tag``, ``tag[].tag.tag-``."""
        changes = "&".join(f"{quote(k)}={quote(v, safe='', errors='replace')}" for k, v in parameters.items())
        one = f"type={MOVIE}&id={self._id(item)}"
        self._write("PUT", f"/library/sections/{item.section.key}/all?{one}&{changes}")

    def rate(self, item: PlexItem, rating: float) -> None:
        """Sets the stars that the token's account gives an item, from 0 to 10. 0 takes them away.

        The request is from Plex's API description. -1 clears: python-plexapi's ``RatingMixin.rate``, and its test
        against a real server. ``userRating`` in an edit does nothing (Darklyter/StashPlexAgent.bundle, pull
        request 21).
        """
        stars = f"{rating:g}" if rating else "-1"
        self._write("PUT", f"/:/rate?identifier={LIBRARY}&key={self._id(item)}&rating={stars}")

    def scan(self, section: Section, folder: str) -> None:
        """Starts a scan of one folder of a library."""
        wanted = quote(folder, safe="", errors="replace")
        self._write("GET", f"/library/sections/{section.key}/refresh?path={wanted}")

    def upload_poster(self, item: PlexItem, image: bytes) -> None:
        """Uploads a poster, which becomes the item's selected one."""
        self._write("POST", f"/library/metadata/{self._id(item)}/posters", image)

    def page(self, item: PlexItem) -> str:
        """The address of an item's page in the Plex Web of this server; "" if the server doesn't say who it is.

        The form is that of python-plexapi's ``getWebURL``, with the server's own Plex Web as the base. The first
        call asks for the server's identifier. Other threads that need it then wait for that request, at most for
        the connection's timeout.
        """
        machine = quote(self._identifier(), safe="")
        key = quote(f"/library/metadata/{item.key}", safe="")
        return f"{self._server.url}/web/index.html#!/server/{machine}/details?key={key}" if machine else ""

    def _identifier(self) -> str:
        """The server's machine identifier. It is asked for once; "" if it isn't known, which is no failure.

        ``GET /identity`` needs no token and answers ``claimed``, ``machineIdentifier`` and ``version`` (Plex's API
        description; plexopedia.com, "Server Identity"). By these, no answer that a delivery gets anyway has it.
        """
        with self._asking:
            if not self._machine and self._clock() >= self._ask_at:
                try:
                    found = self._container(self._get("/identity"))
                    self._machine = _text(found.get("machineIdentifier"))
                except DeliveryFailed:
                    pass  # the delivery itself has succeeded
                self._ask_at = self._clock() + IDENTITY_SECONDS
            return self._machine

    def _listing(self, section: Section, query: str, first: int) -> Iterator[Mapping[str, object]]:
        """The items of a listing. ``first``: how many the first request asks for."""
        start, size, total = 0, first, 1
        while start < total:
            page = f"X-Plex-Container-Start={start}&X-Plex-Container-Size={size}"
            answer = self._get(f"/library/sections/{section.key}/all?type={MOVIE}{query}&{page}")
            found = self._container(answer)
            rows = _rows(found.get("Metadata"))
            yield from rows
            start, size, total_size = start + len(rows), NEXT_PAGE, found.get("totalSize")
            total = total_size if isinstance(total_size, int) and rows else 0

    def _id(self, item: PlexItem) -> str:
        """The item's ratingKey, checked.

        In an edit it is a filter: without one, the edit changes all items of the library (Plex's API description,
        "Set the fields of the filtered items").
        """
        if item.has_id:
            return item.key
        raise DeliveryFailed(
            Failure.REFUSED,
            f"{self._server.host} lists {item} without a usable id, so nothing was sent: Plex could take it for "
            "all items of the library. We will look again later.",
        )

    def _container(self, answer: Answer) -> Mapping[str, object]:
        found = read_json(answer, self._server)
        container = found.get("MediaContainer") if isinstance(found, dict) else None
        if not isinstance(container, dict):
            raise self._unexpected(answer)
        return container


def split(path: str) -> tuple[str, str]:
    r"""Folder and file name of a server's path, which may be a Windows path with ``\`` or ``/``."""
    return ntpath.split(path) if is_windows(path) else posixpath.split(path)


def _item(row: Mapping[str, object], section: Section, *, whole: bool) -> PlexItem:
    parts = [part for medium in _rows(row.get("Media")) for part in _rows(medium.get("Part"))]
    return PlexItem(
        _text(row.get("ratingKey")),
        section,
        tuple(_text(part.get("file")) for part in parts),
        {name: _text(row[name]) for name in SCALARS if name in row},
        {ours: tuple(_text(tag.get("tag")) for tag in _rows(row.get(theirs))) for ours, theirs in LISTS.items()},
        tuple(
            Role(*(_text(tag.get(name)) for name in ("tag", "role", "thumb", "tagKey")))
            for tag in _rows(row.get(LISTS["actor"]))
        ),
        frozenset(_text(one.get("name")) for one in _rows(row.get("Field")) if _is_true(one.get("locked"))),
        whole,
    )


def _is_id(value: str) -> bool:
    return value.isascii() and value.isdigit()


def _is_true(value: object) -> bool:
    return _text(value).lower() in {"1", "true"}


def _rows(value: object) -> list[Mapping[str, object]]:
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []


def _text(value: object) -> str:
    return value if isinstance(value, str) else "" if value is None else str(value)
