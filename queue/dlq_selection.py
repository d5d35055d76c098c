"""Which dead letters a person means."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from stash_courier.queue.search import folded, scene_id


@dataclass(frozen=True, slots=True)
class Selection:
    """Open dead letters that fit every field that isn't None."""

    ids: Collection[int] | None = None
    error_type: str | None = None
    destination: str | None = None  # its id
    group: str | None = None  # a group's key
    deleted: Collection[str] = ()  # ids of deleted connections, to which nothing can be sent again
    text: str | None = None  # part of the title or the path, or the scene's id
    as_of: float | None = None  # wall time: those that failed later aren't meant

    @property
    def parameters(self) -> Mapping[str, str | float | None]:
        """Parameters of the statements that take a selection, without the ids."""
        wanted = (self.text or "").strip()
        return {
            "error_type": self.error_type,
            "destination": self.destination,
            "group_key": self.group,
            "deleted": "\n".join(("", *self.deleted, "")),
            "text": folded(wanted) or None,
            "scene": scene_id(wanted),
            "as_of": self.as_of,
        }


ALL = Selection()
