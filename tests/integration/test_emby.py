"""The Emby destination against a stand-in: notices, refreshes, failures and the test.

None of this was run against a real Emby server.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from stash_courier.queue.failures import DeliveryFailed, Failure
from stash_courier.queue.jobs import Delivery, Scene, SceneFile
from stash_courier.worker.destinations.emby.destination import Emby, make
from stash_courier.worker.stash.covers import no_cover
from tests.standin.emby import KEY, Item, Notice
from tests.standin.emby import Emby as Server
from tests.standin.receivers import Reply
from tests.support.connections import connection
from tests.support.intercept import HTML, LOGIN, intercept
from tests.support.media_samples import delivery, scene
from tests.support.steps import tried

pytestmark = pytest.mark.timeout(30)

SCENE = scene("/data/a/one.mkv")
UPDATE = delivery("emby", SCENE)
DESTROY = delivery("emby", event="destroy", changed=(), path="/data/a/one.mkv")
PATH = "/media/a/one.mkv"

Make = Callable[..., Emby]


@pytest.fixture
def server() -> Iterator[Server]:
    """An empty Emby server."""
    with Server() as running:
        yield running


@pytest.fixture
def emby(server: Server) -> Iterator[Make]:
    """Makes destinations for the server, with the path_map rule /data => /media and any other fields."""
    made: list[Emby] = []

    def new(*, url: str | None = None, clock: Callable[[], float] = time.monotonic, **values: object) -> Emby:
        common = {"path_map": "/data => /media", "timeout_seconds": 5}
        one = make(connection("emby", {"url": url or server.url, "key": KEY, **common, **values}), no_cover, clock)
        made.append(one)
        return one

    yield new
    for one in made:
        one.close()


def failure(destination: Emby, of: Scene | None = SCENE, job: Delivery = UPDATE) -> DeliveryFailed:
    """How a delivery fails."""
    with pytest.raises(DeliveryFailed) as caught:
        destination.deliver(job, of)
    assert KEY not in str(caught.value) + caught.value.answer
    return caught.value


# Deliveries


@pytest.mark.parametrize("below", ["", "/emby"])
def test_an_edit_refreshes_the_item(server: Server, emby: Make, below: str) -> None:
    """Emby gets a refresh of the item, and no notice, which would delay a scan; nothing is discarded."""
    server.items += [Item("1", PATH), Item("2", "/media/b/one.mkv")]
    done = emby(url=server.url + below).deliver(UPDATE, SCENE)
    assert (done.changes, done.compared) == ((), False)
    assert done.link == f"{server.url}{below}/web/index.html#!/item?id=1&serverId=0123abcd"
    assert server.notices == []
    ((item_id, how),) = server.refreshes
    assert item_id == "1"
    assert how["ReplaceAllMetadata"] == how["ReplaceAllImages"] == "false"
    assert len(server.requests()) == 2
    assert server.receiver.connections <= 1


@pytest.mark.parametrize(
    "name", ["a, b & c; d.mkv", "100% #1? [x] 'é' \"ü\" +=&Recursive=false.mkv", "日本 🎬.mkv"]
)
def test_every_kind_of_name(server: Server, emby: Make, name: str) -> None:
    """An item is found by its exact path with any characters in its name."""
    server.items += [Item("1", f"/media/a/{name}"), Item("2", f"/media/{name}")]
    emby().deliver(UPDATE, replace(SCENE, files=(SceneFile(f"/data/a/{name}", 1, 1.0, 1, 1),)))
    assert [item_id for item_id, _ in server.refreshes] == ["1"]


def test_an_item_with_another_path_is_not_taken(server: Server, emby: Make) -> None:
    """If the server ignores the path in the query and lists everything, nothing is refreshed."""
    server.items.append(Item("1", "/media/other.mkv"))
    real = server.receiver.answer
    assert callable(real)
    server.receiver.answer = lambda request: real(replace(request, path=request.path.replace("Path=%2F", "X=")))
    assert failure(emby()).failure is Failure.NOT_THERE_YET
    assert server.refreshes == []


def test_a_new_file_is_reported_and_then_found(server: Server, emby: Make) -> None:
    """A missing item is reported as created, and the next attempt finds it."""
    destination = emby()
    failed = failure(destination)
    assert failed.failure is Failure.NOT_THERE_YET
    assert f'{PATH} (in Stash /data/a/one.mkv; by the rule /data => /media of "Path map")' in failed.message
    assert server.notices == [Notice(PATH, "Created")]
    server.items.append(Item("1", PATH))
    destination.deliver(UPDATE, SCENE)
    assert [item_id for item_id, _ in server.refreshes] == ["1"]


def test_two_items_with_that_path(server: Server, emby: Make) -> None:
    """If two items have the scene's path, neither is refreshed and the dead letter names both."""
    server.items += [Item("1", PATH, "One"), Item("2", PATH, "Two")]
    failed = failure(emby())
    assert failed.failure is Failure.ITEM_REFUSED
    assert '"One" (id 1); "Two" (id 2)' in failed.message
    assert server.notices == []
    assert server.refreshes == []


