"""A stand-in for Jellyfin, and a Stash with the plugin."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import ROOT
from tests.standin.jellyfin import StandInJellyfin
from tests.standin.stash.server import StandInStash


@pytest.fixture
def server() -> Iterator[StandInJellyfin]:
    """An empty Jellyfin server."""
    with StandInJellyfin() as running:
        yield running


@pytest.fixture
def stash(tmp_path: Path) -> Iterator[StandInStash]:
    """A Stash with the plugin and 120 scenes."""
    quiet = {"STASH_COURIER_WORKER": "off"}  # hooks start no worker
    with StandInStash(120, config_dir=tmp_path / "config", env=quiet) as running:
        running.install_plugin(ROOT)
        yield running
