"""All files that Jellyfin shows, for the library report. Reads only.

Seen on 10.10.7, 10.11.11 and 12.0-rc5 (tests/samples): an item of its own has a ``ParentId``; versions and parts
have none up to 10.11, and aren't listed by 12. There the item of the first file names its versions, and says how
many parts it has but not which.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from stash_courier.worker.destinations.jellyfin.api import JellyfinApi, pages
from stash_courier.worker.destinations.jellyfin.items import JellyfinItem, has_parent, is_own, several
from stash_courier.worker.destinations.jellyfin.lookup import IDS_AT_ONCE
from stash_courier.worker.destinations.media.places import same_path
from stash_courier.worker.destinations.media.report import Kind, Shown

FIELDS = "Path,ParentId,MediaSourceCount"
# How the names of an item's parts end: "Film part1.mp4", "Film-cd2.mp4", "Film (disc a).mp4".
_PART = re.compile(
    r"(?P<name>.*?)[ _.\-(\[]+(?P<word>cd|dvd|part|pt|dis[ck])[ _.\-]*(?:[0-9]+|[a-d])[)\]]?\.[^./\\]+",
    re.IGNORECASE | re.DOTALL,
)


def stack(path: str) -> str:
    """Equal for the paths of files that may be parts of one item; "" if the path has no number of a part."""
    found = _PART.fullmatch(path)
    return f"{found['name']}\n{found['word']}".casefold() if found else ""


def shown(api: JellyfinApi) -> Iterator[Shown]:
    """All files, and what each is. Raises DeliveryFailed."""
    grouped: list[str] = []  # ids of items with several versions
    for page in pages(lambda start: api.page(start, FIELDS)):
        shows_parents = any(map(has_parent, page))  # else nothing is known of parts and versions
        for item in page:
            if isinstance(path := item.get("Path"), str) and not item.get("ExtraType"):
                grouped += [item["Id"]] if several(item, "MediaSourceCount") else []
                # One of its own, or a part until it turns up among the versions.
                kind: Kind = "own" if is_own(item) or not shows_parents else "part"
                yield Shown(path, kind, stack(path) if several(item, "PartCount") else "")
    for first in range(0, len(grouped), IDS_AT_ONCE):
        for item in api.sources(grouped[first : first + IDS_AT_ONCE]):
            yield from _versions(item)


def _versions(item: JellyfinItem) -> Iterator[Shown]:
    sources = item.get("MediaSources")
    for source in sources if isinstance(sources, list) else ():
        path = source.get("Path") if isinstance(source, dict) else None
        if isinstance(path, str) and not same_path(path, str(item.get("Path"))):
            yield Shown(path, "version")
