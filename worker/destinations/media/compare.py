"""Compares texts and lists of names in Stash with those of a media server."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

SHOWN = 80  # characters of a value in a line for a person


def names(found: Iterable[str]) -> tuple[str, ...]:
    """Names with their spaces tidied, without empty ones and without duplicates that differ only in case."""
    first: dict[str, str] = {}
    for name in (" ".join(n.split()) for n in found):
        if name:
            first.setdefault(_folded(name), name)
    return tuple(first.values())


def tidy(value: str) -> str:
    """A text as servers return it: line feeds only, no surrounding white space."""
    return value.replace("\r\n", "\n").replace("\r", "\n").strip()


def same_text(one: str | None, other: str | None) -> bool:
    """Whether two texts are equal, apart from line ends, surrounding white space and Unicode composition."""
    return unicodedata.normalize("NFC", tidy(one or "")) == unicodedata.normalize("NFC", tidy(other or ""))


def same_name(one: str | None, other: str | None) -> bool:
    """Whether two names are equal in any case: servers keep the case in which they first saw a name."""
    return _folded(one or "") == _folded(other or "")


@dataclass(frozen=True, slots=True)
class Change:
    """What to add to a list and to remove from it. False if there is nothing to do."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()  # spelled as on the server

    def __bool__(self) -> bool:
        return bool(self.added or self.removed)


def list_change(current: Sequence[str], wanted: Sequence[str], *, add_only: bool, cased: bool = False) -> Change:
    """The change that turns a server's list into Stash's. The order doesn't matter.

    Args:
        current: the server's list.
        wanted: Stash's list.
        add_only: remove nothing.
        cased: case matters, for lists in which the server takes over our spelling. Ignored with add_only.
    """
    key = _composed if cased and not add_only else _folded
    have = {key(name) for name in current}
    want = {key(name) for name in wanted}
    added = tuple(name for name in wanted if key(name) not in have)
    removed = () if add_only else tuple(name for name in current if key(name) not in want)
    return Change(added, removed)


def would_change(field_name: str, before: object, after: object) -> str:
    """One changed field, in a line for a person."""
    return f"{field_name}: {_shown(before)} would become {_shown(after)}"


def _shown(value: object) -> str:
    if isinstance(value, list | tuple):
        value = ", ".join(map(str, value))
    shown = "".join(c if c.isprintable() else " " for c in str("" if value is None else value))
    if not shown:
        return "nothing"
    return f'"{shown}"' if len(shown) <= SHOWN else f'"{shown[:SHOWN]}…"'


def _folded(name: str) -> str:
    return _composed(name.casefold())


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", " ".join(name.split()))
