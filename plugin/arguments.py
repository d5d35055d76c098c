"""A mode's optional arguments, read strictly: a misspelled or invalid one is refused, never ignored.

Otherwise ``discard_dead_letters`` with a misspelled filter would delete everything. Buttons give no arguments,
callers of ``runPluginOperation`` do, and tasks may send numbers as text.
"""

from __future__ import annotations

import contextlib
import datetime
import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from stash_courier.plugin.errors import BadInputError
from stash_courier.queue.checks import LATEST
from stash_courier.worker.connections.model import State

COMMON = {"mode", "log"}  # arguments of every mode
MOST_LETTERS = 1000
MOST_DAYS = 3650  # as in the retention setting
MOST_NUMBERS = {"days": MOST_DAYS, "limit": MOST_LETTERS, "page": 1_000_000, "scene": 2**63 - 1}
LONGEST_TEXT = {  # characters
    **dict.fromkeys(("error_type", "destination", "connection", "id", "name", "copy_of", "text"), 300),
    "group": 400,
    "kind": 40,
}
LARGEST_VALUES = 200_000  # characters of a connection's values as JSON


@dataclass(frozen=True, slots=True)
class Arguments:
    """A caller's arguments; None where one was not given."""

    ids: tuple[int, ...] | None = None  # of dead letters
    error_type: str | None = None
    destination: str | None = None  # its id
    group: str | None = None  # the key of a group of dead letters
    waiting: Literal["send", "dead_letter", "discard"] | None = None  # what becomes of what waits
    connection: str | None = None  # its id
    id: str | None = None  # of the connection to save, test or delete
    name: str | None = None
    kind: str | None = None
    state: State | None = None
    values: Mapping[str, object] | None = field(default=None, repr=False)  # a connection's fields
    revision: int | None = None  # of connections.json
    since: float | None = None  # wall time
    all: bool | None = None
    count: bool | None = None  # only count
    show_scene: bool | None = None  # a test may send a scene's title to people
    limit: int | None = None
    days: int | None = None
    text: str | None = None  # what a person searches for: a title, a path, a scene's id
    page: int | None = None  # of a list, from 1
    scene: int | None = None  # its id
    as_of: float | None = None  # wall time at which a list was shown: what came later isn't meant
    careful: bool | None = None  # one first, the rest if that one is delivered
    batch: float | None = None  # which dead letters were discarded together, as the answer told it
    copy_of: str | None = None  # id of the connection that a new one begins as


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
    most = MOST_NUMBERS[name]
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


def _line(name: str, value: object) -> str:
    """A text that a form checks later."""
    if not isinstance(value, str) or len(value) > LONGEST_TEXT[name]:
        raise BadInputError(f"{name} must be text of at most {LONGEST_TEXT[name]} characters. Nothing was done.")
    return value.encode("utf-8", "replace").decode()  # without lone surrogates, which SQLite doesn't take


def _text(name: str, value: object) -> str:
    text = _line(name, value).strip()
    if not text:
        raise BadInputError(f"{name} must not be empty. Nothing was done.")
    return text


def _one_of(*choices: str) -> Callable[[str, object], str]:
    def read(name: str, value: object) -> str:
        if value not in choices:
            raise BadInputError(f"{name} must be one of {', '.join(choices)}. Nothing was done.")
        return str(value)

    return read


def _switch(name: str, value: object) -> bool:
    found = {"true": True, "false": False}.get(str(value).lower())
    if found is None:
        raise BadInputError(f"{name} must be true or false. Nothing was done.")
    return found


def _moment(name: str, value: object) -> float:
    """A date such as 2026-05-01, in local time, or unix seconds."""
    with contextlib.suppress(ValueError, OSError, OverflowError):
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < LATEST:
            return float(value)
        if isinstance(value, str):
            return datetime.datetime.fromisoformat(value.strip()).timestamp()
    raise BadInputError(f"{name} must be a date such as 2026-05-01, or unix seconds. Nothing was done.")


def _revision(name: str, value: object) -> int:
    number = _whole(value)
    if number is None or number < 0:
        raise BadInputError(f"{name} must be a whole number, as the mode connections tells it. Nothing was done.")
    return number


def _values(name: str, value: object) -> Mapping[str, object]:
    if not isinstance(value, dict) or len(json.dumps(value)) > LARGEST_VALUES:
        raise BadInputError(
            f"{name} must be an object with the connection's fields, at most {LARGEST_VALUES:,} characters as "
            "JSON. Nothing was done."
        )
    return value


READERS = {
    "ids": _ids,
    "error_type": _text,
    "destination": _text,
    "group": _text,
    "waiting": _one_of("send", "dead_letter", "discard"),
    "connection": _text,
    "id": _text,
    "name": _line,
    "kind": _text,
    "state": _one_of("on", "paused", "off"),
    "values": _values,
    "revision": _revision,
    "since": _moment,
    "all": _switch,
    "count": _switch,
    "show_scene": _switch,
    "limit": _number,
    "days": _number,
    "text": _line,
    "page": _number,
    "scene": _number,
    "as_of": _moment,
    "careful": _switch,
    "batch": _moment,
    "copy_of": _text,
}
