"""A connection whose scenes are not found: its card calls for a test; a corrected path map sends all at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from stash_courier.worker.connections.model import Entry
from tests.standin.jellyfin import KEY, StandInJellyfin
from tests.support.harness import Courier, wait_until

pytestmark = pytest.mark.timeout(60)

FILMS = ("/data/films/One.mp4", "/data/films/Two.mp4", "/data/clips/Three.mp4")


def test_a_corrected_path_map_sends_what_waits(tmp_path: Path) -> None:
    """Scenes that Jellyfin knows under other paths wait. When the path map is corrected, they are sent at once."""
    server = StandInJellyfin(libraries={"Films": ["/media/films"], "Clips": ["/media/clips"]})
    with server, Courier(tmp_path, {}, scenes=0) as courier:
        for path in FILMS:
            server.add(path.replace("/data", "/media"))
            courier.stash.add_scene(path, title=Path(path).stem)
        courier.connect(Entry("jellyfin-1", "Living room", "jellyfin", values={"url": server.url, "key": KEY}))
        for scene_id in (1, 2, 3):
            courier.stash.edit(scene_id, title=f"New {scene_id}")
        shown = wait_until(lambda: (one := card(courier))["retrying"] == 3 and one, 20.0)
        assert (shown["health"], shown["action"]) == ("nothing_sent", {"do": "test", "label": "Test"})
        assert shown["advice"] == "Nothing was found under these paths: press Test."
        values, revision = {"path_map": ["/data => /media"]}, overview(courier)["revision"]
        change = {"id": "jellyfin-1", "values": values, "revision": revision}
        assert courier.stash.operation({"mode": "save_connection", **change})["saved"]
        titles = {"New 1", "New 2", "New 3"}
        wait_until(lambda: {item["Name"] for item in server.items.values()} == titles, 15.0)  # a retry: 24 s
        courier.drained()
        assert (card(courier)["health"], card(courier)["action"]) == ("delivering", None)


def overview(courier: Courier) -> dict[str, Any]:
    found: dict[str, Any] = courier.stash.operation({"mode": "overview"})
    return found


def card(courier: Courier) -> dict[str, Any]:
    (one,) = overview(courier)["connections"]
    return dict(one)
