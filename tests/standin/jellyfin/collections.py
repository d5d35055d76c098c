"""Collections (CollectionController, CollectionManager). Nothing here deletes one.

A collection's id is computed from its folder, which is named after it when it is made. The owner may rename it;
the folder keeps its name.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from tests.standin.jellyfin.ids import collection_id, file_name


@dataclass
class BoxSet:
    """A collection."""

    name: str
    items: list[str] = field(default_factory=list)  # ids, in the order in which they came
    path: str = ""  # of its folder


@dataclass
class Collections:
    """All collections of a server, by id."""

    by_id: dict[str, BoxSet] = field(default_factory=dict)
    hides_new: bool = False  # the listing lacks them, as it may for a moment after they are made

    def create(self, name: str, ids: Iterable[str]) -> str:
        """Makes a collection. What has the same folder is replaced, and its items are lost."""
        found = collection_id(name)
        path = f"/var/lib/jellyfin/data/collections/{file_name(name)} [boxset]"
        self.by_id[found] = BoxSet(name, list(dict.fromkeys(ids)), path)
        return found

    def add(self, box: str, ids: Iterable[str]) -> None:
        """Adds items; those that are in it stay once."""
        self.by_id[box].items = list(dict.fromkeys([*self.by_id[box].items, *ids]))

    def take_out(self, box: str, ids: Iterable[str]) -> None:
        """Takes items out; others are ignored."""
        gone = set(ids)
        self.by_id[box].items = [one for one in self.by_id[box].items if one not in gone]

    def item(self, box: str) -> dict[str, Any]:
        """A collection as an item."""
        one = self.by_id[box]
        return {"Name": one.name, "Id": box, "Type": "BoxSet", "IsFolder": True, "Path": one.path}

    def listed(self) -> list[dict[str, Any]]:
        """All collections as items."""
        return [] if self.hides_new else list(map(self.item, self.by_id))
