"""A browser, the host page, and Stash Courier with a stand-in Stash that shows it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.support import page
from tests.support.harness import Courier


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium; skips the test where it, or the libraries of the host page, are missing."""
    if reason := page.missing():
        pytest.skip(reason)
    with page.chromium() as running:
        yield running


@pytest.fixture(scope="session")
def host(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The host page, built once."""
    return page.build_host(tmp_path_factory.mktemp("host"))


@pytest.fixture
def courier(host: Path, tmp_path: Path) -> Iterator[Courier]:
    """Stash Courier in a stand-in Stash that shows the host page, also below /stash/."""
    with Courier(tmp_path, {}, page=host, proxied="/stash") as running:
        yield running


@pytest.fixture
def tab(browser: Browser, courier: Courier) -> Iterator[page.Visit]:
    """A tab of that Stash."""
    with page.visit(browser, courier) as opened:
        yield opened
