"""sqlite3 for the hook: the standard library's own C part without its Python front.

``import sqlite3`` loads ``datetime``, ``collections`` and ``functools``, for adapters and a cache of statements
that a hook doesn't use, and half of a bare interpreter's start passes over it. The classes of the C part are
those of ``sqlite3``: an ``except`` of one catches the other. A process that has ``functools`` anyway, or an
interpreter without such a C part, gets ``sqlite3`` itself.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False  # importing typing is expensive for a hook
if TYPE_CHECKING:
    from types import ModuleType


def module() -> ModuleType:
    """The module to use as sqlite3."""
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
