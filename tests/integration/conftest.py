"""What most of these tests use."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.standin.receivers import Receiver


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A webhook's receiver that accepts everything."""
    with Receiver() as running:
        yield running


@pytest.fixture
def other() -> Iterator[Receiver]:
    """Another receiver."""
    with Receiver() as running:
        yield running
