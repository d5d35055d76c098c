"""The stand-in for Plex, driven by python-plexapi, which knows nothing of our client."""

from __future__ import annotations

import pytest
from plexapi.server import PlexServer

from tests.standin.plex import MACHINE, TOKEN, Library
from tests.standin.plex import Plex as Server
from tests.support.plex import PATH

pytestmark = pytest.mark.timeout(60)


def test_the_stand_in_is_a_plex_for_plexapi(server: Server, films: Library) -> None:
    """python-plexapi connects to the stand-in, finds and edits items, adds and removes tags, and scans."""
    item = server.add(films, PATH)
    item.tags["genre"] = ["Drama", "a, b", "c/d é%"]
    client = PlexServer(server.url, TOKEN)
    assert (client.friendlyName, client.version) == (server.name, server.version)
    known = client.identity()
    assert (known.machineIdentifier, known.version, known.claimed) == (MACHINE, server.version, True)
    assert [s.title for s in client.library.sections()] == ["Films", "Shows"]
    section = client.library.section("Films")
    assert section.locations == ["/media"]
    (movie,) = client.fetchItems("/library/sections/3/all?type=1&file=ONE")
    assert movie.locations == [PATH]
    assert [g.tag for g in movie.genres] == ["Drama", "a, b"]  # listings are cut
    movie.reload()
    assert len(movie.genres) == 3
    movie.editTitle('New & "é"').addGenre("More").removeGenre(["a, b", "c/d é%"]).reload()
    assert movie.title == 'New & "é"'
    assert [g.tag for g in movie.genres] == ["Drama", "More"]
    assert movie.isLocked("genre")
    section.update("/media/a")
    assert server.scans == [("3", "/media/a")]
    other = server.add(films, "/media/two.mkv")
    assert [m.ratingKey for m in client.fetchItems([item.key, other.key])] == [item.key, other.key]
    client._session.close()


def test_the_stand_in_rates_labels_and_casts(server: Server, films: Library) -> None:
    """python-plexapi rates and clears a rating, sets the date added and a label, and gives an actor a role."""
    item = server.add(films, PATH)
    item.tags["actor"] = ["Anna", "Bo"]
    item.cast["Anna"] = {"role": "Hero", "tagKey": "5d77682d85719b001f3a535e"}
    client = PlexServer(server.url, TOKEN)
    movie = client.fetchItem(item.key)
    movie.rate(7.5).editUserRating(3).addLabel("Seen").editAddedAt("2024-05-06").reload()
    assert (movie.userRating, [label.tag for label in movie.labels]) == (7.5, ["Seen"])
    assert movie.addedAt.date().isoformat() == "2024-05-06"
    assert movie.isLocked("addedAt")
    movie.rate().reload()
    assert movie.userRating is None
    assert [(one.tag, one.role, one.tagKey) for one in movie.roles] == [
        ("Anna", "Hero", "5d77682d85719b001f3a535e"),
        ("Bo", None, None),
    ]
    movie.edit(**{"actor[0].tag.tag": "Bo", "actor[0].tagging.text": "Villain"}).reload()
    assert [(one.tag, one.role) for one in movie.roles] == [("Bo", "Villain")]  # a list that is sent replaces
    client._session.close()
