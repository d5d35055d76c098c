"""Text as receivers accept it: without lone surrogates, on one line, escaped, cut to a length as they count.

Lengths are counted so that a text is never longer by the receiver's count, and never much shorter.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

ELLIPSIS = "…"  # ends every text that was cut

_LONE_SURROGATES = re.compile("[\ud800-\udfff]")
_HTML = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})


@dataclass(frozen=True, slots=True)
class Escaping:
    """How a receiver wants texts written, and how it counts their length."""

    escape: Callable[[str], str]
    size: Callable[[str], int]  # of a text before it is escaped


def clean(text: str) -> str:
    """The text with U+FFFD for each lone surrogate, which most receivers refuse or silently drop."""
    return text if text.isascii() else _LONE_SURROGATES.sub("\ufffd", text)


def clean_all(value: object) -> object:
    """The same for all texts in a JSON value, keys excepted: ours are plain."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, dict):
        return {key: clean_all(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [clean_all(one) for one in value]
    return value


def one_line(text: str, limit: int) -> str:
    """The text with its white space collapsed, cut to this many characters."""
    return cut(" ".join(text[: 100 * limit].split()), limit)


def cut(text: str, limit: int) -> str:
    """The text, or its beginning and an ellipsis, in at most this many characters."""
    return text if len(text) <= limit else text[: max(limit - 1, 0)].rstrip() + ELLIPSIS[:limit]


def fit(pieces: Sequence[str], limit: int, size: Callable[[str], int]) -> list[str]:
    """Cuts the longest of the pieces, so that together they are within the limit; the short ones stay whole.

    Args:
        limit: of the sum of all sizes, at least 0.
        size: of one piece; no character has size 0.
    """
    pieces = [piece[: limit + 1] for piece in pieces]
    if sum(map(size, pieces)) <= limit:
        return pieces
    low, high = 0, limit  # a cap of low fits, one of high doesn't
    while high - low > 1:
        cap = (low + high) // 2
        if sum(size(cut(piece, cap)) for piece in pieces) <= limit:
            low = cap
        else:
            high = cap
    return [cut(piece, low) for piece in pieces]


def _as_is(text: str) -> str:
    return text


def _escape_html(text: str) -> str:
    return text.translate(_HTML)


def _units(text: str) -> int:
    """UTF-16 units, as JavaScript counts: no service that counts characters counts more."""
    return len(text.encode("utf-16-le")) // 2


def _escaped_units(text: str) -> int:
    return _units(_escape_html(text))


def _json_bytes(text: str) -> int:
    return len(json.dumps(text, ensure_ascii=False).encode()) - len('""')


PLAIN = Escaping(_as_is, _units)
BYTES = Escaping(_as_is, _json_bytes)  # as bytes of the body
SLACK = Escaping(_escape_html, _escaped_units)  # counts "&amp;" as five; only & < > are to be escaped
TELEGRAM = Escaping(_escape_html, _units)  # HTML; counts what is shown, so "&amp;" as one
