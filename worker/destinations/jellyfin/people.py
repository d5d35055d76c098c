"""The people of Jellyfin's items: the list after a change, and whether it may be sent at all. Pure.

A list of people in an update replaces the whole cast. So the entries of those who stay are sent as they were read,
with role, type and order. Jellyfin 12 has several entries for a person with several roles.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from stash_courier.worker.destinations.media.state import Change, folded

Entry = Mapping[str, Any]  # an entry of People, or a person's own item

KINDS: Mapping[str, str] = {"performers": "Actor", "director": "Director"}  # our fields → Type of an entry


def name_of(entry: Entry) -> str:
    """The name in an entry of a list; "" if it has none."""
    return str(entry.get("Name") or "")


def names_of(people: Iterable[Entry], kind: str) -> list[str]:
    """The people of one kind, each once."""
    return list(dict.fromkeys(name_of(one) for one in people if one.get("Type") == kind))


def changed(people: Iterable[Entry], kind: str, change: Change) -> list[Entry]:
    """The list after a change of the people of one kind."""
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
