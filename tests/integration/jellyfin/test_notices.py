"""Deliveries that only report paths to Jellyfin."""

from __future__ import annotations

import copy

import pytest

from stash_courier.queue.failures import DeliveryFailed, Failure
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


def test_notices_leave_the_pending_scan_alone(server: StandInJellyfin) -> None:
    """With new and deleted scenes in a folder every 20 s, the scan of the first notice comes and finds all."""
    now = [0.0]
    server.clock = lambda: now[0]
    with jellyfin(server, clock=lambda: now[0]) as ours:
        for second in range(0, 60, 20):
            now[0] = float(second)
            server.put(f"/media/movies/{second}.mkv")
            failed = refused(ours, scene(f"/data/movies/{second}.mkv"))
            assert failed.failure is Failure.NOT_THERE_YET
            assert failed.again_in is not None
            assert 60 < second + failed.again_in < 90
            gone = delivery("jellyfin", event="destroy", path=f"/data/movies/gone {second}.mkv")
            ours.deliver(gone, None)
        now[0] = 80.0
        found = [scene(f"/data/movies/{second}.mkv") for second in range(0, 60, 20)]
        ours.prepare([(delivery("jellyfin", one), one) for one in found])
        assert [ours.deliver(delivery("jellyfin", one), one).outcome for one in found] == ["sent"] * 3
    assert [notice["Path"] for notice in server.notified] == ["/media/movies/0.mkv"]
    assert server.scans == ["/media/movies/0.mkv"]


def test_a_deleted_scene_is_reported_after_the_scan(server: StandInJellyfin) -> None:
    """A scan that may have begun before the file was deleted is not relied on."""
    now = [0.0]
    server.clock = lambda: now[0]
    with jellyfin(server, clock=lambda: now[0]) as ours:
        refused(ours, scene("/data/movies/new.mkv"))
        gone = delivery("jellyfin", event="destroy", path="/data/movies/gone.mkv")
        now[0] = 60.0
        with pytest.raises(DeliveryFailed) as failed:
            ours.deliver(gone, None)
        assert failed.value.failure is Failure.POSTPONED
        now[0] += failed.value.again_in or 0.0
        ours.deliver(gone, None)
    assert [notice["UpdateType"] for notice in server.notified] == ["Created", "Deleted"]
