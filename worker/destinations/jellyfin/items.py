"""What a Jellyfin item is: the ids it may have, and how a scene's fields are laid over it. Pure.

Facts are from Jellyfin's sources, 10.8 to 12 (LibraryManager.GetNewItemId, DtoService,
ItemUpdateController). An update replaces: what is left out becomes null or unlocked, so an item is always read
whole, changed and sent back whole.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stash_courier.worker.destinations.media.state import (
    State,
    list_change,
    names,
    same_name,
    same_text,
    would_change,
)

JellyfinItem = dict[str, Any]  # as JSON has it; jellyfin_api.py has checked what is relied on here

FIELDS = ("title", "details", "date", "studio", "performers", "tags", "director", "rating", "ids")

# What an item is asked for. All that an update would set to null and that isn't sent unasked: "Settings" holds
# the locks, the sort name and the metadata language, "SpecialEpisodeNumbers" where a special airs.
READ = (
    "Path,Settings,Tags,Genres,Studios,People,ProviderIds,Overview,OriginalTitle,Taglines,CustomRating,"
    "ProductionLocations,DateCreated,SpecialEpisodeNumbers"
)
# Without these in it an item must not be sent back: it would be unlocked, or refused after half of the change.
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
# What the entries of its lists are, and what it may have besides.
ENTRIES: Mapping[str, type] = {"LockedFields": str, "Tags": str, "Genres": str, "Studios": dict, "People": dict}
OPTIONAL: Mapping[str, type | tuple[type, ...]] = {
    "Name": str,
    "Overview": str,
    "CommunityRating": (int, float),
    "ImageTags": dict,
}
PROVIDER = "Stash"  # the key of the scene's id among an item's ProviderIds

TYPES = ("Movies.Movie", "Video", "MusicVideo", "TV.Episode")  # most frequent first; see computed_ids

RATING_STEP = 0.05  # smaller differences come from the server's 32 bit numbers


def computed_ids(path: str, *, lowered: bool) -> tuple[str, ...]:
    """The ids that an item with this path may have.

    Jellyfin makes an item's id of its type's full name and its path; lower-cased by servers whose
    ``EnableCaseSensitiveItemIds`` is off. It is the server's own affair: an item counts only if its path is right.

    Args:
        path: as the server calls it.
        lowered: for a server that lower-cases.
    """
    key = path.lower() if lowered else path
    return tuple(
        uuid.UUID(
            bytes_le=hashlib.md5(full.encode("utf-16-le", "surrogatepass"), usedforsecurity=False).digest()
        ).hex
        for full in (f"MediaBrowser.Controller.Entities.{name}{key}" for name in TYPES)
    )


def wrong_in(item: JellyfinItem) -> str:
    """What keeps an item from being changed and sent back, in a few words; "" if nothing does."""
    for key, kind in REQUIRED.items():
        if not isinstance(item.get(key), kind):
            return f"an item without {key}"
    for key, kind in ENTRIES.items():
        if not all(isinstance(entry, kind) for entry in item[key]):
            return f"an item with unknown {key}"
    for key, kinds in OPTIONAL.items():
        if item.get(key) is not None and not isinstance(item[key], kinds):
            return f"an item with unknown {key}"
    return ""


def known_as(item: JellyfinItem) -> str:
    """An item as the owner finds it."""
    return f'"{item.get("Name") or ""}" (id {item["Id"]})'


@dataclass(frozen=True, slots=True)
class JellyfinEdit:
    """What is to be sent for an item."""

    body: JellyfinItem  # the item, whole, as it should be
    changes: tuple[str, ...]  # a line for each changed field; none: nothing to send


def lay_over(item: JellyfinItem, wanted: State, *, add_only: bool) -> JellyfinEdit:
    """Lays a scene's fields over an item, and locks those that it changes.

    Args:
        item: whole, as read.
        wanted: fields that are None are left alone.
        add_only: lists get what is missing and lose nothing.
    """
    layer = _Layer(item)
    if wanted.title is not None:
        layer.text("title", "Name", wanted.title)
    if wanted.details is not None:
        layer.text("details", "Overview", wanted.details)
    if wanted.date is not None:
        layer.date(wanted)
    if wanted.studio is not None:
        layer.studios(names([wanted.studio]), add_only)
    if wanted.performers is not None:
        layer.people("performers", "Actor", wanted.performers, add_only)
    if wanted.director is not None:
        layer.people("director", "Director", names([wanted.director]), add_only)
    if wanted.tags is not None:
        layer.tags(wanted.tags, add_only)
    if wanted.rating is not None:
        layer.rating(wanted.rating)
    if wanted.ids is not None:
        layer.ids(wanted.ids)
    return JellyfinEdit(layer.body, tuple(layer.changes))


class _Layer:
    """An item in the making."""

    def __init__(self, item: JellyfinItem) -> None:
        self.body: JellyfinItem = {**item, "LockedFields": list(item["LockedFields"])}
        self.changes: list[str] = []

    def text(self, field: str, key: str, wanted: str) -> None:
        before = self.body.get(key)
        if not same_text(before, wanted):
            self._set(field, key, before, wanted)
            self._lock(key)

    def date(self, wanted: State) -> None:
        """A day, or only the year; Jellyfin has no lock for either."""
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

    def studios(self, wanted: Sequence[str], add_only: bool) -> None:
        studios = self.body["Studios"]
        before = _names_of(studios)
        if change := list_change(before, wanted, add_only=add_only):
            kept = [studio for studio in studios if _name_of(studio) not in change.removed]
            self.body["Studios"] = [*kept, *({"Name": name} for name in change.added)]
            self._say("studio", before, _names_of(self.body["Studios"]))
            self._lock("Studios")

    def people(self, field: str, kind: str, wanted: Sequence[str], add_only: bool) -> None:
        """Those of one kind; the others, and the roles of those who stay, remain as they are."""
        people = self.body["People"]
        before = _names_of(p for p in people if p.get("Type") == kind)
        if change := list_change(before, wanted, add_only=add_only):
            kept = [p for p in people if p.get("Type") != kind or _name_of(p) not in change.removed]
            self.body["People"] = [*kept, *({"Name": name, "Role": "", "Type": kind} for name in change.added)]
            after = _names_of(p for p in self.body["People"] if p.get("Type") == kind)
            self._say(field, before, after)
            self._lock("Cast")

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
            self._say("ids", ids.get(key), wanted)
            self.body["ProviderIds"] = {**ids, key: wanted}

    def _set(self, field: str, key: str, before: object, after: object) -> None:
        self._say(field, before, after)
        self.body[key] = after

    def _say(self, field: str, before: object, after: object) -> None:
        self.changes.append(would_change(field, before, after))

    def _lock(self, name: str) -> None:
        """Keeps the server's own refresh from undoing the field; LockData, the whole item's, is the owner's."""
        if name not in self.body["LockedFields"]:
            self.body["LockedFields"].append(name)


def _names_of(entries: Iterable[JellyfinItem]) -> list[str]:
    return [_name_of(entry) for entry in entries]


def _name_of(entry: JellyfinItem) -> str:
    return str(entry.get("Name") or "")
