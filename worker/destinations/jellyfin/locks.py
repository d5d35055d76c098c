"""Locks of Jellyfin's items: which of our fields a lock covers, and which locked fields we may write. Pure.

Jellyfin's own refresh leaves locked fields alone, but its API overwrites them, so respecting them is up to us. We
lock what we write, and a lock doesn't say who set it. So the value decides: a locked field is ours if it still has
the value that we last wrote or, without a record, the one that we would write now. Any other value is the owner's.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from stash_courier.worker.destinations.media.attempts import Ours

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


@dataclass(frozen=True, slots=True)
class Locks:
    """The locks of one item."""

    names: Collection[str]  # its LockedFields
    ours: Ours
    respected: bool

    def cover(self, field: str) -> bool:
        """Whether a field is locked, by the owner or by us."""
        return LOCKS.get(field) in self.names

    def forbid(self, field: str, value: object) -> bool:
        """Whether a field must keep its value, because the owner locked it."""
        return self.respected and self.cover(field) and not self.ours.wrote(field, value)
