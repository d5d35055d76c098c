"""What a delivery to Plex says it has done: changes, what was left alone, and the item's page."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from stash_courier.queue.jobs import Delivery, Scene
from stash_courier.worker.destinations import Change
from tests.standin.plex import MACHINE, TOKEN, Item, Library
from tests.standin.plex import Plex as Server
from tests.standin.receivers import Reply
from tests.support.intercept import LOGIN, intercept
from tests.support.media_samples import scene
from tests.support.plex import JPEG, PATH, SCENE, UPDATE, Make

pytestmark = pytest.mark.timeout(60)


def page(server: Server, item: Item) -> str:
    """The address of an item's page in the server's Plex Web."""
    return f"{server.url}/web/index.html#!/server/{MACHINE}/details?key=%2Flibrary%2Fmetadata%2F{item.key}"


def several(server: Server, films: Library, count: int) -> tuple[list[Item], list[tuple[Delivery, Scene]]]:
    """Items, and an update of the scene of each."""
    items, jobs = [], []
    for n in range(1, count + 1):
        items.append(server.add(films, f"/media/a/{n}.mkv"))
        jobs.append((replace(UPDATE, scene_id=n, row_id=n), scene(f"/data/a/{n}.mkv", id=n, title="A day")))
    return items, jobs


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


def test_the_server_is_asked_once_who_it_is(server: Server, films: Library, plex: Make) -> None:
    """Each receipt has the item's page, and also one that compared only; the identifier is asked for once."""
    items, jobs = several(server, films, 3)
    destination = plex()
    for _ in range(2):
        assert [destination.deliver(*job).link for job in jobs] == [page(server, item) for item in items]
    assert len(server.requests("GET", "/identity")) == 1


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


def test_who_waits_for_a_server_that_does_not_say_who_it_is(server: Server, films: Library, plex: Make) -> None:
    """The item is written first. Deliveries at the same time wait for one request, later ones for none."""
    items, jobs = several(server, films, 4)
    destination = plex(timeout_seconds=3)
    intercept(server.receiver, Reply(delay=30), "GET /identity")
    began = time.monotonic()
    with ThreadPoolExecutor(4) as threads:
        waiting = [threads.submit(destination.deliver, *job) for job in jobs]
        while any(item.values["title"] != "A day" for item in items):
            assert time.monotonic() - began < 3.0
            time.sleep(0.02)
        assert [one.result().link for one in waiting] == [""] * 4
    assert time.monotonic() - began < 6.0  # one request's timeout, not four
    began = time.monotonic()
    assert destination.deliver(*jobs[0]).link == ""
    assert time.monotonic() - began < 1.0


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
    done = plex(url=server.url.replace("://", "://user:pass-word@")).deliver(UPDATE, SCENE)
    assert done.link.startswith(f"{server.url}/web/")
    assert "pass-word" not in str(done)
