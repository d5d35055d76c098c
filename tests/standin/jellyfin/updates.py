"""What an update of an item does to it (ItemUpdateController). Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.standin.jellyfin.ids import studio_id

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
