"""JSON for the hook: the standard library's own C parser and writer without their Python front.

``import json`` loads ``re``, which costs each hook two thirds of a bare interpreter's start. Reads and
writes exactly as ``json.loads`` and ``json.dumps`` do; where an interpreter has no such C parts, or
other ones, it is ``json``. Nobody but the hook needs it.
"""

from __future__ import annotations

TYPE_CHECKING = False  # typing costs as much as re
if TYPE_CHECKING:
    from typing import Any

_CONSTANTS = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}
_SPACE = " \t\n\r"


class _Parsing:
    """What the C scanner wants to know, as ``json.JSONDecoder`` has it."""

    strict = True
    object_hook = object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = _CONSTANTS.__getitem__


def _refuse(value: object) -> object:
    raise TypeError(f"{type(value).__name__} can't be written as JSON")


try:
    from _json import encode_basestring_ascii, make_encoder, make_scanner

    _scan = make_scanner(_Parsing)
    _write = make_encoder(None, _refuse, encode_basestring_ascii, None, ": ", ", ", False, False, True)
    if _scan("[0]", 0) != ([0], 3) or "".join(_write([0], 0)) != "[0]":
        raise TypeError("they have changed")
except (ImportError, TypeError, AttributeError):
    from json import dumps, loads
else:

    def loads(raw: bytes) -> Any:
        """Reads a JSON document in UTF-8.

        Raises:
            ValueError: it is none.
            RecursionError: it is nested too deep.
        """
        text = raw.decode("utf-8", "surrogatepass")
        try:
            value, end = _scan(text, len(text) - len(text.lstrip(_SPACE)))
        except StopIteration as nowhere:
            raise ValueError(f"no JSON at character {nowhere.value}") from None
        if text[end:].strip(_SPACE):
            raise ValueError(f"something follows the JSON at character {end}")
        return value

    def dumps(value: object) -> str:
        """Writes a value as JSON in ASCII.

        Raises:
            TypeError, ValueError: it can't be written so.
        """
        return "".join(_write(value, 0))
