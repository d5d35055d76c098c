"""JSON for the hook: the standard library's own C parser and writer without their Python front.

``import json`` loads ``re``, which costs each hook a fifth of a bare interpreter's start. Reads and
writes exactly as ``json.loads`` and ``json.dumps`` do; where an interpreter has no such C parts, or
other ones, it is ``json``. Nobody but the hook needs it.
"""

from __future__ import annotations

TYPE_CHECKING = False  # typing costs as much as re
if TYPE_CHECKING:
    from collections.abc import Callable
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


def _lean() -> tuple[Callable[[bytes], Any], Callable[[object], str]]:
    """The two functions without json.

    Raises:
        ImportError, TypeError, AttributeError: this interpreter's C parts aren't those we know.
    """
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
            pass  # SystemError: the scanner looks for json's exception, and json isn't there
        import json  # rare, and dear

        return json.loads(raw)  # which says what is wrong

    return read, lambda value: "".join(write(value, 0))


def _plain() -> tuple[Callable[[bytes], Any], Callable[[object], str]]:
    import json

    return json.loads, json.dumps


try:
    _read, _write = _lean()
except (ImportError, TypeError, AttributeError):
    _read, _write = _plain()


def loads(raw: bytes) -> Any:
    """Reads a JSON document.

    Raises:
        ValueError: it is none.
        RecursionError: it is nested too deep.
    """
    return _read(raw)


def dumps(value: object) -> str:
    """Writes a value as JSON in ASCII.

    Raises:
        TypeError, ValueError: it can't be written so.
    """
    return _write(value)
