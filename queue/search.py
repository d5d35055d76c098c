"""Searches for a scene by a part of its title or path, or by its id."""

from __future__ import annotations

import unicodedata

LONGEST_ID = 18  # digits of an id that SQLite can store


def folded(given: str) -> str:
    """The text without the difference of case, and composed: the same for what a person reads as the same."""
    if given.isascii():
        return given.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", given).casefold())


def search_text(title: str, path: str) -> str:
    """The column that a search looks at."""
    return folded(f"{title}\n{path}")


def scene_id(given: str) -> int | None:
    """The scene's id that a text is, such as ``12`` or ``scene 12``; None if it is none."""
    given = given.lower().removeprefix("scene ").strip()
    return int(given) if given.isascii() and given.isdigit() and len(given) <= LONGEST_ID else None
