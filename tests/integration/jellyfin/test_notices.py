"""Deliveries that only report paths to Jellyfin."""

from __future__ import annotations

import copy

import pytest

from tests.standin.jellyfin import StandInJellyfin
from tests.support.jellyfin import jellyfin, refused
from tests.support.media_samples import delivery, scene

pytestmark = pytest.mark.timeout(60)


def test_a_deleted_scene_is_reported_and_its_item_left_alone(server: StandInJellyfin) -> None:
    """For a deleted scene only its path is reported; its item isn't changed."""
    item_id = server.add("/media/movies/one.mkv")
    before = copy.deepcopy(server.items[item_id])
    with jellyfin(server) as ours:
        ours.deliver(delivery("jellyfin", event="destroy", path="/data/movies/one.mkv"), None)
        ours.deliver(delivery("jellyfin", event="destroy"), None)  # its path is unknown
    assert server.notified == [{"Path": "/media/movies/one.mkv", "UpdateType": "Deleted"}]
    assert server.items[item_id] == before
    assert server.counts == {"POST /Library/Media/Updated": 1}


def test_refresh_only_reports_paths_and_writes_nothing(server: StandInJellyfin) -> None:
    """With "Only notify" the mapped path is reported, and nothing is looked up or written."""
    server.add("/media/movies/one.mkv")
    one = scene()
    with jellyfin(server, refresh_only=True) as ours:
        ours.prepare([(delivery("jellyfin", one), one)] * 2)
        ours.deliver(delivery("jellyfin", one), one)
        ours.deliver(delivery("jellyfin", one, event="create"), one)
    assert [n["UpdateType"] for n in server.notified] == ["Modified", "Created"]
    assert {n["Path"] for n in server.notified} == {"/media/movies/one.mkv"}
    assert server.counts == {"POST /Library/Media/Updated": 2}


def test_every_file_of_a_missing_scene_is_reported(server: StandInJellyfin) -> None:
    """Jellyfin is asked to scan each file of a scene that it doesn't know."""
    with jellyfin(server) as ours:
        refused(ours, scene("/data/movies/a.mkv", "/data/movies/b.mkv"))
    assert server.notified == [
        {"Path": "/media/movies/a.mkv", "UpdateType": "Created"},
        {"Path": "/media/movies/b.mkv", "UpdateType": "Created"},
    ]
