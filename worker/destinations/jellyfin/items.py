"""Jellyfin's items: whose an item is, its cast, and the edit that writes a scene's fields into an item. Pure.

The facts are from Jellyfin's sources, 10.8 to 12 (DtoService, ItemUpdateController).
An update replaces the item: most fields that are left out become null or are unlocked. So an item is read whole,
changed, and sent back. Fields that stay when they are left out (KEPT) are sent only if they change, because what
we read may lack something: people who aren't shown.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal

from stash_courier.worker.destinations.media.notes import HIDDEN_PEOPLE, LOCKED_FIELDS, LOCKED_ITEM
from stash_courier.worker.destinations.media.record import NOTHING, Ours, Record, digest
from stash_courier.worker.destinations.media.state import (
    Change,
    FieldChange,
    State,
    folded,
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
EMPTY: JellyfinItem = {key: kind() for key, kind in REQUIRED.items()}  # an item without any value
# Types of the entries of lists, and of optional fields.
ENTRIES: Mapping[str, type] = {"LockedFields": str, "Tags": str, "Genres": str, "Studios": dict, "People": dict}
OPTIONAL: Mapping[str, type | tuple[type, ...]] = {
    "Name": str,
    "Overview": str,
    "CommunityRating": (int, float),
    "ImageTags": dict,
}
LISTS = ("studio", "performers", "director", "tags", "genres")  # our fields that are lists of names
# An update that leaves these out doesn't change them, in all versions. Without Tags, Genres or ProviderIds it
# fails up to 10.11, in 10.10 after half of the change.
KEPT = ("People", "Studios", "Taglines", "ProductionLocations", "DateCreated")
# The lock that covers each of our fields. The names are Jellyfin's MetadataField; what each of them covers is in
# its MetadataService.MergeBaseItemData. It has none for dates, ratings and ids.
LOCKS: Mapping[str, str] = {
    "title": "Name",
    "details": "Overview",
    "studio": "Studios",
    "performers": "Cast",
    "director": "Cast",
    "tags": "Tags",
    "genres": "Genres",
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


def several(item: JellyfinItem, *counts: str) -> bool:
    """Whether the server shows several files as this item: MediaSourceCount versions, or PartCount parts."""
    return any(isinstance(count := item.get(key), int) and count > 1 for key in counts)


def known_as(item: JellyfinItem) -> str:
    """Name and id of an item, for the owner."""
    return f'"{item.get("Name") or ""}" (id {item["Id"]})'


# A list of people in an update replaces the whole cast. So the entries of those who stay are sent as they were
# read, with role, type and order. Jellyfin 12 has several entries for a person with several roles.

Entry = Mapping[str, Any]  # an entry of People, or a person's own item

CAST_KINDS: Mapping[str, str] = {"performers": "Actor", "director": "Director"}  # our fields → Type of an entry


def name_of(entry: Entry) -> str:
    """The name in an entry of a list; "" if it has none."""
    return str(entry.get("Name") or "")


def names_of(people: Iterable[Entry], kind: str) -> list[str]:
    """The people of one kind, each once."""
    return list(dict.fromkeys(name_of(one) for one in people if one.get("Type") == kind))


def changed_cast(people: Iterable[Entry], kind: str, change: Change) -> list[Entry]:
    """The cast after a change of the people of one kind."""
    kept = [one for one in people if one.get("Type") != kind or name_of(one) not in change.removed]
    return [*kept, *({"Name": name, "Role": "", "Type": kind} for name in change.added)]


def some_hidden(people: Sequence[Entry], persons: Iterable[Entry]) -> bool:
    """Whether an item's cast has somebody whom its ``People`` leave out, and whom an update would delete.

    ``People`` leave out those whose person has another name now, or shares one with somebody else: names that make
    the same folder name have one person (DtoService.AttachPeople). ``/Persons`` has a person for each name in the
    cast (LibraryManager.GetPeopleItems, 10.8 to 12). So if somebody is hidden, it has a name that isn't shown, or
    has one twice. From 10.9 on, both leave out a name without any person, and that isn't noticed here.

    Args:
        people: the item's ``People``.
        persons: the answer of ``/Persons?appearsInItemId=``.
    """
    shown = {folded(name_of(one)) for one in people}
    listed = Counter(folded(name_of(one)) for one in persons)
    return any(count > 1 or name not in shown for name, count in listed.items())


TagsAs = Literal["tags", "genres", "both"]


@dataclass(frozen=True, slots=True)
class EditRules:
    """How fields are written, as the owner wants it."""

    add_only: bool = False  # nothing is removed from lists
    tags_as: TagsAs = "tags"
    respect_locks: bool = True


@dataclass(frozen=True, slots=True)
class JellyfinEdit:
    """The update of an item."""

    body: JellyfinItem  # what to send: the item with its new values, without those of KEPT that don't change
    changes: tuple[FieldChange, ...] = ()  # empty if there is nothing to send
    left: tuple[str, ...] = ()  # fields that keep another value than Stash's, because the owner locked them
    item_locked: bool = False  # the owner locked the whole item, so nothing is written
    people_hidden: bool = False  # the people keep other values, because somebody of them is hidden
    record: Record = field(default_factory=Record)  # what the item has from us once the edit is made

    @property
    def notes(self) -> frozenset[str]:
        """What was left alone, as notes."""
        found = {LOCKED_FIELDS: self.left, LOCKED_ITEM: self.item_locked, HIDDEN_PEOPLE: self.people_hidden}
        return frozenset(note for note, true in found.items() if true)


def edit_for(item: JellyfinItem, wanted: State, rules: EditRules, ours: Ours = NOTHING) -> JellyfinEdit:
    """The edit that writes a scene's fields into a whole item, and locks the fields that change.

    Wanted fields that are None are left alone, and so is what the owner locked.

    Args:
        item: as it was read.
        wanted: the scene's values.
        rules: how they are written.
        ours: what the item may have from us.
    """
    if item["LockData"] and rules.respect_locks:
        return JellyfinEdit(item, item_locked=True, record=ours.record)
    editor = _Editor(item, rules, ours)
    if wanted.title is not None:
        editor.text("title", "Name", wanted.title)
    if wanted.details is not None:
        editor.text("details", "Overview", wanted.details)
    if wanted.date is not None:
        editor.date(wanted)
    if wanted.studio is not None:
        editor.studios(names([wanted.studio]))
    if wanted.performers is not None:
        editor.people("performers", wanted.performers)
    if wanted.director is not None:
        editor.people("director", names([wanted.director]))
    if wanted.tags is not None and rules.tags_as != "genres":
        editor.tags(wanted.tags)
    if wanted.tags is not None and rules.tags_as != "tags":
        editor.genres(wanted.tags)
    if wanted.rating is not None:
        editor.rating(wanted.rating)
    if wanted.ids is not None:
        editor.ids(wanted.ids)
    if wanted.added is not None:
        editor.added(wanted.added)
    return editor.edit()


class _Editor:
    """Changes a copy of an item, field by field."""

    def __init__(self, item: JellyfinItem, rules: EditRules, ours: Ours) -> None:
        self._item = item
        self._rules = rules
        self._ours = ours
        self._body = {key: value for key, value in item.items() if key not in KEPT}
        self._body["LockedFields"] = list(item["LockedFields"])
        self._changes: list[FieldChange] = []
        self._left: list[str] = []
        self._fields = dict(ours.record.fields)
        self._labels = ours.record.labels

    def edit(self) -> JellyfinEdit:
        """The edit as far as it got."""
        record = replace(self._ours.record, fields=self._fields, labels=self._labels)
        return JellyfinEdit(self._body, tuple(self._changes), tuple(self._left), record=record)

    def text(self, field: str, key: str, wanted: str) -> None:
        before = self._item.get(key)
        if same_text(before, wanted):
            self._is_right(field, before)
        else:
            self._write(field, before, wanted, {key: wanted})

    def date(self, wanted: State) -> None:
        """Day and year, or only the year."""
        before_day = str(self._item.get("PremiereDate") or "")[:10]
        before_year = self._item.get("ProductionYear")
        if not wanted.date:
            if before_day or before_year:
                self._write(
                    "date", before_day or before_year, None, {"PremiereDate": None, "ProductionYear": None}
                )
            return
        if wanted.day and before_day != wanted.day:
            self._write("date", before_day, wanted.day, {"PremiereDate": f"{wanted.day}T00:00:00.0000000Z"})
        if before_year != wanted.year:
            self._write("year", before_year, wanted.year, {"ProductionYear": wanted.year})

    def studios(self, wanted: Sequence[str]) -> None:
        before = [name_of(one) for one in self._item["Studios"]]
        if change := list_change(before, wanted, add_only=self._rules.add_only):
            kept = [one for one in self._item["Studios"] if name_of(one) not in change.removed]
            after = [*kept, *({"Name": name} for name in change.added)]
            self._write("studio", before, [name_of(one) for one in after], {"Studios": after})
        else:
            self._list_is_right("studio", before, wanted)

    def people(self, field: str, wanted: Sequence[str]) -> None:
        """People of one kind. Other kinds, and the roles of people who stay, are left alone."""
        kind, cast = CAST_KINDS[field], (self._body if "People" in self._body else self._item)["People"]
        before = names_of(cast, kind)
        if not (change := list_change(before, wanted, add_only=self._rules.add_only)):
            self._list_is_right(field, before, wanted)
            return
        after = changed_cast(cast, kind, change)
        self._write(field, before, names_of(after, kind), {"People": after})
        if not self._is_locked(field):
            # The new lock covers all kinds, and so does the list that we send.
            for other, kind in CAST_KINDS.items():
                self._fields[other] = digest(names_of(after, kind))

    def tags(self, wanted: Sequence[str]) -> None:
        before = self._item["Tags"]
        if change := list_change(before, wanted, add_only=self._rules.add_only, cased=True):
            after = change.applied(before)
            self._write("tags", before, after, {"Tags": after})
        else:
            self._list_is_right("tags", before, wanted)

    def genres(self, wanted: Sequence[str]) -> None:
        """Genres come from .nfo files and the internet, too. So only those that we added are ever removed."""
        before = self._item["Genres"]
        change = list_change(before, wanted, add_only=self._rules.add_only).removing_only(self._labels)
        if not change:
            self._list_is_right("genres", before, wanted)
        elif self._write("genres", before, after := change.applied(before), {"Genres": after}):
            self._labels = change.added_by_us(self._labels, after)

    def rating(self, wanted: float) -> None:
        before = self._item.get("CommunityRating") or 0
        if abs(before - wanted) >= RATING_STEP:
            self._write("rating", before or None, wanted or None, {"CommunityRating": wanted or None})

    def ids(self, wanted: str) -> None:
        ids = self._item["ProviderIds"]
        key = next((key for key in ids if same_name(key, PROVIDER)), PROVIDER)
        if ids.get(key) != wanted:
            self._write("ids", ids.get(key), wanted, {"ProviderIds": {**ids, key: wanted}})

    def added(self, wanted: datetime) -> None:
        """The date that Jellyfin calls "Date added", in UTC."""
        before, after = str(self._item.get("DateCreated") or ""), wanted.strftime("%Y-%m-%dT%H:%M:%S")
        if (before := before[: len(after)]) != after:
            self._write("date added", before, after, {"DateCreated": f"{after}.0000000Z"})

    def _write(self, field: str, before: object, after: object, values: JellyfinItem) -> bool:
        """Changes a field and locks it, unless the owner has locked it. Returns whether it is changed.

        The lock protects it from the server's own refresh. LockData, for the whole item, is left to the owner.
        """
        locked = self._rules.respect_locks and self._is_locked(field)
        if locked and not self._ours.may_write(field, before, added_to=self._is_added_to(field)):
            if digest(before) != digest(after):  # else only the case of its names differs
                self._left.append(field)
            return False
        self._changes.append((field, before, after))
        self._body.update(values)
        if lock := LOCKS.get(field):
            self._fields[field] = digest(after)
            if lock not in self._body["LockedFields"]:
                self._body["LockedFields"].append(lock)
        return True

    def _is_locked(self, field: str) -> bool:
        """Whether a field is locked, by the owner or by us."""
        return LOCKS.get(field) in self._item["LockedFields"]

    def _is_right(self, field: str, value: object) -> None:
        """A field already has the scene's value. If it is locked, that value may be ours from now on."""
        if self._is_locked(field) and self._ours.accepts(field, value):
            self._fields[field] = digest(value)

    def _list_is_right(self, field: str, value: Sequence[str], wanted: Sequence[str]) -> None:
        """The same for a list. One that is only added to may have names of the owner only."""
        if wanted or not self._is_added_to(field):
            self._is_right(field, value)

    def _is_added_to(self, field: str) -> bool:
        """Whether a field is a list from which names of the owner are never removed."""
        return field == "genres" or (field in LISTS and self._rules.add_only)
