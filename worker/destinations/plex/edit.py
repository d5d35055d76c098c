"""What a scene's item in Plex should have, and the edit that writes it: what differs, with its locks. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from urllib.parse import quote

from stash_courier.queue.jobs import Scene
from stash_courier.worker.destinations.media.record import NOTHING, Ours, Record, digest
from stash_courier.worker.destinations.media.state import (
    Change,
    FieldChange,
    State,
    added_at,
    collection_names,
    list_change,
    names,
    same_text,
    wanted_state,
)
from stash_courier.worker.destinations.plex.api import SHOWN, PlexItem, Role
from stash_courier.worker.destinations.plex.settings import Options


@dataclass(frozen=True, slots=True)
class Wanted:
    """The values of an item, by the names of our fields. Fields that are absent are left alone."""

    scalars: Mapping[str, str] = field(default_factory=dict)  # "" empties
    lists: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    rating: float | None = None  # above 0, up to 10; 0 means none

    def without(self, fields: Collection[str]) -> Wanted:
        """The same, with these fields left alone."""
        return replace(
            self,
            scalars={name: value for name, value in self.scalars.items() if name not in fields},
            lists={name: value for name, value in self.lists.items() if name not in fields},
        )


def wanted_for(scene: Scene, options: Options) -> Wanted:
    """The values of a scene's item."""
    state = wanted_state(scene, options.skip_fields)
    scalars = {
        "title": state.title,
        "details": state.details,
        "date": _date(state),
        "studio": state.studio,
        "date_added": _date_added(scene) if options.date_added else None,
    }
    lists = {
        "performers": state.performers,
        "tags": state.tags if options.tags_as in {"genres", "both"} else None,
        "labels": state.tags if options.tags_as in {"labels", "both"} else None,
        "director": None if state.director is None else names([state.director]),
        "collections": _collections(scene, options),
    }
    return Wanted(
        {name: value for name, value in scalars.items() if value is not None},
        {name: value for name, value in lists.items() if value is not None},
        state.rating,
    )


def _date(state: State) -> str | None:
    """Plex stores full dates only, and a made-up day would be wrong."""
    return state.day if state.date else state.date


def _date_added(scene: Scene) -> str | None:
    """In unix seconds, as python-plexapi's ``editAddedAt`` sends it."""
    added = added_at(scene)
    return None if added is None else str(int(added.timestamp()))


def _collections(scene: Scene, options: Options) -> tuple[str, ...] | None:
    """Also empty: what we added is taken out when the scene has left its groups."""
    chosen = options.collections
    if "groups" not in options.skip_fields.fields:
        chosen = "studio" if chosen in {"studio", "both"} else "none"
    return None if chosen == "none" else collection_names(scene, chosen)


# Our fields, and their names in edits, in the order in which they are sent.
SCALARS = {
    "title": "title",
    "details": "summary",
    "date": "originallyAvailableAt",
    "studio": "studio",
    "date_added": "addedAt",
}
LISTS = {
    "performers": "actor",
    "tags": "genre",
    "labels": "label",
    "director": "director",
    "collections": "collection",
}
# Owners put items into collections, and share libraries by labels. So only names that we added are ever removed.
SHARED = ("labels", "collections")
RATING = "userRating"


@dataclass(frozen=True, slots=True)
class Rules:
    """How fields are written, as the owner wants it."""

    add_only: bool = False  # nothing is removed from lists
    respect_locks: bool = True


@dataclass
class PlexEdit:
    """One edit. False if there is nothing to change."""

    record: Record  # what the item has from us once the edit is made
    parameters: dict[str, str] = field(default_factory=dict)  # in the order in which they are sent
    changes: list[FieldChange] = field(default_factory=list)
    removals: list[str] = field(default_factory=list)  # names to remove, from all lists
    rating: float | None = None  # the rating to set; None: it is right, or left alone
    left: list[str] = field(default_factory=list)  # fields that keep another value, because the owner locked them

    def __bool__(self) -> bool:
        return bool(self.parameters) or self.rating is not None


def needs_whole(item: PlexItem, wanted: Wanted, rules: Rules, ours: Ours = NOTHING) -> bool:
    """Whether an item from a listing has to be read: a list may have been cut, or an edit depends on its locks."""
    if item.whole:
        return False
    return (
        "labels" in wanted.lists  # it isn't known whether listings show them
        or any(len(item.lists[LISTS[what]]) >= SHOWN for what in wanted.lists)
        or bool(edit_for(item, wanted, rules, ours))
    )


