"""A mode's optional arguments, read strictly: a misspelled or invalid one is refused, never ignored.

Otherwise ``discard_dead_letters`` with a misspelled filter would delete everything. Buttons give no arguments,
callers of ``runPluginOperation`` do, and tasks may send numbers as text.
"""

from __future__ import annotations

import contextlib
import datetime
import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from stash_courier.plugin.errors import BadInputError
from stash_courier.queue.dead_letters.listing import Selection
from stash_courier.worker.connections.model import State

COMMON = {"mode", "log"}  # arguments of every mode
MOST_LETTERS = 1000
MOST_DAYS = 3650  # as in the retention setting
LARGEST_VALUES = 200_000  # characters of a connection's values as JSON
LATEST_TIME = 1e11  # unix seconds, far beyond any date

Reader = Callable[[str, object], object]  # gets an argument's name and value; raises BadInputError


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


def _number(most: int) -> Reader:
    def read(name: str, value: object) -> int:
        number = _whole(value)
        if number is None or not 1 <= number <= most:
            raise BadInputError(f"{name} must be a whole number from 1 to {most}. Nothing was done.")
        return number

    return read


def _whole(value: object) -> int | None:
    """A whole number, given as a JSON number or as text; None if it isn't one."""
    if isinstance(value, str):
        text = value.strip()
        return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 2**63 or value % 1:
        return None
    return int(value)


def _text(longest: int = 300, *, may_be_empty: bool = False) -> Reader:
    """A text of at most so many characters. One that may be empty is checked later, so it isn't stripped."""

    def read(name: str, value: object) -> str:
        if not isinstance(value, str) or len(value) > longest:
            raise BadInputError(f"{name} must be text of at most {longest} characters. Nothing was done.")
        text = value.encode("utf-8", "replace").decode()  # without lone surrogates, which SQLite doesn't take
        if may_be_empty:
            return text
        if not text.strip():
            raise BadInputError(f"{name} must not be empty. Nothing was done.")
        return text.strip()

    return read


def _one_of(*choices: str) -> Reader:
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
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < LATEST_TIME:
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


def _by(reader: Reader) -> Any:
    """A field of ``Arguments`` and how it is read. None where it isn't given."""
    return field(default=None, metadata={"reader": reader})


@dataclass(frozen=True, slots=True)
class Arguments:
    """A caller's arguments; None where one was not given."""

    ids: tuple[int, ...] | None = _by(_ids)  # of dead letters
    error_type: str | None = _by(_text())
    destination: str | None = _by(_text())  # its id
    group: str | None = _by(_text(400))  # the key of a group of dead letters
    waiting: Literal["send", "dead_letter", "discard"] | None = _by(_one_of("send", "dead_letter", "discard"))
    connection: str | None = _by(_text())  # its id
    id: str | None = _by(_text())  # of the connection to save, test or delete
    name: str | None = _by(_text(may_be_empty=True))
    kind: str | None = _by(_text(40))
    state: State | None = _by(_one_of("on", "paused", "off"))
    # A connection's fields, which may be secret.
    values: Mapping[str, object] | None = field(default=None, metadata={"reader": _values}, repr=False)
    revision: int | None = _by(_revision)  # of connections.json
    since: float | None = _by(_moment)  # wall time
    all: bool | None = _by(_switch)
    count: bool | None = _by(_switch)  # only count
    show_scene: bool | None = _by(_switch)  # a test may send a scene's title to people
    limit: int | None = _by(_number(MOST_LETTERS))
    days: int | None = _by(_number(MOST_DAYS))
    text: str | None = _by(_text(may_be_empty=True))  # what a person searches for: a title, a path, a scene's id
    page: int | None = _by(_number(1_000_000))  # of a list, from 1
    scene: int | None = _by(_number(2**63 - 1))  # its id
    as_of: float | None = _by(_moment)  # wall time at which a list was shown: what came later isn't meant
    careful: bool | None = _by(_switch)  # one first, the rest if that one is delivered
    batch: float | None = _by(_moment)  # which dead letters were discarded together, as the answer told it
    copy_of: str | None = _by(_text())  # id of the connection that a new one begins as

    def dead_letters(self) -> Selection:
        """The dead letters that the caller selects; without ids all that fit the filters."""
        return Selection(self.ids, self.error_type, self.destination, self.group, text=self.text, as_of=self.as_of)


READERS: Mapping[str, Reader] = {one.name: one.metadata["reader"] for one in fields(Arguments)}


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
