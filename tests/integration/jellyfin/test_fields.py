"""Fields of a Jellyfin item: dates, which can't be locked, the rating, and tags as genres."""

from __future__ import annotations

import pytest

from tests.standin.jellyfin import StandInJellyfin
from tests.support.jellyfin import VERSIONS, jellyfin
from tests.support.media_samples import delivery, scene

pytestmark = pytest.mark.timeout(60)

NFO = "<movie><title>From NFO</title><premiered>2001-02-03</premiered></movie>"


@pytest.mark.parametrize("version", VERSIONS)
def test_a_date_that_a_refresh_put_back_is_restored(server: StandInJellyfin, version: str) -> None:
    """A full refresh puts the date of the .nfo back and keeps the locked title; the next delivery restores it."""
    server.version = version
    server.nfo["/media/movies/one.nfo"] = NFO
    item_id = server.add("/media/movies/one.mkv")
    one = scene()
    with jellyfin(server) as ours:
        done = ours.deliver(delivery("jellyfin", one), one)
        server.refresh(item_id)
        item = server.items[item_id]
        assert (item["Name"], item["PremiereDate"][:10], item["ProductionYear"]) == ("A Title", "2001-02-03", 2001)
        ours.deliver(delivery("jellyfin", one), one, done.record or b"")
    assert (item["PremiereDate"][:10], item["ProductionYear"]) == ("2024-05-06", 2024)


@pytest.mark.parametrize("how", ["genres", "both"])
def test_only_our_genres_are_removed(server: StandInJellyfin, how: str) -> None:
    """A genre of the owner stays, also one that a tag has too; a genre that we added goes with its tag."""
    item = server.items[server.add("/media/movies/one.mkv", Genres=["Drama", "CALM"])]
    with jellyfin(server, tags_as=how, skip_fields="+empty") as ours:
        done = ours.deliver(delivery("jellyfin"), scene(tags=["calm", "loud"]))
        assert item["Genres"] == ["Drama", "CALM", "loud"]
        done = ours.deliver(delivery("jellyfin"), scene(tags=["new"]), done.record or b"")
        assert item["Genres"] == ["Drama", "CALM", "new"]
        done = ours.deliver(delivery("jellyfin"), scene(tags=[]), done.record or b"")
    assert item["Genres"] == ["Drama", "CALM"]
    assert done.notes == frozenset()
    assert item["Tags"] == []


def test_locked_genres_of_the_owner(server: StandInJellyfin) -> None:
    """Genres that the owner locked stay locked to us when a scene without tags gets one."""
    item = server.items[server.add("/media/movies/one.mkv", Genres=["Drama"], LockedFields=["Genres"])]
    with jellyfin(server, tags_as="genres", skip_fields="+empty") as ours:
        done = ours.deliver(delivery("jellyfin"), scene(tags=[]))
        assert done.notes == frozenset()
        done = ours.deliver(delivery("jellyfin"), scene(tags=["new"]), done.record or b"")
    assert item["Genres"] == ["Drama"]
    assert done.notes == {"locked_fields"}