def test_scenes_without_files_and_with_several(server: Server, emby: Make) -> None:
    """A scene without files is refused; of several files the first that Emby knows is used."""
    assert failure(emby(), replace(SCENE, files=())).failure is Failure.ITEM_REFUSED
    server.items.append(Item("2", "/media/b/two.mkv"))
    emby().deliver(UPDATE, replace(SCENE, files=(*SCENE.files, SceneFile("/data/b/two.mkv", 1, 1.0, 1, 1))))
    assert server.notices == []
    assert [item_id for item_id, _ in server.refreshes] == ["2"]


def test_a_deleted_scene_is_only_reported(server: Server, emby: Make) -> None:
    """A deleted scene is reported by its last path; nothing else is requested."""
    server.items.append(Item("1", PATH))
    emby().deliver(DESTROY, None)
    assert server.notices == [Notice(PATH, "Deleted")]
    assert len(server.requests()) == 1
    emby().deliver(replace(DESTROY, path=""), None)
    assert len(server.requests()) == 1


@pytest.mark.parametrize(
    ("reply", "expected", "said"),
    [
        (
            Reply(401, {}, b"Access token is invalid or expired. " + KEY.encode()),
            Failure.DESTINATION,
            '"API key"',
        ),
        (Reply(404, HTML, b"<html>"), Failure.DESTINATION, '"Address"'),
        (LOGIN, Failure.DESTINATION, "login page"),
        (Reply(200, {}, b"[]"), Failure.DESTINATION, "as Emby never does"),
        (Reply(200, {}, b'{"Items": 3}'), Failure.DESTINATION, "as Emby never does"),
    ],
)
def test_what_emby_answers(server: Server, emby: Make, reply: Reply, expected: Failure, said: str) -> None:
    """Each unexpected answer has its failure class and a message with advice, and shows no key."""
    server.receiver.answer = reply
    failed = failure(emby())
    assert failed.failure is expected
    assert said in failed.message


@pytest.mark.parametrize(
    ("part", "job", "items"),
    [
        ("/Refresh", UPDATE, [Item("1", PATH)]),
        ("/Library/Media/Updated", UPDATE, []),
        ("/Library/Media/Updated", DESTROY, []),
    ],
)
def test_a_login_page_takes_no_change(
    server: Server, emby: Make, part: str, job: Delivery, items: list[Item]
) -> None:
    """A refresh or notice that a login page answered with 200 counts as failed, and holds Emby."""
    server.items += items
    intercept(server.receiver, LOGIN, part)
    failed = failure(emby(), None if job is DESTROY else SCENE, job)
    assert failed.failure is Failure.DESTINATION
    assert "login page" in failed.message


def test_an_item_that_is_removed_meanwhile(server: Server, emby: Make) -> None:
    """An item that vanishes before its refresh is looked up again and makes no dead letter."""
    server.items.append(Item("1", PATH))
    intercept(server.receiver, Reply(404, {"Content-Type": "text/plain"}, b"Item not found"), "/Refresh")
    assert failure(emby()).failure is Failure.REFUSED


# The test


def test_each_step_passes(server: Server, emby: Make) -> None:
    """Server, version, libraries and a scene's item are named, and nothing is reported to Emby."""
    server.items.append(Item("1", PATH, "Film"))
    found = tried(emby(), SCENE)
    assert {step.status for step in found.steps.values()} == {"ok"}
    assert found["reached"].text.endswith('is Emby 4.9.1.80 ("Shed").')
    assert found["key"].text == 'It accepts "API key".'
    assert found["libraries"].text == "Libraries: Films (/media)."
    assert found["scenes"].text == "1 of 1 scenes found."
    assert f'Scene 17 is "Film" (id 1), found under {PATH}' in found["example"].text
    assert found["example"].text.endswith("It would be refreshed; no field is written.")
    assert {r.method for r in server.requests()} == {"GET"}


def test_a_wrong_rule_shows_among_many_files(server: Server, emby: Make) -> None:
    """A file elsewhere in the same library shows with the right rule; all files are listed once."""
    server.items += [Item(str(n), f"/media/{n}.mkv") for n in range(2500)]
    server.items.append(Item("x", "/media/films/a/one.mkv"))
    step = tried(emby(), SCENE)["scenes"]
    assert step.text.endswith(
        'The rule /data => /media/films in "Path map" in place of /data => /media would lead there.'
    )
    assert "/media/films/a/one.mkv" in step.examples[0]
    assert len(server.requests("GET", "/Items")) == 1 + 3
