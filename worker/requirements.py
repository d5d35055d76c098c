"""Which Python and SQLite the worker and the buttons need. The hook itself also runs on older ones.

Like everything on the hook's path, this module must run on Python 3.9.
"""

from __future__ import annotations

import sys

PYTHON = (3, 11)
SQLITE = (3, 35)


def unmet() -> str | None:
    """What was found, what is needed and what to do, if the worker can't run on this Python; else None."""
    sqlite = _sqlite_version()
    if sys.version_info >= PYTHON and tuple(map(int, sqlite.split("."))) >= SQLITE:
        return None
    return (
        f"Python {_dotted(sys.version_info[:3])} ({sys.executable}) with SQLite {sqlite} was found, and Python "
        f"{_dotted(PYTHON)} or newer with SQLite {_dotted(SQLITE)} or newer is needed; until then neither "
        "buttons nor worker run here, and changes are kept. Install them, or enter another Python at "
        '"Python Executable Path" in the system settings of Stash.'
    )


def _sqlite_version() -> str:
    if "_sqlite3" in sys.modules:  # a hook has loaded this part alone
        return str(sys.modules["_sqlite3"].sqlite_version)
    import sqlite3

    return sqlite3.sqlite_version


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
