"""Plex Media Server's HTTP API, as far as the Plex destination needs it. JSON in, our own plain data out.

Decides nothing: which item is meant, and what it should be, is destinations/plex.py's and plex_edit.py's. The
token travels in a header, never in a URL. plexapi turns 429, 500, 502, 503 and 504 alike into one error, so it is
not used here; it drives the stand-in in the tests.
"""

from __future__ import annotations

import ntpath
import posixpath
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import quote

from stash_courier.worker.destinations.media.settings import Server
from stash_courier.worker.destinations.media.state import advice, read_json, taken, unlike
from stash_courier.worker.http.client import Answer, Client
from stash_courier.worker.paths import is_windows

MOVIE = 1  # Plex's number of the type; "other videos" are movies too
LARGEST = 32 * 1024 * 1024  # bytes of an answer; the largest page of a listing is a quarter of that
PAGE = 100  # items of a listing at once: enough for all files of nearly any name …
NEXT_PAGE = 1000  # … and for a name that many files have
# Real servers' listings show the first two or three of an item's genres, roles and collections only
# (python-plexapi issues 200, 249, 1194), so there a list that long may have been cut.
SHOWN = 2

SCALARS = ("title", "summary", "originallyAvailableAt", "studio", "userRating")
# What an edit calls a list, and what an item calls it.
LISTS = {"actor": "Role", "genre": "Genre", "director": "Director", "collection": "Collection"}

_HOW = "enter the token of the server's owner"
_ADVICE = {
    414: "the texts of this scene are longer than it takes",
    503: "it is starting or in maintenance, so we wait",
}


@dataclass(frozen=True, slots=True)
class Section:
    """A library."""

    key: str
    title: str
    type: str  # "movie" also for other videos
    locations: tuple[str, ...]  # its folders, as the server calls them; empty if it doesn't tell


@dataclass(frozen=True, slots=True)
class PlexItem:
    """A movie or video."""

    key: str  # Plex's ratingKey
    section: Section
    files: tuple[str, ...]  # whole paths, as the server calls them
    scalars: Mapping[str, str]  # by SCALARS; those that aren't set are absent
    lists: Mapping[str, tuple[str, ...]]  # by LISTS
    whole: bool = False  # False: from a listing, which may show the beginning of the lists only

    def __str__(self) -> str:
        """As the owner finds it."""
        return f'"{self.scalars.get("title", "")}" in {self.section.title} (id {self.key})'


@dataclass(frozen=True, slots=True)
class About:
    """What a server says of itself."""

    name: str
    version: str


