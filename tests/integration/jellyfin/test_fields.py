"""Tags as genres of a Jellyfin item."""

from __future__ import annotations

import pytest

from tests.standin.jellyfin import StandInJellyfin
from tests.support.jellyfin import jellyfin
from tests.support.media_samples import delivery, scene

pytestmark = pytest.mark.timeout(60)


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
