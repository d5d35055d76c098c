"""Which dead letters a person means."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Mapping
from dataclasses import dataclass

LONGEST_ID = 18  # digits of a scene's id that SQLite can store


def folded(given: str) -> str:
    """The text without the difference of case, and composed: the same for what a person reads as the same."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", given).casefold())


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
        is_id = wanted.isascii() and wanted.isdigit() and len(wanted) <= LONGEST_ID
        return {
            "error_type": self.error_type,
            "destination": self.destination,
            "group_key": self.group,
            "deleted": "\n".join(("", *self.deleted, "")),
            "text": folded(wanted) or None,
            "scene": int(wanted) if is_id else None,
            "as_of": self.as_of,
        }


ALL = Selection()
