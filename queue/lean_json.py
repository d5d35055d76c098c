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
    "".join(_write([0], 0))
except (ImportError, TypeError, AttributeError):
    from json import dumps, loads
else:

    def loads(raw: bytes) -> Any:
        """Reads a JSON document.

        Raises:
            ValueError: it is none.
            RecursionError: it is nested too deep.
        """
        try:
            text = raw.decode("utf-8", "surrogatepass")
            value, end = _scan(text, len(text) - len(text.lstrip(_SPACE)))
            if not text[end:].strip(_SPACE):
                return value
        except (StopIteration, ValueError, SystemError):
            pass  # SystemError: the scanner looks for json's exception, and json isn't there
        import json  # noqa: PLC0415  # rare, and dear

        return json.loads(raw)  # which says what is wrong

    def dumps(value: object) -> str:
        """Writes a value as JSON in ASCII.

        Raises:
            TypeError, ValueError: it can't be written so.
        """
        return "".join(_write(value, 0))