def edit_for(item: PlexItem, wanted: Wanted, rules: Rules, ours: Ours = NOTHING) -> PlexEdit:
    """The edit that turns a whole item into the wanted one.

    Args:
        item: as it was read.
        wanted: the scene's values.
        rules: how they are written.
        ours: what the item may have from us.
    """
    editor = _Editor(item, rules, ours)
    for what in SCALARS:
        if what in wanted.scalars:
            editor.write_scalar(what, wanted.scalars[what])
    for what in LISTS:
        if what in wanted.lists:
            editor.write_list(what, wanted.lists[what])
    if wanted.rating is not None:
        editor.write_rating(wanted.rating)
    return editor.edit()


class _Editor:
    """Makes an edit, field by field."""

    def __init__(self, item: PlexItem, rules: Rules, ours: Ours) -> None:
        record = ours.record
        self._item = item
        self._rules = rules
        self._ours = ours
        self._fields = dict(record.fields)
        self._added = {"labels": record.labels, "collections": record.collections}
        self._edit = PlexEdit(record)

    def edit(self) -> PlexEdit:
        """The edit as far as it got."""
        labels, collections = self._added["labels"], self._added["collections"]
        self._edit.record = replace(self._ours.record, fields=self._fields, labels=labels, collections=collections)
        return self._edit

    def write_scalar(self, what: str, wanted: str) -> None:
        name = SCALARS[what]
        current = self._item.scalars.get(name, "")
        if same_text(current, wanted):
            self._is_right(what, current)
        elif not self._is_owners(what, name, current):
            self._change(what, name, current, wanted, {f"{name}.value": wanted})

    def write_list(self, what: str, wanted: Sequence[str]) -> None:
        name = LISTS[what]
        current = self._item.lists[name]
        change = self._list_change(what, current, wanted)
        if not change:
            if wanted or not self._is_added_to(what):
                self._is_right(what, current)
            return
        if self._is_owners(what, name, current):
            return
        after = change.applied(current)
        # All names, not only the new ones: a list that is sent replaces the item's. So python-plexapi's
        # ``editTags`` sends them all, and its pull request 151 says why.
        entries = _cast(self._item, change) if what == "performers" else _tags(name, after)
        if change.removed:
            # As python-plexapi does: each name is quoted, joined by commas, and later quoted again as a parameter.
            entries[f"{name}[].tag.tag-"] = ",".join(quote(tag, errors="replace") for tag in change.removed)
        self._edit.removals += change.removed
        self._change(what, name, current, after, entries)
        if what in SHARED:
            self._added[what] = change.added_by_us(self._added[what], after)

    def write_rating(self, wanted: float) -> None:
        """Stars have no lock."""
        current = self._item.scalars.get(RATING, "")
        if not _same_number(current, wanted):
            self._edit.rating = wanted
            self._edit.changes.append(("rating", current, f"{wanted:g}" if wanted else ""))

    def _list_change(self, what: str, current: Sequence[str], wanted: Sequence[str]) -> Change:
        change = list_change(current, wanted, add_only=self._rules.add_only)
        return change.removing_only(self._added[what]) if what in SHARED else change

    def _is_added_to(self, what: str) -> bool:
        return what in SHARED or (what in LISTS and self._rules.add_only)

    def _is_owners(self, what: str, name: str, current: object) -> bool:
        """Whether the owner locked a field that would change. If so, that is noted."""
        if not self._rules.respect_locks or name not in self._item.locked:
            return False
        if self._ours.may_write(what, current, added_to=self._is_added_to(what)):
            return False
        self._edit.left.append(what)
        return True

    def _is_right(self, what: str, current: object) -> None:
        """A field already has the scene's value, which may be ours from now on."""
        if self._ours.accepts(what, current):
            self._fields[what] = digest(current)

    def _change(self, what: str, name: str, before: object, after: object, parameters: Mapping[str, str]) -> None:
        self._edit.parameters |= {**parameters, f"{name}.locked": "1"}
        self._edit.changes.append((what, before, after))
        self._fields[what] = digest(after)


def _tags(name: str, tags: Sequence[str]) -> dict[str, str]:
    return {f"{name}[{n}].tag.tag": tag for n, tag in enumerate(tags)}


def _cast(item: PlexItem, change: Change) -> dict[str, str]:
    """The whole entries of those who stay: without its role, an entry would lose it."""
    kept = (one for one in item.cast if one.name not in change.removed)
    entries: dict[str, str] = {}
    for n, one in enumerate([*kept, *map(Role, change.added)]):
        entries |= one.parameters(n)
    return entries


def _same_number(current: str, wanted: float) -> bool:
    try:
        return float(current or 0) == wanted
    except ValueError:
        return False
