"""json and sqlite3 for the hook: the C parts of the standard library without their Python front.

``import json`` loads ``re``, which costs each hook a fifth of a bare interpreter's start. ``import sqlite3`` loads
``datetime``, ``collections`` and ``functools``, for adapters and a cache of statements that a hook doesn't use:
half of a start. ``loads`` and ``dumps`` read and write exactly like those of ``json``, and fall back to them if
the C functions are missing.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False  # importing typing is expensive for a hook
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType
    from typing import Any

_SPACE = " \t\n\r"


class _Parsing:
    """The attributes that the C scanner reads from a ``json.JSONDecoder``."""

    strict = True
    object_hook = object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = float  # of "NaN", "Infinity" or "-Infinity"


def _refuse(value: object) -> object:
    raise TypeError(f"{type(value).__name__} can't be written as JSON")


def _c_json() -> tuple[Callable[[bytes], Any], Callable[[object], str]]:
    """``loads`` and ``dumps`` without the json module. Raises if the interpreter lacks the C functions."""
    import _json

    scan = _json.make_scanner(_Parsing)  # type: ignore[arg-type]  # any object with these attributes
    write = _json.make_encoder(None, _refuse, _json.encode_basestring_ascii, None, ": ", ", ", False, False, True)
    "".join(write([0], 0))

    def read(raw: bytes) -> Any:
        try:
            text = raw.decode("utf-8", "surrogatepass")
            value, end = scan(text, len(text) - len(text.lstrip(_SPACE)))
            if not text[end:].strip(_SPACE):
                return value
        except (StopIteration, ValueError, SystemError):
            pass  # SystemError: the scanner wants to raise json's exception, and json isn't imported
        import json  # rare and expensive

        return json.loads(raw)  # raises the error that explains what is wrong

    return read, lambda value: "".join(write(value, 0))


# loads raises ValueError for what isn't JSON, RecursionError if it is nested too deeply. dumps writes ASCII and
# raises TypeError or ValueError for what can't be written.
try:
    loads, dumps = _c_json()
except (ImportError, TypeError, AttributeError):
    import json

    loads, dumps = json.loads, json.dumps


def sqlite() -> ModuleType:
    """The module to use as sqlite3: the C part, or sqlite3 itself.

    The classes of the C part are those of ``sqlite3``: an ``except`` of one catches the other. A process that has
    ``functools`` anyway, or an interpreter without such a C part, gets ``sqlite3``.
    """
    if sys.implementation.name == "cpython" and "functools" not in sys.modules:
        # All that the C part wants of functools. It caches nothing: a hook repeats no statement.
        functools = type(sys)("functools")
        vars(functools)["lru_cache"] = lambda _size: lambda prepare: prepare
        sys.modules["functools"] = functools
        try:
            import _sqlite3

            return _sqlite3
        except (ImportError, AttributeError):
            pass  # another C part than we know
        finally:
            del sys.modules["functools"]
    import sqlite3

    return sqlite3
