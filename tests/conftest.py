"""Makes ``stash_courier`` importable before pytest imports any test module, and marks the tests of the page."""

from pathlib import Path

import pytest
from hypothesis import settings

import tests  # noqa: F401

# An example may take long on a busy machine; pytest-timeout ends one that hangs.
settings.register_profile("tests", deadline=None)
settings.load_profile("tests")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The tests of the page run in Chromium, so all of them belong to ``make check``."""
    page = Path(__file__).parent / "page"
    for item in items:
        if page in item.path.parents:
            item.add_marker("check")
