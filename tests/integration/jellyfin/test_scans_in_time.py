"""New scenes whose files Jellyfin has yet to scan, in fast-forward: they are written within minutes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests import ROOT
from tests.standin.jellyfin import KEY, StandInJellyfin
from tests.standin.stash.server import StandInStash
from tests.support.fast_forward import FastForward
from tests.support.harness import PLUGIN

MINUTE = 60.0
AT_ONCE = 5  # scenes that come in together


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("count", "minutes"), [(500, 10), (2000, 60)])
def test_new_scenes_in_one_folder(tmp_path: Path, server: StandInJellyfin, count: int, minutes: int) -> None:
    """500 new scenes in ten minutes, or 2,000 in an hour, are all written within five minutes of the last.

    Each notice starts Jellyfin's 60 seconds for the folder anew, so a notice for each scene prevents the scan.
    """
    server.libraries = {"Films": ["/films"]}
    with (
        StandInStash(count, config_dir=tmp_path / "config", env={"STASH_COURIER_WORKER": "off"}) as stash,
        FastForward(tmp_path / "data", stash) as courier,
    ):
        stash.install_plugin(ROOT)
        library = stash.library
        library.commit([replace(s, files=(library.video(f"/media/new/{s.id}.mp4"),)) for s in library.all()])
        setup = {"jellyfin_url": server.url, "jellyfin_api_key": KEY, "path_map": "/media => /films"}
        stash.config.plugins[PLUGIN] = setup
        server.clock = lambda: courier.ran
        for scene_id in range(1, count + 1):
            server.put(f"/films/new/{scene_id}.mp4")
            courier.put(scene_id, "create")
            if scene_id % AT_ONCE == 0:
                courier.run(seconds=minutes * MINUTE / count * AT_ONCE)
        waited = courier.run(courier.queue.empty, seconds=5 * MINUTE)
        missing = count - sum(item["Name"].startswith("Film ") for item in server.items.values())
        assert (missing, courier.queue.empty(), courier.dlq.get_count()) == (0, True, 0), f"{waited:.0f} s later"
    assert waited <= 5 * MINUTE
    assert len(server.notified) <= minutes / 2 + 3, "one notice every two minutes"
