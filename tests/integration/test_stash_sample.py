"""The sample of Stash's scenes with which media servers are tested."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from stash_courier.queue.inbox import files
from stash_courier.worker.stash.client import Stash
from stash_courier.worker.stash.scene_files import sample
from tests.standin.stash.server import StandInStash

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[StandInStash]:
    """An empty Stash."""
    with StandInStash(0, config_dir=tmp_path / "config") as running:
        yield running


@pytest.fixture
def stash(tmp_path: Path, server: StandInStash) -> Iterator[Stash]:
    """Our client for it."""
    place = {"scheme": "http", "host": "127.0.0.1", "port": server.config.port, "dir": "", "plugin_dir": ""}
    (tmp_path / files.STASH).write_text(json.dumps({**place, "cookie": "", "at": 1.0}))
    with closing(Stash(tmp_path)) as made:
        yield made


def folders_of(stash: Stash, count: int, *folders: str) -> Counter[str]:
    """How many scenes of a sample are in each folder."""
    return Counter(one.path.rpartition("/")[0] for one in sample(stash, folders)[:count])


def test_a_sample_is_spread_over_the_library_folders(server: StandInStash, stash: Stash) -> None:
    """Each library folder gives as many scenes, whatever their ids; names with spaces and LIKE's wildcards too."""
    server.config.stashes = ["/media/a", "/media/b b", "/media/c%", "/empty"]
    for folder, count in (("/media/a", 300), ("/media/b b", 50), ("/media/c%", 30), ("/media/ab", 30)):
        for number in range(count):
            server.add_scene(f"{folder}/{number}.mkv")
    server.add_scene()
    assert folders_of(stash, 20) == {"/media/a": 7, "/media/b b": 7, "/media/c%": 6}
    assert [one.id for one in sample(stash)[:20]] == [one.id for one in sample(stash)[:20]]
    ids = [one.id for one in sample(stash)[:20] if one.path.startswith("/media/a/")]
    assert max(ids) - min(ids) > 50


def test_a_sample_is_spread_over_folders_of_files(server: StandInStash, stash: Stash) -> None:
    """One folder with most of the files doesn't hide the others, in the only library folder there is."""
    server.config.stashes = ["/media"]
    for number in range(300):
        server.add_scene(f"/media/flood/{number}.mkv")
    others = {f"/media/{name}": 3 for name in ("clips", "films/A", "films/B", "outside")}
    for folder, count in others.items():
        for number in range(count):
            server.add_scene(f"{folder}/{number}.mkv")
    assert folders_of(stash, 20) == {**others, "/media/flood": 8}


def test_a_sample_of_other_folders(server: StandInStash, stash: Stash) -> None:
    """A connection's own folders can be asked for, and one folder's scenes are listed once."""
    for number in range(40):
        server.add_scene(f"/media/a/{number}.mkv")
        server.add_scene(f"/media/b/{number}.mkv")
    assert folders_of(stash, 20, "/media/b") == {"/media/b": 20}
    ids = [one.id for one in sample(stash, ("/media", "/media/b"))]
    assert len(set(ids)) == len(ids) == 80
