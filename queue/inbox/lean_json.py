"""JSON for the hook: the C scanner and encoder of the standard library without their Python wrapper.

``import json`` loads ``re``, which costs each hook a fifth of a bare interpreter's start. This module reads and
writes exactly like ``json.loads`` and ``json.dumps``, and falls back to them if the C functions are missing.
"""

from __future__ import annotations

TYPE_CHECKING = False  # importing typing is expensive for a hook
if TYPE_CHECKING:
    from collections.abc import Callable
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


def _lean() -> tuple[Callable[[bytes], Any], Callable[[object], str]]:
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
    loads, dumps = _lean()
except (ImportError, TypeError, AttributeError):
    import json

    loads, dumps = json.loads, json.dumps
