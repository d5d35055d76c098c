"""The .nfo file beside a video: read at a scan, and rewritten as a whole by every update if the saver is on.

What the saver doesn't know stays as it was; comments, and what another program changed since the last scan, are
gone (BaseNfoSaver).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from xml.etree import ElementTree

KNOWN = {
    "title": "Name",
    "plot": "Overview",
    "mpaa": "OfficialRating",
    "year": "ProductionYear",
    "rating": "CommunityRating",
}
LISTS = {"genre": "Genres", "tag": "Tags", "country": "ProductionLocations", "tagline": "Taglines"}
LOCKS = {"Name": "Name", "Overview": "Overview", "OfficialRating": "OfficialRating", "Genres": "Genres"}
LOCKS |= {"Tags": "Tags", "ProductionLocations": "ProductionLocations", "Studios": "Studios", "People": "Cast"}
_WRITTEN = {*KNOWN, *LISTS, "premiered", "studio", "actor", "director", "credits", "uniqueid", "lockdata"}
_CREW = {"Director": "director", "Writer": "credits"}


def path_of(video: str) -> str:
    """The path of a video's .nfo."""
    return f"{video.rpartition('.')[0]}.nfo"


def read(text: str) -> dict[str, Any]:
    """The fields of an item that a file has."""
    root = ElementTree.fromstring(text)
    found: dict[str, Any] = {key: value for tag, key in KNOWN.items() if (value := root.findtext(tag))}
    found |= {key: values for tag, key in LISTS.items() if (values := [one.text or "" for one in root.iter(tag)])}
    if "ProductionYear" in found:
        found["ProductionYear"] = int(found["ProductionYear"])
    if "CommunityRating" in found:
        found["CommunityRating"] = float(found["CommunityRating"])
    if day := root.findtext("premiered"):
        found |= {"PremiereDate": f"{day}T00:00:00.0000000Z", "ProductionYear": int(day[:4])}
    if studios := [{"Name": one.text} for one in root.iter("studio")]:
        found["Studios"] = studios
    if ids := {one.get("type", ""): one.text or "" for one in root.iter("uniqueid")}:
        found["ProviderIds"] = ids
    cast = [
        {"Name": one.findtext("name"), "Role": one.findtext("role") or "", "Type": one.findtext("type") or "Actor"}
        for one in root.iter("actor")
    ]
    crew = [{"Name": one.text, "Type": kind} for kind, tag in _CREW.items() for one in root.iter(tag)]
    if cast or crew:
        found["People"] = [*cast, *crew]
    return found


def unlocked(item: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    """What a refresh takes from a file: nothing if the whole item is locked, else all but the locked fields.

    Dates and provider ids have no lock.
    """
    if item["LockData"]:
        return {}
    return {key: value for key, value in found.items() if LOCKS.get(key) not in item["LockedFields"]}


def written(item: Mapping[str, Any], before: str) -> str:
    """The file after an update of the item, from the one before it ("" if there is none)."""
    root = ElementTree.Element("movie")
    for tag, key in KNOWN.items():
        _add(root, tag, [item.get(key)])
    for tag, key in LISTS.items():
        _add(root, tag, item.get(key) or ())
    _add(root, "premiered", [(item.get("PremiereDate") or "")[:10]])
    _add(root, "studio", [one["Name"] for one in item["Studios"]])
    _add(root, "lockdata", [str(bool(item["LockData"])).lower()])
    for kind, value in item["ProviderIds"].items():
        ElementTree.SubElement(root, "uniqueid", {"type": kind}).text = value
    for one in item["People"]:
        if tag := _CREW.get(one["Type"], ""):
            _add(root, tag, [one["Name"]])
        else:
            actor = ElementTree.SubElement(root, "actor")
            _add(actor, "name", [one["Name"]])
            _add(actor, "role", [one.get("Role")])
            _add(actor, "type", [one["Type"]])
    if before:
        root.extend(one for one in ElementTree.fromstring(before) if one.tag not in _WRITTEN)
    return ElementTree.tostring(root, encoding="unicode")


def _add(parent: ElementTree.Element, tag: str, values: Iterable[Any]) -> None:
    for value in values:
        if value:
            ElementTree.SubElement(parent, tag).text = str(value)
