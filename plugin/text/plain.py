"""Values from a database as JSON can hold them."""

from __future__ import annotations

import math

DEEPEST = 6  # levels of a stored job that are shown; ours have three


def plain(value: object, depth: int = 0) -> object:
    """A stored job as JSON can hold it; bytes from a database may decode to anything."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if (isinstance(value, float) and not math.isfinite(value)) or (isinstance(value, int) and abs(value) >= 2**63):
        return str(value)
    if isinstance(value, dict | list | tuple) and depth >= DEEPEST:
        return "…"
    if isinstance(value, dict):
        return {str(key): plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item, depth + 1) for item in value]
    return value
