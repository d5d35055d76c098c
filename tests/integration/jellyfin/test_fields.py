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


@pytest.mark.parametrize("version", VERSIONS)
def test_the_date_added(server: StandInJellyfin, version: str) -> None:
    """With its switch on, the time at which Stash got the scene becomes "Date added", once."""
    server.version = version
    item_id = server.add("/media/movies/one.mkv")
    before = server.items[item_id]["DateCreated"]
    one = scene(created_at="2023-12-31T23:30:00-05:00")
    with jellyfin(server) as ours:
        ours.deliver(delivery("jellyfin", one), one)
    assert server.items[item_id]["DateCreated"] == before
    with jellyfin(server, date_added=True) as ours:
        for _ in range(2):
            ours.deliver(delivery("jellyfin", one), one)
    assert server.items[item_id]["DateCreated"] == "2024-01-01T04:30:00.0000000Z"
    assert len(server.posted) == 2


@pytest.mark.parametrize("version", VERSIONS)
def test_the_rating(server: StandInJellyfin, version: str) -> None:
    """With +rating Stash's rating becomes Jellyfin's community rating, 0 to 10, and +empty empties it."""
    server.version = version
    item_id = server.add("/media/movies/one.mkv", CommunityRating=6.5)
    with jellyfin(server) as ours:
        ours.deliver(delivery("jellyfin"), scene(rating100=85))
    assert server.items[item_id]["CommunityRating"] == 6.5
    with jellyfin(server, skip_fields="+rating +empty") as ours:
        ours.deliver(delivery("jellyfin"), scene(rating100=85))
        assert server.items[item_id]["CommunityRating"] == 8.5
        ours.deliver(delivery("jellyfin"), scene(rating100=None))
    assert server.items[item_id]["CommunityRating"] is None


@pytest.mark.parametrize(("how", "tags", "genres"), [("tags", 2, 1), ("genres", 1, 2), ("both", 2, 2)])
def test_tags_as_tags_and_genres(server: StandInJellyfin, how: str, tags: int, genres: int) -> None:
    """Tags become tags, genres, or both, as the connection says."""
    item_id = server.add("/media/movies/one.mkv", Tags=["by hand"], Genres=["Drama"])
    one = scene()
    with jellyfin(server, tags_as=how) as ours:
        ours.deliver(delivery("jellyfin", one), one)
    item = server.items[item_id]
    assert item["Tags"] == (["by hand"] if tags == 1 else ["calm", "loud"])
    assert item["Genres"] == (["Drama"] if genres == 1 else ["Drama", "calm", "loud"])
    assert set(item["LockedFields"]) >= ({"Tags"} if tags == 2 else set()) | ({"Genres"} if genres == 2 else set())


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
