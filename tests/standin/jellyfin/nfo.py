"""The .nfo file beside a video, read at a scan."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree

KNOWN = {
    "title": "Name",
    "plot": "Overview",
    "mpaa": "OfficialRating",
}
LISTS = {"genre": "Genres", "tag": "Tags", "country": "ProductionLocations", "tagline": "Taglines"}
LOCKS = {"Name": "Name", "Overview": "Overview", "OfficialRating": "OfficialRating", "Genres": "Genres"}
LOCKS |= {"Tags": "Tags", "ProductionLocations": "ProductionLocations", "Studios": "Studios", "People": "Cast"}
_CREW = {"Director": "director", "Writer": "credits"}


def path_of(video: str) -> str:
    """The path of a video's .nfo."""
    return f"{video.rpartition('.')[0]}.nfo"


def read(text: str) -> dict[str, Any]:
    """The fields of an item that a file has."""
    root = ElementTree.fromstring(text)
    found: dict[str, Any] = {key: value for tag, key in KNOWN.items() if (value := root.findtext(tag))}
    found |= {key: values for tag, key in LISTS.items() if (values := [one.text or "" for one in root.iter(tag)])}
    if day := root.findtext("premiered"):
        found |= {"PremiereDate": f"{day}T00:00:00.0000000Z", "ProductionYear": int(day[:4])}
    if studios := [{"Name": one.text} for one in root.iter("studio")]:
        found["Studios"] = studios
    cast = [
        {"Name": one.findtext("name"), "Role": one.findtext("role") or "", "Type": one.findtext("type") or "Actor"}
        for one in root.iter("actor")
    ]
    crew = [{"Name": one.text, "Type": kind} for kind, tag in _CREW.items() for one in root.iter(tag)]
    if cast or crew:
        found["People"] = [*cast, *crew]
    return found


def unlocked(item: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    """What a refresh takes from a file: all but the locked fields. Dates have no lock."""
    return {key: value for key, value in found.items() if LOCKS.get(key) not in item["LockedFields"]}
