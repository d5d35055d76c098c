"""What a delivery to Plex says it has done: changes, what was left alone, and the item's page."""

from __future__ import annotations

from dataclasses import replace

import pytest

from stash_courier.worker.destinations import Change
from tests.standin.plex import MACHINE, TOKEN, Item, Library
from tests.standin.plex import Plex as Server
from tests.standin.receivers import Reply
from tests.support.intercept import LOGIN, intercept
from tests.support.plex import JPEG, PATH, SCENE, UPDATE, Make

pytestmark = pytest.mark.timeout(60)


def page(server: Server, item: Item) -> str:
    """The address of an item's page in the server's Plex Web."""
    return f"{server.url}/web/index.html#!/server/{MACHINE}/details?key=%2Flibrary%2Fmetadata%2F{item.key}"


def test_changes_and_the_page_of_the_item(server: Server, films: Library, plex: Make) -> None:
    """Values before and after; a second delivery compares and changes nothing."""
    item = server.add(films, PATH)
    destination = plex()
    done = destination.deliver(UPDATE, SCENE)
    changes = {one.field: one for one in done.changes}
    assert changes["title"] == Change("title", "one", "A day")
    assert changes["performers"] == Change("performers", "", "Anna, Zoë, Bo, Jr., Cy")
    assert (done.compared, done.left) == (True, ())
    assert done.link == page(server, item)
    assert TOKEN not in str(done)
    again = destination.deliver(UPDATE, SCENE, done.record or b"")
    assert (again.changes, again.compared, again.left) == ((), True, ())


@pytest.mark.parametrize(
    "reply",
    [Reply(404), Reply(503), LOGIN, Reply(200, {}, b"{"), Reply(200, {}, b'{"MediaContainer": {}}')],
    ids=["absent", "busy", "login", "broken", "nameless"],
)
def test_a_server_that_does_not_say_who_it_is(server: Server, films: Library, plex: Make, reply: Reply) -> None:
    """Deliveries succeed without a link. The server is asked again after an hour, not for each scene."""
    item = server.add(films, PATH)
    now = [1000.0]
    destination = plex(clock=lambda: now[0], respect_locks=False)
    before = intercept(server.receiver, reply, "GET /identity")
    for title in ("One", "Two", "Three"):
        done = destination.deliver(UPDATE, replace(SCENE, title=title))
        assert (done.outcome, done.link, item.values["title"]) == ("sent", "", title)
    assert len(server.requests("GET", "/identity")) == 1
    server.receiver.answer = before
    now[0] += 3600.0
    assert destination.deliver(UPDATE, SCENE).link == page(server, item)


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


def test_no_login_is_in_the_link(server: Server, films: Library, plex: Make) -> None:
    """An address with a login makes a link without it."""
    server.add(films, PATH)
    done = plex(url=server.url.replace("://", "://user:pass-word@")).deliver(UPDATE, SCENE)
    assert done.link.startswith(f"{server.url}/web/")
    assert "pass-word" not in str(done)
