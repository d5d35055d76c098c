"""Jellyfin's items: whose an item is, and the edit that writes a scene's fields into an item. Pure.

The facts are from Jellyfin's sources, 10.8 to 12 (DtoService, ItemUpdateController).
An update replaces the item: a field that is left out becomes null or is unlocked. So an item is always read whole,
changed, and sent back whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stash_courier.worker.destinations.media.state import (
    FieldChange,
    State,
    list_change,
    names,
    same_name,
    same_text,
)

JellyfinItem = dict[str, Any]  # the JSON of an item, checked with wrong_in

FIELDS = ("title", "details", "date", "studio", "performers", "tags", "director", "rating", "ids")

# The fields to request. They are what an update would set to null and what isn't sent by default. "Settings" has
# the locks, the sort name and the metadata language; "SpecialEpisodeNumbers" says where a special airs.
READ = (
    "Path,Settings,Tags,Genres,Studios,People,ProviderIds,Overview,OriginalTitle,Taglines,CustomRating,"
    "ProductionLocations,DateCreated,SpecialEpisodeNumbers,ParentId,MediaSourceCount"
)
# An item without these must not be sent back: it would be unlocked, or refused after half of the change.
REQUIRED: Mapping[str, type] = {
    "Path": str,
    "LockData": bool,
    "LockedFields": list,
    "Tags": list,
    "Genres": list,
    "Studios": list,
    "People": list,
    "ProviderIds": dict,
}
# Types of the entries of lists, and of optional fields.
ENTRIES: Mapping[str, type] = {"LockedFields": str, "Tags": str, "Genres": str, "Studios": dict, "People": dict}
OPTIONAL: Mapping[str, type | tuple[type, ...]] = {
    "Name": str,
    "Overview": str,
    "CommunityRating": (int, float),
    "ImageTags": dict,
}
PROVIDER = "Stash"  # the key of the scene's id in ProviderIds

RATING_STEP = 0.05  # smaller differences come from the server's 32-bit numbers


def wrong_in(item: JellyfinItem) -> str:
    """Why an item can't be changed and sent back, in a few words; "" if it can."""
    for key, kind in REQUIRED.items():
        if not isinstance(item.get(key), kind):
            return f"an item without {key}"
    for key, kind in ENTRIES.items():
        if not all(isinstance(entry, kind) for entry in item[key]):
            return f"an item with invalid {key}"
    for key, kinds in OPTIONAL.items():
        if item.get(key) is not None and not isinstance(item[key], kinds):
            return f"an item with invalid {key}"
    return ""


def is_own(item: JellyfinItem) -> bool:
    """Whether the item stands for its file alone. Versions, parts and extras of another item have no parent.

    The parent of an episode is its season, which may be missing. Versions and parts are never shown as episodes.
    """
    return (has_parent(item) or item.get("Type") == "Episode") and not item.get("ExtraType")


def has_parent(item: JellyfinItem) -> bool:
    """Whether an item has a parent. An id of zeros is none."""
    return bool(str(item.get("ParentId") or "").strip("0-"))


def has_several_files(item: JellyfinItem) -> bool:
    """Whether the server shows several files as this item: versions or parts."""
    return any(isinstance(count := item.get(key), int) and count > 1 for key in ("MediaSourceCount", "PartCount"))


def known_as(item: JellyfinItem) -> str:
    """Name and id of an item, for the owner."""
    return f'"{item.get("Name") or ""}" (id {item["Id"]})'


@dataclass(frozen=True, slots=True)
class JellyfinEdit:
    """The update of an item."""

    body: JellyfinItem  # the whole item with its new values
    changes: tuple[FieldChange, ...]  # empty if there is nothing to send


