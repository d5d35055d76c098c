"""The edit that writes a scene's fields to a Plex item: only what differs, with removals, locked. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import quote

from stash_courier.worker.destinations.media.state import (
    Change,
    FieldChange,
    State,
    list_change,
    same_text,
)
from stash_courier.worker.destinations.plex.api import SHOWN, PlexItem

# The fields of State that Plex has, and their names in edits.
SCALARS = {
    "title": "title",
    "details": "summary",
    "date": "originallyAvailableAt",
    "studio": "studio",
    "rating": "userRating",
}
LISTS = {"performers": "actor", "tags": "genre", "groups": "collection", "director": "director"}
FIELDS = (*SCALARS, *LISTS)
ADDED_ONLY = {"groups"}  # the owner may have put the item into other collections


@dataclass
class PlexEdit:
    """One edit. False if there is nothing to change."""

    parameters: dict[str, str] = field(default_factory=dict)  # in the order in which they are sent
    changes: list[FieldChange] = field(default_factory=list)
    removals: list[str] = field(default_factory=list)  # names to remove, from all lists

    def __bool__(self) -> bool:
        return bool(self.parameters)


def needs_whole(item: PlexItem, wanted: State) -> bool:
    """Whether a listing may have cut a list of the item that is compared."""
    return not item.whole and any(
        len(item.lists[name]) >= SHOWN for what, name in LISTS.items() if getattr(wanted, what) is not None
    )


def edit_for(item: PlexItem, wanted: State, *, add_only: bool) -> PlexEdit:
    """The edit that turns an item with whole lists into the wanted state.

    Wanted fields that are None are left alone. With ``add_only``, nothing is removed from lists.
    """
    edit = PlexEdit()
    for what, name in SCALARS.items():
        _compare_scalar(edit, what, name, item.scalars.get(name, ""), _text(what, wanted))
    for what, name in LISTS.items():
        value = getattr(wanted, what)
        if value is not None:
            names = ((value,) if value else ()) if isinstance(value, str) else value
            change = list_change(item.lists[name], names, add_only=add_only or what in ADDED_ONLY)
            if change:
                _change_list(edit, what, item.lists[name], change)
    return edit


def _text(what: str, wanted: State) -> str | None:
    """A scalar as Plex writes it; None to leave it alone."""
    if what == "date":
        # Plex stores full dates only, and a made-up day would be wrong.
        return wanted.date if not wanted.date else wanted.day
    if what == "rating":
        return None if wanted.rating is None else f"{wanted.rating:g}" if wanted.rating else ""
    value: str | None = getattr(wanted, what)
    return value


def _compare_scalar(edit: PlexEdit, what: str, name: str, current: str, wanted: str | None) -> None:
    if wanted is None or same_text(current, wanted) or (what == "rating" and _same_number(current, wanted)):
        return
    edit.parameters |= {f"{name}.value": wanted, f"{name}.locked": "1"}
    edit.changes.append((what, current, wanted))


def _same_number(one: str, other: str) -> bool:
    try:
        return float(one or 0) == float(other or 0)
    except ValueError:
        return False


def _change_list(edit: PlexEdit, what: str, current: Sequence[str], change: Change) -> None:
    name = LISTS[what]
    # All names, not only the new ones: a server that takes them for the whole list loses nothing.
    after = [*(tag for tag in current if tag not in change.removed), *change.added]
    edit.parameters |= {f"{name}[{n}].tag.tag": tag for n, tag in enumerate(after)}
    if change.removed:
        # As python-plexapi does: each name is quoted, joined by commas, and later quoted again as a parameter.
        edit.parameters[f"{name}[].tag.tag-"] = ",".join(quote(tag, errors="replace") for tag in change.removed)
    edit.parameters[f"{name}.locked"] = "1"
    edit.removals += change.removed
    edit.changes.append((what, current, after))
