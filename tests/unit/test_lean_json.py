"""queue/inbox/lean_json.py: the hook's JSON equals the json module's, without the cost of its import."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stash_courier.queue.inbox import lean_json

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(values)
def test_same_as_json(value: Any) -> None:
    """What is written and read is what the json module writes and reads."""
    written = json.dumps(value)
    assert lean_json.dumps(value) == written
    assert lean_json.loads(written.encode()) == value
    assert (
        lean_json.loads(
            f" \r\n\t{json.dumps(value, ensure_ascii=False, indent=1)} \n".encode("utf-8", "surrogatepass")
        )
        == value
    )


@given(st.binary(max_size=40) | st.text('[]{}",:0123456789.eE+-nulltrfas\\ NI', max_size=12).map(str.encode))
def test_refuses_what_json_refuses(raw: bytes) -> None:
    """Invalid JSON is a ValueError, as with the json module."""
    try:
        expected = repr(json.loads(raw))
    except ValueError:
        with pytest.raises(ValueError):  # noqa: PT011  # UnicodeDecodeError and JSONDecodeError
            lean_json.loads(raw)
    else:
        assert repr(lean_json.loads(raw)) == expected


def test_deep_nesting_is_refused() -> None:
    """A document that is nested too deeply is refused and crashes nothing."""
    with pytest.raises(RecursionError):
        lean_json.loads(b"[" * 200_000)
