"""The mistakes that the fault suite must notice can be made in the code as it is now."""

from __future__ import annotations

import ast
from collections.abc import Sequence

import pytest

from tests import ROOT
from tests.faults.row import Mutation
from tests.faults.rows import ROWS

MISTAKES = [
    pytest.param(mutations, id=f"{row.name} {n}")
    for row in ROWS.values()
    for n, mutations in enumerate(row.mutations)
]


@pytest.mark.parametrize("mutations", MISTAKES)
def test_a_mistake_can_be_made(mutations: Sequence[Mutation]) -> None:
    """Its text is there once, and what is left is still Python: otherwise it would prove nothing."""
    changed: dict[str, str] = {}
    for one in mutations:
        text = changed.get(one.file) or (ROOT / one.file).read_text("utf-8")
        assert text.count(one.old) == 1
        changed[one.file] = text.replace(one.old, one.new)
    for name, text in changed.items():
        if name.endswith(".py"):
            ast.parse(text)
