"""queue/inbox/lean.py: the hook's json and sqlite3 are the standard library's, imported in part."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stash_courier.queue.inbox import lean
from tests import ROOT

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(values)
def test_same_as_json(value: Any) -> None:
    """What is written and read is what the json module writes and reads."""
    written = json.dumps(value)
    assert lean.dumps(value) == written
    assert lean.loads(written.encode()) == value
    assert (
        lean.loads(f" \r\n\t{json.dumps(value, ensure_ascii=False, indent=1)} \n".encode("utf-8", "surrogatepass"))
        == value
    )


@given(st.binary(max_size=40) | st.text('[]{}",:0123456789.eE+-nulltrfas\\ NI', max_size=12).map(str.encode))
def test_refuses_what_json_refuses(raw: bytes) -> None:
    """Invalid JSON is a ValueError, as with the json module."""
    try:
        expected = repr(json.loads(raw))
    except ValueError:
        with pytest.raises(ValueError):  # noqa: PT011  # UnicodeDecodeError and JSONDecodeError
            lean.loads(raw)
    else:
        assert repr(lean.loads(raw)) == expected


def test_deep_nesting_is_refused() -> None:
    """A document that is nested too deeply is refused and crashes nothing."""
    with pytest.raises(RecursionError):
        lean.loads(b"[" * 200_000)


# sqlite3

MAIN = str(ROOT / "plugin" / "main.py")
START = f"""
import os, sys
exec(open({MAIN!r}).read(), {{"__name__": "look", "__file__": {MAIN!r}}})
"""
PUT = """
from stash_courier.queue.inbox import store
for _ in range(3):
    store.put(os.getcwd(), b"{}", 0.0)
lean = store.sqlite3.__name__
import functools, sqlite3
assert functools.partial and store.sqlite3.Error is sqlite3.Error
print(lean)
"""


def put(folder: Path, before: str) -> str:
    """Puts three events in a process that has run ``before``; the name of the module it used."""
    script = START + before + PUT
    ran = subprocess.run([sys.executable, "-S", "-E", "-c", script], cwd=folder, capture_output=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, b"")
    with sqlite3.connect(folder / "queue.db") as conn:
        assert conn.execute("SELECT count(*) FROM ack_queue_inbox").fetchone() == (3,)
    conn.close()
    return ran.stdout.decode().strip()


def test_hook_uses_the_c_part(tmp_path: Path) -> None:
    """A fresh process uses the C part alone, and functools is whole when somebody asks for it afterwards."""
    expected = "_sqlite3" if sys.implementation.name == "cpython" else "sqlite3"
    assert put(tmp_path, "") == expected


@pytest.mark.parametrize("before", ["sys.implementation.name = 'other'", "import functools"])
def test_others_use_the_whole(tmp_path: Path, before: str) -> None:
    """Another interpreter, and a process that has functools anyway, use sqlite3 itself."""
    assert put(tmp_path, before + "\n") == "sqlite3"


def test_another_c_part_than_we_know(tmp_path: Path) -> None:
    """A C part that wants more of functools than we know makes it sqlite3, and leaves nothing behind."""
    before = """
class Other:
    def find_spec(self, name, path=None, target=None):
        if name == "_sqlite3":
            sys.meta_path.remove(self)
            from functools import wraps
sys.meta_path.insert(0, Other())
"""
    assert put(tmp_path, before) == "sqlite3"


def test_same_classes() -> None:
    """An except of sqlite3's errors catches those of the C part."""
    import _sqlite3  # noqa: PLC0415

    assert lean.sqlite() is sqlite3
    for name in ("Connection", "Error", "DatabaseError", "OperationalError", "connect"):
        assert getattr(_sqlite3, name) is getattr(sqlite3, name)
