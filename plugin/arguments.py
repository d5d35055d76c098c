"""A mode's optional arguments, read strictly: a misspelled or invalid one is refused, never ignored.

Otherwise ``discard_dead_letters`` with a misspelled filter would delete everything. Buttons give no arguments,
callers of ``runPluginOperation`` do, and tasks may send numbers as text.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from stash_courier.plugin.errors import BadInputError

COMMON = {"mode", "log"}  # arguments of every mode
MOST_LETTERS = 1000
MOST_DAYS = 3650  # as in the retention setting
LONGEST_TEXT = {"error_type": 300, "destination": 300, "group": 400}  # characters


@dataclass(frozen=True, slots=True)
class Arguments:
    """A caller's arguments; None where one was not given."""

    ids: tuple[int, ...] | None = None  # of dead letters
    error_type: str | None = None
    destination: str | None = None  # its id
    group: str | None = None  # the key of a group of dead letters
    waiting: Literal["dead_letter", "discard"] | None = None  # what becomes of what waits for a destination
    limit: int | None = None
    days: int | None = None


def parse(mode: str, args: Mapping[str, object], allowed: Collection[str]) -> Arguments:
    """Reads a mode's arguments as Stash gives them; ``allowed`` are the fields of ``Arguments`` that it takes.

    Raises:
        BadInputError: the mode doesn't take an argument, or a value is invalid.
    """
    given = {name: value for name, value in args.items() if name not in COMMON and value is not None}
    unknown = next((name for name in given if name not in allowed), None)
    if unknown is not None:
        takes = ", ".join(sorted(allowed)) or "none"
        raise BadInputError(f"{mode} takes no argument {unknown[:40]!r}. Arguments: {takes}. Nothing was done.")
    read: dict[str, Any] = {name: READERS[name](name, value) for name, value in given.items()}
    return Arguments(**read)


def _ids(name: str, value: object) -> tuple[int, ...]:
    entries = value if isinstance(value, list) else [value]
    if len(entries) == 1 and isinstance(entries[0], str):
        entries = entries[0].replace(",", " ").split()
    ids = tuple(dict.fromkeys(_whole(entry) or 0 for entry in entries))
    if not 1 <= len(ids) <= MOST_LETTERS or min(ids) < 1:
        raise BadInputError(
            f"{name} must be 1 to {MOST_LETTERS} numbers of dead letters, as a list or as text like '1, 2 3'. "
            "Nothing was done."
        )
    return ids


def _number(name: str, value: object) -> int:
    number = _whole(value)
    most = MOST_DAYS if name == "days" else MOST_LETTERS
    if number is None or not 1 <= number <= most:
        raise BadInputError(f"{name} must be a whole number from 1 to {most}. Nothing was done.")
    return number


def _whole(value: object) -> int | None:
    """A whole number, given as a JSON number or as text; None if it isn't one."""
    if isinstance(value, str):
        text = value.strip()
        return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 2**63 or value % 1:
        return None
    return int(value)


def _text(name: str, value: object) -> str:
    if not isinstance(value, str) or not value.strip() or len(value) > LONGEST_TEXT[name]:
        raise BadInputError(f'{name} must be text, as "Review dead letters" shows it. Nothing was done.')
    return value.strip()


def _waiting(name: str, value: object) -> str:
    if value not in {"dead_letter", "discard"}:
        raise BadInputError(f"{name} must be dead_letter or discard. Nothing was done.")
    return str(value)


READERS = {
    "ids": _ids,
    "error_type": _text,
    "destination": _text,
    "group": _text,
    "waiting": _waiting,
    "limit": _number,
    "days": _number,
}
