"""Persons, and which people of an item are shown.

An item stores names. A person is an entry of its own, whose id is computed from the name. Who renames a person
changes only the entry: the item's cast then has a name that leads to a person with another name, and is not shown
(DtoService.AttachPeople). The same happens to names that make the same folder name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.standin.jellyfin.ids import person_id


@dataclass
class Persons:
    """All persons of a server, by id."""

    by_id: dict[str, dict[str, Any]] = field(default_factory=dict)

    def of(self, name: str) -> dict[str, Any]:
        """The entry that a name in a cast leads to. It is made if there is none."""
        found = person_id(name)
        return self.by_id.setdefault(found, {"Name": name, "Id": found, "Type": "Person"})

    def shown(self, cast: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """The people of an item as answers show them: without those whose entry has another name."""
        found = []
        for one in cast:
            entry = self.of(one["Name"])
            if (entry["Name"] or "").lower() == one["Name"].lower():
                found.append({"Name": one["Name"], "Id": entry["Id"], **one})
        return found

    def appearing(self, cast: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """The entries of an item's cast: one for each name (LibraryManager.GetPeopleItems, 10.8 to 12)."""
        return [self.of(name) for name in dict.fromkeys(one["Name"] for one in cast)]