class PlexApi:
    """One server. Every method raises ``DeliveryFailed`` for any answer but the right one.

    Args:
        server: where, and its token.
        timeout: seconds for one request.
        concurrency: connections that are kept.
    """

    def __init__(self, server: Server, *, timeout: float, concurrency: int) -> None:
        self._server = server
        self._headers = {"X-Plex-Token": server.key, "Accept": "application/json"}
        if server.authorization:
            self._headers["Authorization"] = server.authorization
        self._client = Client(
            timeout=timeout,
            concurrency=concurrency,
            secrets=server.hidden,
            advice={**advice(server, _HOW), **_ADVICE},
        )

    def close(self) -> None:
        """Lets go of connections."""
        self._client.close()

    def about(self) -> About:
        """Name and version; proves the token too, which ``/identity`` would not ask for."""
        found = self._container(self._get("/", fixed_url=True))
        return About(_text(found.get("friendlyName")), _text(found.get("version")))

    def sections(self) -> tuple[Section, ...]:
        """All libraries."""
        found = self._container(self._get("/library/sections", fixed_url=True))
        return tuple(
            Section(
                _text(row.get("key")),
                _text(row.get("title")),
                _text(row.get("type")),
                tuple(_text(place.get("path")) for place in _rows(row.get("Location"))),
            )
            for row in _rows(found.get("Directory"))
        )

    def files_named(self, section: Section, name: str) -> Iterator[PlexItem]:
        """Items with a file that has this in its path, as the listing shows them.

        A comma parts alternatives in Plex's filters, so the longest part of the name between commas is asked
        for: whoever has the whole name has that too. Without ``type`` some servers answer 500.
        """
        wanted = quote(max(name.split(","), key=len), safe="", errors="replace")
        start, total = 0, 1
        while start < total:
            size = NEXT_PAGE if start else PAGE
            page = f"X-Plex-Container-Start={start}&X-Plex-Container-Size={size}"
            answer = self._get(f"/library/sections/{section.key}/all?type={MOVIE}&file={wanted}&{page}")
            found = self._container(answer)
            rows = _rows(found.get("Metadata"))
            for row in rows:
                yield _item(row, section, whole=False)
            start += len(rows)
            said = found.get("totalSize")
            total = said if isinstance(said, int) and rows else 0

    def read(self, items: Collection[PlexItem]) -> dict[str, PlexItem]:
        """The items that are still there, by key, as their own pages show them: whole lists. One request."""
        sections = {item.key: item.section for item in items}
        found = self._container(self._get(f"/library/metadata/{','.join(sections)}"))
        rows = {_text(row.get("ratingKey")): row for row in _rows(found.get("Metadata"))}
        return {key: _item(row, sections[key], whole=True) for key, row in rows.items() if key in sections}

    def edit(self, item: PlexItem, parameters: Mapping[str, str]) -> None:
        """Changes an item: ``field.value``, ``field.locked``, ``tag[0].tag.tag``, ``tag[].tag.tag-``."""
        changes = "&".join(f"{quote(k)}={quote(v, safe='', errors='replace')}" for k, v in parameters.items())
        path = f"/library/sections/{item.section.key}/all?type={MOVIE}&id={item.key}&{changes}"
        taken(self._send("PUT", path), self._server)

    def scan(self, section: Section, folder: str) -> None:
        """Has one folder of a library scanned."""
        wanted = quote(folder, safe="", errors="replace")
        taken(self._get(f"/library/sections/{section.key}/refresh?path={wanted}"), self._server)

    def upload_poster(self, item: PlexItem, image: bytes) -> None:
        """Gives an item a poster, which becomes the chosen one."""
        taken(self._send("POST", f"/library/metadata/{item.key}/posters", body=image), self._server)

    def _get(self, path: str, *, fixed_url: bool = False) -> Answer:
        return self._send("GET", path, fixed_url=fixed_url)

    def _send(self, method: str, path: str, *, body: bytes | None = None, fixed_url: bool = False) -> Answer:
        return self._client.request(
            method, self._server.url + path, headers=self._headers, body=body, limit=LARGEST, fixed_url=fixed_url
        )

    def _container(self, answer: Answer) -> Mapping[str, object]:
        found = read_json(answer, self._server)
        container = found.get("MediaContainer") if isinstance(found, dict) else None
        if not isinstance(container, dict):
            raise unlike(self._server, answer, self._client.excerpt(answer))
        return container


def split(path: str) -> tuple[str, str]:
    r"""Folder and name of a path as a server calls it, with ``\`` or ``/`` as it is written."""
    return ntpath.split(path) if is_windows(path) else posixpath.split(path)


def _item(row: Mapping[str, object], section: Section, *, whole: bool) -> PlexItem:
    parts = [part for medium in _rows(row.get("Media")) for part in _rows(medium.get("Part"))]
    return PlexItem(
        _text(row.get("ratingKey")),
        section,
        tuple(_text(part.get("file")) for part in parts),
        {name: _text(row[name]) for name in SCALARS if name in row},
        {ours: tuple(_text(tag.get("tag")) for tag in _rows(row.get(theirs))) for ours, theirs in LISTS.items()},
        whole,
    )


def _rows(value: object) -> list[Mapping[str, object]]:
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []


def _text(value: object) -> str:
    return value if isinstance(value, str) else "" if value is None else str(value)
