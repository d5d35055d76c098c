"""What an item stores and what answers show of it. Pure.

From ItemUpdateController (what an update does), DtoService (what is shown), and what a scan reads from the .nfo
file beside a video.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from typing import Any
from xml.etree import ElementTree

from tests.standin.jellyfin.disk import split, studio_id

# Updates

LOCKABLE = (  # in the order in which 10.11 and later return them
    "Cast",
    "Genres",
    "ProductionLocations",
    "Studios",
    "Tags",
    "Name",
    "Overview",
    "Runtime",
    "OfficialRating",
)
# What an update does with each field, in the order of the server's code. A missing field becomes null ("replace"),
# is left alone ("keep"), or before version 12 fails the request after the fields above were changed ("require").
# Locks stop nothing.
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
# What an update of an item with versions writes into the others, too (Video.UpdateToRepositoryAsync).
SHARED = (
    "Overview",
    "ProductionYear",
    "PremiereDate",
    "CommunityRating",
    "OfficialRating",
    "Genres",
    "ProviderIds",
)


def apply(item: dict[str, Any], sent: Mapping[str, Any], version: tuple[int, int]) -> int:
    """Changes an item in the order of the server's code. Returns the status; a failure leaves it half-changed."""
    for key, how in UPDATE.items():
        value = sent.get(key)
        if value is not None:
            item[key] = stored(key, value, version)
        elif how == "require" and version < (12, 0):
            return 500 if key == "Genres" and version < (10, 11) else 400
        elif how == "replace":
            item[key] = False if key == "LockData" else None
    return 204


def stored_people(people: list[dict[str, Any]], version: tuple[int, int]) -> list[dict[str, Any]]:
    """A cast as the database keeps it: before 12, one role for each person and type."""
    cast: dict[object, dict[str, Any]] = {}
    for at, one in enumerate(people):
        role = one.get("Role") or ("" if "Role" in one or version >= (10, 11) else None)
        entry = {"Name": one["Name"], "Role": role, "Type": one.get("Type", "Unknown")}
        key = at if version >= (12, 0) else (one["Name"].lower(), entry["Type"])
        if earlier := cast.pop(key, None):
            entry["Role"] = earlier.get("Role") or entry["Role"]
        cast[key] = {name: value for name, value in entry.items() if value is not None}
    return list(cast.values())


def stored(key: str, value: Any, version: tuple[int, int]) -> Any:
    """A value of an update, as the server stores it."""
    match key:
        case "People":
            return stored_people(value, version)
        case "Studios":
            return [{"Name": one["Name"], "Id": studio_id(one["Name"])} for one in value]
        case "Tags":
            return list({tag.strip().lower(): tag.strip() for tag in reversed(value)}.values())[::-1]
        case "Taglines":
            return value[:1]
        case "ProviderIds":
            return {name: text for name, text in value.items() if text}
        case "LockedFields" if version >= (10, 11):
            return [name for name in LOCKABLE if name in value]
        case "PremiereDate" | "EndDate" if len(value) == len("2020-01-01T00:00:00Z"):
            return value.replace("Z", ".0000000Z")
        case _:
            return value


# Answers

# Fields to request, and the parts of an item that are sent only then.
ON_REQUEST = {
    "Path": ("Path",),
    "ParentId": ("ParentId",),
    "MediaSourceCount": ("MediaSourceCount",),
    "MediaSources": ("MediaSources",),
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
ALL_FIELDS = frozenset(name.lower() for name in ON_REQUEST)


def shown(item: Mapping[str, Any], fields: Collection[str]) -> dict[str, Any]:
    """The JSON of an item, without fields that weren't requested (in lower case) and without nulls."""
    hidden = {key for name, keys in ON_REQUEST.items() if name.lower() not in fields for key in keys}
    content = {key: value for key, value in item.items() if value is not None and key not in hidden}
    if not content.get("CommunityRating"):
        content.pop("CommunityRating", None)
    if not content.get("ProductionLocations") and item.get("Type") != "Movie":
        content.pop("ProductionLocations", None)
    return content


def media_source(item: Mapping[str, Any], group: str = "") -> dict[str, Any]:
    """An entry of MediaSources.

    Args:
        group: the name of the folder whose files are versions; it is left out of the entry's name.
    """
    name = split(item["Path"])[1].rpartition(".")[0]
    if group and name.lower().startswith(group.lower()):
        name = name[len(group) :].lstrip(" -") or name
    return {"Id": item["Id"], "Path": item["Path"], "Type": "Default", "Name": name}


def path_for(path: str, substitutions: Mapping[str, str]) -> str:
    """A path as answers show it: with the server's network path substitution."""
    for prefix, instead in substitutions.items():
        if path.startswith(prefix):
            return instead + path[len(prefix) :]
    return path


def image_tag(image: bytes) -> str:
    """The tag of an image, which is another one for other bytes."""
    return hashlib.md5(image).hexdigest()


# The .nfo file beside a video

KNOWN = {
    "title": "Name",
    "plot": "Overview",
    "mpaa": "OfficialRating",
}
LISTS = {"genre": "Genres", "tag": "Tags", "country": "ProductionLocations", "tagline": "Taglines"}
_CREW = {"Director": "director", "Writer": "credits"}


def nfo_path(video: str) -> str:
    """The path of a video's .nfo."""
    return f"{video.rpartition('.')[0]}.nfo"


def read_nfo(text: str) -> dict[str, Any]:
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