def edit_for(item: JellyfinItem, wanted: State, *, add_only: bool) -> JellyfinEdit:
    """The edit that writes a scene's fields into a whole item, and locks the fields that change.

    Wanted fields that are None are left alone. With ``add_only``, nothing is removed from lists.
    """
    editor = _Editor(item)
    if wanted.title is not None:
        editor.text("title", "Name", wanted.title)
    if wanted.details is not None:
        editor.text("details", "Overview", wanted.details)
    if wanted.date is not None:
        editor.date(wanted)
    if wanted.studio is not None:
        editor.entries("studio", "Studios", "", names([wanted.studio]), add_only)
    if wanted.performers is not None:
        editor.entries("performers", "People", "Actor", wanted.performers, add_only)
    if wanted.director is not None:
        editor.entries("director", "People", "Director", names([wanted.director]), add_only)
    if wanted.tags is not None:
        editor.tags(wanted.tags, add_only)
    if wanted.rating is not None:
        editor.rating(wanted.rating)
    if wanted.ids is not None:
        editor.ids(wanted.ids)
    return JellyfinEdit(editor.body, tuple(editor.changes))


class _Editor:
    """Changes a copy of an item, field by field."""

    def __init__(self, item: JellyfinItem) -> None:
        self.body: JellyfinItem = {**item, "LockedFields": list(item["LockedFields"])}
        self.changes: list[FieldChange] = []

    def text(self, field: str, key: str, wanted: str) -> None:
        before = self.body.get(key)
        if not same_text(before, wanted):
            self._set(field, key, before, wanted)
            self._lock(key)

    def date(self, wanted: State) -> None:
        """Day and year, or only the year. Jellyfin has no lock for them."""
        before_day = str(self.body.get("PremiereDate") or "")[:10]
        before_year = self.body.get("ProductionYear")
        if not wanted.date:
            if before_day or before_year:
                self._set("date", "PremiereDate", before_day or before_year, None)
                self.body["ProductionYear"] = None
            return
        if wanted.day and before_day != wanted.day:
            self._set("date", "PremiereDate", before_day, wanted.day)
            self.body["PremiereDate"] = f"{wanted.day}T00:00:00.0000000Z"
        if before_year != wanted.year:
            self._set("year", "ProductionYear", before_year, wanted.year)

    def entries(self, field: str, key: str, kind: str, wanted: Sequence[str], add_only: bool) -> None:
        """Studios, or people of one kind. Other kinds, and the roles of people who stay, are left alone."""
        before = self._names(key, kind)
        if change := list_change(before, wanted, add_only=add_only):
            kept = [
                one
                for one in self.body[key]
                if (kind and one.get("Type") != kind) or _name_of(one) not in change.removed
            ]
            more = {"Role": "", "Type": kind} if kind else {}
            self.body[key] = [*kept, *({"Name": name, **more} for name in change.added)]
            self._note(field, before, self._names(key, kind))
            self._lock("Cast" if kind else "Studios")

    def tags(self, wanted: Sequence[str], add_only: bool) -> None:
        before = self.body["Tags"]
        if change := list_change(before, wanted, add_only=add_only, cased=True):
            kept = [tag for tag in before if tag not in change.removed]
            self._set("tags", "Tags", before, [*kept, *change.added])
            self._lock("Tags")

    def rating(self, wanted: float) -> None:
        before = self.body.get("CommunityRating") or 0
        if abs(before - wanted) >= RATING_STEP:
            self._set("rating", "CommunityRating", before or None, wanted or None)

    def ids(self, wanted: str) -> None:
        ids = self.body["ProviderIds"]
        key = next((key for key in ids if same_name(key, PROVIDER)), PROVIDER)
        if ids.get(key) != wanted:
            self._note("ids", ids.get(key), wanted)
            self.body["ProviderIds"] = {**ids, key: wanted}

    def _set(self, field: str, key: str, before: object, after: object) -> None:
        self._note(field, before, after)
        self.body[key] = after

    def _note(self, field: str, before: object, after: object) -> None:
        self.changes.append((field, before, after))

    def _lock(self, name: str) -> None:
        """Protects the field from the server's own refresh. LockData, for the whole item, is left to the owner."""
        if name not in self.body["LockedFields"]:
            self.body["LockedFields"].append(name)

    def _names(self, key: str, kind: str) -> list[str]:
        return [_name_of(one) for one in self.body[key] if not kind or one.get("Type") == kind]


def _name_of(entry: JellyfinItem) -> str:
    return str(entry.get("Name") or "")
