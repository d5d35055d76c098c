"""Checks of values that were read from a database or a JSON file. Such bytes are never trusted.

A check takes a value and returns it, typed. What it raises for a wrong value is one of ``DAMAGE``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")
U = TypeVar("U")

LATEST = 1e11  # wall times are below this: far beyond any date, and all arithmetic with them works
# What checks raise, and what looking into damaged JSON raises.
DAMAGE = (ValueError, LookupError, TypeError, AttributeError, RecursionError, OverflowError)


def typed(kind: type[T], value: object) -> T:
    """A value of this type; a bool is no int."""
    if type(value) is kind:
        return value
    if not isinstance(value, kind) or isinstance(value, bool) is not (kind is bool):
        raise TypeError(f"{kind.__name__} expected, {type(value).__name__} found")
    return value


def text(value: object) -> str:
    """A text, of any characters."""
    return typed(str, value)


def utf8(value: object) -> str:
    """A text that SQLite can store."""
    text(value).encode()
    return text(value)


def whole(value: object) -> int:
    """A whole number that SQLite can store."""
    if abs(typed(int, value)) >= 1 << 63:
        raise ValueError("the number has more than 64 bits")
    return typed(int, value)


def number(value: object) -> float:
    """A finite number."""
    found = typed(int, value) if isinstance(value, int) else typed(float, value)
    if not abs(found) <= sys.float_info.max:
        raise ValueError("the number isn't finite")
    return float(found)


def time(value: object) -> float:
    """A wall time, unix seconds."""
    if not 0 <= number(value) < LATEST:
        raise ValueError("the time is invalid")
    return number(value)


def items(check: Callable[[object], T]) -> Callable[[object], list[T]]:
    """A list whose items pass a check."""
    return lambda value: [check(item) for item in typed(list, value)]


def record(**fields: Callable[[object], object]) -> Callable[[object], dict[str, Any]]:
    """An object that has these fields, each of which passes its check."""

    def check(value: object) -> dict[str, Any]:
        found = typed(dict, value)
        for name, field in fields.items():
            field(found[name])
        return found

    return check


def or_default(check: Callable[[object], T], value: object, default: U) -> T | U:
    """The value, or the default if the value doesn't pass the check."""
    try:
        return check(value)
    except DAMAGE:
        return default


def parsed(cell: object) -> Any:
    """What the JSON in a database cell stands for."""
    return json.loads(cell if isinstance(cell, bytes | str) else "")


def optional(check: Callable[[object], T]) -> Callable[[object], T | None]:
    """A value that passes a check, or None."""
    return lambda value: None if value is None else check(value)
