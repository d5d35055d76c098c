"""What of an item an answer shows (DtoService). Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from typing import Any

from tests.standin.jellyfin.ids import split

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
