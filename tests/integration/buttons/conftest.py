"""A Stash with the plugin and a receiver, and the plugin's buttons."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from stash_courier.worker import process
from tests import ROOT
from tests.standin.receivers import Receiver
from tests.standin.stash import StandInStash
from tests.support.buttons import Buttons
from tests.support.harness import wait_until


@pytest.fixture
def stash(tmp_path: Path, receiver: Receiver) -> Iterator[StandInStash]:
    """A Stash with 50 scenes and the plugin, whose webhook is the receiver."""
    with StandInStash(50, config_dir=tmp_path / "stash config") as server:
        plugin = tmp_path / "plugins" / "stash_courier"
        plugin.mkdir(parents=True)
        (plugin / "stash_plugin.yml").write_bytes((ROOT / "stash_plugin.yml").read_bytes())
        server.install_plugin(plugin)
        server.configure("stash_plugin", {"webhook_url": receiver.url})
        yield server


@pytest.fixture
def buttons(stash: StandInStash) -> Buttons:
    """The modes of a plugin that may start no worker."""
    made = Buttons(stash.config.config_dir, stash.config.port)
    made.folder.mkdir(parents=True)
    return made


@pytest.fixture
def live(stash: StandInStash) -> Iterator[Buttons]:
    """The modes of a plugin with a running worker."""
    made = Buttons(stash.config.config_dir, stash.config.port, worker=True)
    try:
        assert made.press("restart_worker").output["started"] is True
        yield made
    finally:
        made.press("stop_worker")
        wait_until(lambda: not process.running(str(made.folder)), 30.0)
