"""Collections (CollectionController, CollectionManager). Nothing here deletes one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from tests.standin.jellyfin.ids import collection_id


@dataclass
class BoxSet:
    """A collection."""

    name: str
    items: list[str] = field(default_factory=list)  # ids, in the order in which they came


@dataclass
class Collections:
    """All collections of a server, by id."""

    by_id: dict[str, BoxSet] = field(default_factory=dict)

    def create(self, name: str, ids: Iterable[str]) -> str:
        """Makes a collection. One of the same name is replaced, with the items in it."""
        found = collection_id(name)
        self.by_id[found] = BoxSet(name, list(dict.fromkeys(ids)))
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
        return {"Name": self.by_id[box].name, "Id": box, "Type": "BoxSet", "IsFolder": True}
