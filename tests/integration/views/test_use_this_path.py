"""A connection whose scenes aren't found: the worker finds the rule, the card offers it, one click sends all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stash_courier.worker.connections.model import Entry
from stash_courier.worker.delivery.breaker import LOOK_SECONDS
from tests import ROOT
from tests.standin.jellyfin import KEY, StandInJellyfin
from tests.standin.stash.server import StandInStash
from tests.support import connections
from tests.support.fast_forward import FastForward
from tests.support.harness import Courier, wait_until

pytestmark = pytest.mark.timeout(60)

FILMS = ("/data/films/One.mp4", "/data/films/Two.mp4", "/data/clips/Three.mp4")
OFFER = {"do": "fix", "label": "Use this path", "values": {"path_map": ["/data => /media"]}}


@pytest.fixture
def server() -> Iterator[StandInJellyfin]:
    """A Jellyfin that has the files in /media."""
    with StandInJellyfin(libraries={"Films": ["/media/films"], "Clips": ["/media/clips"]}) as running:
        for path in FILMS:
            running.add(path.replace("/data", "/media"))
        yield running


@pytest.fixture
def stash(tmp_path: Path) -> Iterator[StandInStash]:
    """A Stash with 40 scenes that aren't at the server, whose hooks start no worker."""
    with StandInStash(40, config_dir=tmp_path / "config", env={"STASH_COURIER_WORKER": "off"}) as running:
        running.install_plugin(ROOT)
        yield running


@pytest.fixture
def courier(tmp_path: Path, server: StandInJellyfin) -> Iterator[Courier]:
    """A Stash whose scenes are in /data, with a connection without a path map."""
    with Courier(tmp_path, {}, scenes=0) as running:
        for path in FILMS:
            running.stash.add_scene(path, title=Path(path).stem)
        running.connect(entry(server))
        yield running


def entry(server: StandInJellyfin, **values: object) -> Entry:
    return Entry("jellyfin-1", "Living room", "jellyfin", values={"url": server.url, "key": KEY, **values})


def overview(courier: Courier) -> dict[str, Any]:
    found: dict[str, Any] = courier.stash.operation({"mode": "overview"})
    return found


def card(courier: Courier) -> dict[str, Any]:
    (one,) = overview(courier)["connections"]
    return dict(one)


def offered(courier: Courier) -> dict[str, Any]:
    """The card, when it offers the path."""
    return wait_until(lambda: (one := card(courier))["action"] == OFFER and one, 20.0)


def save(courier: Courier, path_map: list[str]) -> dict[str, Any]:
    """Saves the connection with a path map, as the card's button or the form does."""
    change = {"id": "jellyfin-1", "values": {"path_map": path_map}, "revision": overview(courier)["revision"]}
    saved: dict[str, Any] = courier.stash.operation({"mode": "save_connection", **change})
    return saved


def titles(server: StandInJellyfin) -> set[str]:
    return {str(item["Name"]) for item in server.items.values()}


def test_one_click_and_everything_arrives(courier: Courier, server: StandInJellyfin) -> None:
    """Scenes that Jellyfin knows under other paths wait. With the offered rule all are sent at once."""
    for scene_id in (1, 2, 3):
        courier.stash.edit(scene_id, title=f"New {scene_id}")
    shown = offered(courier)
    assert shown["health"] == "nothing_sent"
    assert "tried again: the server has no file with that path." in shown["reason"]
    assert 'the rule /data => /media in "Path map"' in shown["advice"]
    wait_until(lambda: card(courier)["retrying"] == 3, 20.0)
    assert save(courier, shown["action"]["values"]["path_map"])["saved"]
    wait_until(lambda: titles(server) == {"New 1", "New 2", "New 3"}, 15.0)  # the next try would be after 24 s
    courier.drained()
    done = card(courier)
    assert (done["health"], done["reason"], done["action"]) == ("delivering", "", None)


def test_a_correction_in_the_form_sends_at_once_too(courier: Courier, server: StandInJellyfin) -> None:
    """A person who types another rule needn't wait for the next try either, also after the worker was away."""
    courier.stash.edit(1, title="New 1")
    offered(courier)
    courier.end_worker()
    assert save(courier, ["/data/films => /media/films"])["saved"]
    wait_until(lambda: "New 1" in titles(server), 15.0)


def test_nothing_is_offered_once_something_was_found(courier: Courier, server: StandInJellyfin) -> None:
    """A scene that is missing beside others that were delivered is not a matter of the path map."""
    courier.connect(entry(server, path_map="/data/films => /media/films"))
    courier.stash.edit(1, title="New 1")
    courier.drained()
    courier.stash.edit(3, title="New 3")
    shown = wait_until(lambda: (one := card(courier))["retrying"] == 1 and one, 20.0)
    assert shown["reason"].startswith("1 scene is tried again: Jellyfin does not know scene 3 ")
    assert shown["action"] == {"do": "test", "label": "Test"}
    assert "path map with which" not in courier.log()


def test_it_is_looked_up_once_an_hour(
    tmp_path: Path, stash: StandInStash, server: StandInJellyfin, caplog: pytest.LogCaptureFixture
) -> None:
    """While nothing is found, the server is asked once an hour, however many scenes are missing."""
    caplog.set_level("INFO")
    (tmp_path / "data").mkdir()
    connections.store(tmp_path / "data", entry(server))
    with FastForward(tmp_path / "data", stash) as forward:
        forward.put(1)
        forward.run(seconds=60.0)
        for scene_id in range(2, 40):
            forward.put(scene_id)
        forward.run(seconds=LOOK_SECONDS - 120.0)
        looks = [line for line in caplog.messages if "path map with which" in line]
        assert len(looks) == 1
        forward.run(seconds=LOOK_SECONDS)
        looks = [line for line in caplog.messages if "path map with which" in line]
        assert len(looks) == 2
