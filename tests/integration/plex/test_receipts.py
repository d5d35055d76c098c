"""What a delivery to Plex says it has done: changes, what was left alone, and the item's page."""

from __future__ import annotations

from dataclasses import replace

import pytest

from stash_courier.worker.destinations import Change
from tests.standin.plex import TOKEN, Library
from tests.standin.plex import Plex as Server
from tests.support.plex import JPEG, PATH, SCENE, UPDATE, Make

pytestmark = pytest.mark.timeout(60)


def test_changes_and_the_page_of_the_item(server: Server, films: Library, plex: Make) -> None:
    """Values before and after; a second delivery compares and changes nothing."""
    item = server.add(films, PATH)
    destination = plex()
    list(destination.test([]))  # the server says what its identifier is
    done = destination.deliver(UPDATE, SCENE)
    changes = {one.field: one for one in done.changes}
    assert changes["title"] == Change("title", "one", "A day")
    assert changes["performers"] == Change("performers", "", "Anna, Zoë, Bo, Jr., Cy")
    assert (done.compared, done.left) == (True, ())
    key = f"%2Flibrary%2Fmetadata%2F{item.key}"
    assert done.link == f"{server.url}/web/index.html#!/server/0123abcd/details?key={key}"
    assert TOKEN not in str(done)
    again = destination.deliver(UPDATE, SCENE, done.record or b"")
    assert (again.changes, again.compared, again.left) == ((), True, ())


def test_without_the_servers_identifier_there_is_no_link(server: Server, films: Library, plex: Make) -> None:
    """A receipt asks the server for nothing."""
    server.add(films, PATH)
    assert plex().deliver(UPDATE, SCENE).link == ""


def test_a_poster_is_a_change_and_a_locked_one_is_left(server: Server, films: Library, plex: Make) -> None:
    """A cover that was sent is a change. The owner's poster and locked fields are left alone, with a sentence."""
    item = server.add(films, PATH)
    destination = plex(cover=lambda _: JPEG, images=True)
    created = replace(UPDATE, event="create", changed=())
    done = destination.deliver(created, SCENE)
    assert Change("cover", None, "the cover in Stash") in done.changes
    item.locked |= {"thumb", "summary"}
    item.values["summary"] = "by hand"
    done = destination.deliver(created, SCENE)
    assert done.changes == ()
    assert not done.compared
    assert done.left == (
        'Left alone, because they are locked in Plex: details, cover. "Leave locked fields alone" decides that.',
    )


def test_a_version_of_another_item(server: Server, films: Library, plex: Make) -> None:
    """The scene of an item's second file isn't written, and the receipt says whose item it is."""
    server.add(films, "/media/a/other.mkv", PATH)
    done = plex().deliver(UPDATE, SCENE)
    assert done.outcome == "filtered"
    assert "Only the scene of the first one, /media/a/other.mkv, is written there." in done.left[0]


def test_no_login_is_in_the_link(server: Server, films: Library, plex: Make) -> None:
    """An address with a login makes a link without it."""
    server.add(films, PATH)
    destination = plex(url=server.url.replace("://", "://user:pass-word@"))
    list(destination.test([]))
    done = destination.deliver(UPDATE, SCENE)
    assert done.link.startswith(f"{server.url}/web/")
    assert "pass-word" not in str(done)
