"""Plex in the worker: what one delivery leaves for the next in the ledger."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from stash_courier.queue.history import ledger
from stash_courier.queue.history.ledger import Noted
from tests import ROOT
from tests.standin.plex import TOKEN, Library
from tests.standin.plex import Plex as Server
from tests.standin.stash.server import StandInStash
from tests.support.fast_forward import FastForward
from tests.support.harness import PLUGIN

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def stash(tmp_path: Path, server: Server) -> Iterator[StandInStash]:
    """A Stash whose only destination is the Plex server."""
    quiet = {"STASH_COURIER_WORKER": "off"}  # hooks start no worker
    with StandInStash(9, config_dir=tmp_path / "config", env=quiet) as running:
        running.install_plugin(ROOT)
        setup = {"plex_url": server.url, "plex_token": TOKEN, "path_map": "/media/films => /media"}
        running.config.plugins[PLUGIN] = setup
        yield running


def film(stash: StandInStash, scene_id: int) -> tuple[str, str]:
    """The path of a scene's file in Plex, and the scene's title."""
    found = stash.library.find(scene_id)
    assert found is not None
    return found.files[0].path.replace("/media/films", "/media"), found.title


def test_our_locks_are_known_after_a_restart(
    tmp_path: Path, stash: StandInStash, server: Server, films: Library
) -> None:
    """What one worker wrote and locked, the next one may change; a value that the owner locked stays."""
    path, _ = film(stash, 1)
    item = server.add(films, path, summary="mine")
    item.locked = {"summary"}
    for title in ("First", "Second"):
        stash.edit(1, title=title, details="from Stash")
        with FastForward(tmp_path / "data", stash) as courier:
            courier.put(1)
            courier.run(courier.queue.empty)
            assert ledger.noted(courier.queue.connection, 5) == {"plex": {"locked_fields": Noted(1, (1,))}}
        assert (item.values["title"], item.values["summary"]) == (title, "mine")
