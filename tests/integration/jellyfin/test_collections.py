"""Studios and groups as collections in Jellyfin."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from stash_courier.queue.failures import DeliveryFailed, Failure
from stash_courier.queue.jobs import Named, Scene
from stash_courier.worker.destinations import Delivered
from stash_courier.worker.destinations.jellyfin.collections import Collections
from stash_courier.worker.destinations.jellyfin.destination import Jellyfin
from tests.standin.jellyfin import StandInJellyfin
from tests.standin.receivers import Received, Reply
from tests.support.intercept import intercept
from tests.support.jellyfin import VERSIONS, jellyfin
from tests.support.media_samples import delivery, scene

pytestmark = pytest.mark.timeout(60)

EMPTY = b'{"Items": [], "TotalRecordCount": 0, "StartIndex": 0}'
WRITES = ("POST /Collections", "POST /Collections/{id}/Items", "DELETE /Collections/{id}/Items")


def send(ours: Jellyfin, one: Scene, before: Delivered | None = None) -> Delivered:
    """Delivers a scene, with the record of its last delivery."""
    return ours.deliver(delivery("jellyfin", one), one, (before and before.record) or b"")


def scenes(server: StandInJellyfin, count: int, **values: Any) -> list[Scene]:
    """Scenes whose files are items of the server."""
    for number in range(count):
        server.add(f"/media/movies/{number}.mkv")
    return [scene(f"/data/movies/{number}.mkv", id=number + 1, **values) for number in range(count)]


def contents(server: StandInJellyfin) -> dict[str, list[str]]:
    """The file names in each collection, by its name."""
    return {
        box.name: [server.items[one]["Path"].rpartition("/")[2] for one in box.items]
        for box in server.collections.by_id.values()
    }


def requests(server: StandInJellyfin) -> int:
    """How many requests were about collections."""
    listings = sum("BoxSet" in one.path or "parentId" in one.path for one in server.receiver.received)
    return listings + sum(server.counts[route] for route in WRITES)


def made(server: StandInJellyfin) -> int:
    """How often a collection was made."""
    return server.counts["POST /Collections"]


def of_studio(one: Scene, name: str | None) -> Scene:
    """The scene with another studio."""
    return scene(one.files[0].path, id=one.id, studio=name and Named("9", name))


def owners(server: StandInJellyfin, name: str, *paths: str) -> str:
    """The owner makes a collection; returns its id."""
    return server.collections.create(name, [server.add(path) for path in paths])


@pytest.mark.parametrize(
    ("which", "names"), [("studio", ["Studio"]), ("groups", ["Group"]), ("both", ["Studio", "Group"])]
)
@pytest.mark.parametrize("version", VERSIONS)
def test_a_scene_is_in_the_collections_of_its_studio_and_groups(
    version: str, which: str, names: list[str]
) -> None:
    """Collections are made once, with the scenes in them. Another delivery sends nothing, also after a restart."""
    with StandInJellyfin(version=version) as server:
        one, two = scenes(server, 2)
        with jellyfin(server, collections=which) as ours:
            first = send(ours, one)
            send(ours, two)
        assert contents(server) == {name: ["0.mkv", "1.mkv"] for name in names}
        assert made(server) == len(names)
        before = requests(server)
        with jellyfin(server, collections=which) as ours:
            again = send(ours, one, first)
        assert (again.record, again.notes, again.changes) == (first.record, first.notes, ())
        assert requests(server) == before


def test_a_collection_of_that_name_is_used(server: StandInJellyfin) -> None:
    """The owner's collection of exactly that name gets the scene and keeps what is in it."""
    owners(server, "Studio", "/media/movies/by hand.mkv")
    owners(server, "Studio Two", "/media/movies/other.mkv")
    (one,) = scenes(server, 1)
    with jellyfin(server, collections="studio") as ours:
        assert send(ours, one).notes == frozenset()
    assert contents(server) == {"Studio": ["by hand.mkv", "0.mkv"], "Studio Two": ["other.mkv"]}
    assert made(server) == 0


@pytest.mark.parametrize("studio", ["Another", None])
def test_a_scene_leaves_the_collection_that_it_got_from_us(server: StandInJellyfin, studio: str | None) -> None:
    """With another studio, a scene is taken out of the former one's collection, which stays, also when empty."""
    owners(server, "Group", "/media/movies/by hand.mkv")
    (one,) = scenes(server, 1)
    with jellyfin(server, collections="both") as ours:
        first = send(ours, one)
        send(ours, of_studio(one, studio), first)
    new = {studio: ["0.mkv"]} if studio else {}
    assert contents(server) == {"Group": ["by hand.mkv", "0.mkv"], "Studio": [], **new}


def test_what_the_owner_put_into_a_collection_stays(server: StandInJellyfin) -> None:
    """A scene that the owner had put into a collection is never taken out of it."""
    (one,) = scenes(server, 1)
    server.collections.create("Studio", server.items)
    with jellyfin(server, collections="studio") as ours:
        first = send(ours, one)
        send(ours, of_studio(one, None), first)
    assert contents(server) == {"Studio": ["0.mkv"]}
    assert server.counts["DELETE /Collections/{id}/Items"] == 0


def test_what_the_owner_took_out_stays_out(server: StandInJellyfin) -> None:
    """A scene that the owner took out of a collection isn't added again."""
    (one,) = scenes(server, 1)
    with jellyfin(server, collections="studio") as ours:
        first = send(ours, one)
        (box,) = server.collections.by_id
        server.collections.take_out(box, list(server.items))
        send(ours, one, first)
    assert contents(server) == {"Studio": []}


@pytest.mark.parametrize("restarted", [False, True])
def test_a_renamed_collection_is_neither_replaced_nor_left(server: StandInJellyfin, restarted: bool) -> None:
    """A collection that the owner renamed gets the studio's scenes under its new name, and keeps what it has.

    Jellyfin would replace it by a new one with the old name, since both have the same folder.
    """
    one, two = scenes(server, 2)
    with jellyfin(server, collections="studio") as ours:
        first = send(ours, one)
        (box,) = server.collections.by_id
        server.collections.by_id[box].name = "My favorites"
        server.collections.add(box, [server.add("/media/movies/by hand.mkv")])
        if not restarted:
            send(ours, two)
    if restarted:
        with jellyfin(server, collections="studio") as ours:
            send(ours, two)
    assert contents(server) == {"My favorites": ["0.mkv", "by hand.mkv", "1.mkv"]}
    with jellyfin(server, collections="studio") as ours:
        send(ours, of_studio(one, None), first)
    assert contents(server) == {"My favorites": ["by hand.mkv", "1.mkv"]}


def test_a_removed_collection_stays_away(server: StandInJellyfin) -> None:
    """A collection that the owner removed isn't made again, neither for its scenes nor for new ones."""
    one, two, three = scenes(server, 3)
    now = [1000.0]
    with jellyfin(server, collections="studio") as ours:
        ours._collections = Collections(ours._api, "studio", clock=lambda: now[0])
        first = send(ours, one)
        server.collections.by_id.clear()
        assert send(ours, one, first).record == first.record
        for new in (two, three):
            assert send(ours, new).notes == frozenset()
            now[0] += 1000.0
        assert (contents(server), made(server)) == ({}, 1)
        send(ours, of_studio(one, None), first)  # nothing to take it out of
    assert contents(server) == {}


def test_two_collections_of_the_same_name(server: StandInJellyfin) -> None:
    """If it isn't clear which collection is meant, the scene is added to none, and status says so."""
    for former in ("First", "Second"):
        server.collections.by_id[owners(server, former, f"/media/movies/{former}.mkv")].name = "Studio"
    (one,) = scenes(server, 1)
    with jellyfin(server, collections="both") as ours:
        assert send(ours, one).notes == {"not_collected:Studio"}
    assert sorted(box.items[0] for box in server.collections.by_id.values() if len(box.items) == 1)
    assert contents(server)["Group"] == ["0.mkv"]
    assert made(server) == 1  # of the group


@pytest.mark.parametrize("name", ["Studio : One", "studio / one"])
def test_a_name_that_makes_the_folder_of_another_collection(server: StandInJellyfin, name: str) -> None:
    """A collection whose folder another one has is not made, since the server would replace that one."""
    owners(server, "Studio / One", "/media/movies/by hand.mkv")
    server.collections.by_id[next(iter(server.collections.by_id))].name = "Renamed"
    (one,) = scenes(server, 1, studio=Named("9", name))
    with jellyfin(server, collections="studio") as ours:
        assert send(ours, one).notes == {f"not_collected:{name}"}
    assert contents(server) == {"Renamed": ["by hand.mkv"]}


@pytest.mark.parametrize("name", ["é" * 130, "no UTF-8: \udcff", "refused"])
def test_a_collection_that_can_not_be_made(server: StandInJellyfin, name: str) -> None:
    """If no folder can have the name, or Jellyfin refuses it, the scene is delivered and the name is counted."""
    (one,) = scenes(server, 1, studio=Named("9", name))
    intercept(server.receiver, Reply(400), "POST /Collections?name=refused")
    with jellyfin(server, collections="both", skip_fields="studio") as ours:
        assert send(ours, one).notes == {f"not_collected:{name}"}
    assert contents(server) == {"Group": ["0.mkv"]}


def test_threads_make_a_collection_once(server: StandInJellyfin) -> None:
    """Eight scenes that arrive at once make one collection and are all in it.

    Jellyfin gets one change at a time, since it may lose one of two that overlap.
    """
    several = scenes(server, 8)
    inner, lock = server.receiver.answer, threading.Lock()
    overlaps = []
    assert callable(inner)

    def one_at_a_time(request: Received) -> Reply:
        if "/Collections" not in request.path:
            return inner(request)
        overlaps.append(lock.locked())
        with lock:
            return inner(request)

    server.receiver.answer = one_at_a_time
    with jellyfin(server, collections="both") as ours:
        threads = [threading.Thread(target=send, args=(ours, one)) for one in several]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert made(server) == 2
    assert {name: len(files) for name, files in contents(server).items()} == {"Studio": 8, "Group": 8}
    assert not any(overlaps)


def test_a_new_collection_that_is_not_listed_yet(server: StandInJellyfin) -> None:
    """A collection that we made is used although the listing lacks it, since a second one would replace it."""
    one, other, two = scenes(server, 3)
    now = [1000.0]
    server.collections.hides_new = True
    with jellyfin(server, collections="studio") as ours:
        ours._collections = Collections(ours._api, "studio", clock=lambda: now[0])
        send(ours, one)
        now[0] += 30.0
        send(ours, of_studio(other, "Another"))  # has the listing read again
        send(ours, two)
    assert (made(server), contents(server)) == (2, {"Studio": ["0.mkv", "2.mkv"], "Another": ["1.mkv"]})


def test_a_server_that_does_not_show_what_is_in_a_collection(server: StandInJellyfin) -> None:
    """If it can't be seen what the owner put into a collection, nothing is taken out of it."""
    owners(server, "Studio", "/media/movies/by hand.mkv")
    (one,) = scenes(server, 1)
    intercept(server.receiver, Reply(200, {"Content-Type": "application/json"}, EMPTY), "parentId=")
    with jellyfin(server, collections="studio") as ours:
        first = send(ours, one)
        send(ours, of_studio(one, None), first)
    assert contents(server) == {"Studio": ["by hand.mkv", "0.mkv"]}


def test_an_incomplete_listing(server: StandInJellyfin) -> None:
    """A collection that is missing in the listing isn't replaced, which would lose what is in it."""
    owners(server, "Studio", "/media/movies/by hand.mkv")
    (one,) = scenes(server, 1)
    intercept(server.receiver, Reply(200, {"Content-Type": "application/json"}, EMPTY), "BoxSet&fields")
    with jellyfin(server, collections="studio") as ours:
        assert send(ours, one).notes == {"not_collected:Studio"}
    assert contents(server) == {"Studio": ["by hand.mkv"]}


def test_a_failure_between_two_collections(server: StandInJellyfin) -> None:
    """If the second of two collections can't be made now, the delivery is tried again and loses nothing."""
    (one,) = scenes(server, 1)
    inner = intercept(server.receiver, Reply(503), "POST /Collections?name=Group")
    with jellyfin(server, collections="both") as ours:
        with pytest.raises(DeliveryFailed) as caught:
            send(ours, one)
        assert caught.value.failure is Failure.BUSY
        server.receiver.answer = inner
        second = send(ours, one)
        assert contents(server) == {"Studio": ["0.mkv"], "Group": ["0.mkv"]}
        send(ours, scene(one.files[0].path, id=1, studio=None, groups=()), second)
    assert contents(server) == {"Studio": [], "Group": []}


def test_add_only_takes_nothing_out(server: StandInJellyfin) -> None:
    """With "Lists are only added to", a scene stays in the collections that it got from us."""
    (one,) = scenes(server, 1)
    with jellyfin(server, collections="studio", add_only=True) as ours:
        first = send(ours, one)
        send(ours, of_studio(one, "Another"), first)
    assert contents(server) == {"Studio": ["0.mkv"], "Another": ["0.mkv"]}


def test_collections_that_are_switched_off_stay(server: StandInJellyfin) -> None:
    """What a scene got before stays, and is still known as ours when they are switched on again."""
    (one,) = scenes(server, 1)
    with jellyfin(server, collections="both") as ours:
        first = send(ours, one)
    with jellyfin(server, collections="none") as ours:
        assert send(ours, one, first).record == first.record
    assert contents(server) == {"Studio": ["0.mkv"], "Group": ["0.mkv"]}


def test_of_two_with_the_same_name_the_one_with_its_folder_is_used(server: StandInJellyfin) -> None:
    """Of two collections with the same name, the one that was made under it is used."""
    server.collections.by_id[owners(server, "First", "/media/movies/first.mkv")].name = "Studio"
    box = owners(server, "Studio", "/media/movies/second.mkv")
    (one,) = scenes(server, 1)
    with jellyfin(server, collections="studio") as ours:
        assert send(ours, one).notes == frozenset()
    assert len(server.collections.by_id[box].items) == 2


@pytest.mark.parametrize(
    ("path", "notes"), [("/media/movies/Studio [boxset]", set()), ("", {"not_collected:New"})]
)
def test_collections_in_other_folders(server: StandInJellyfin, path: str, notes: set[str]) -> None:
    """A folder of media that looks like a collection is left alone. Without folders in the answer none is made."""
    box = owners(server, "Studio", "/media/movies/Studio [boxset]/a.mkv")
    server.collections.by_id[box].path = path
    (one,) = scenes(server, 1)
    with jellyfin(server, collections="studio") as ours:
        assert send(ours, of_studio(one, "New" if notes else "Studio")).notes == notes
    assert contents(server)["Studio"] == (["a.mkv"] if notes else ["0.mkv"])
    assert server.counts["POST /Collections/{id}/Items"] == 0


def test_another_item_of_the_scene(server: StandInJellyfin) -> None:
    """An item with a new id is added, whatever the record says of the former one."""
    (one,) = scenes(server, 1)
    with jellyfin(server, collections="studio") as ours:
        first = send(ours, one)
        server.add("/media/movies/moved.mkv")
        send(ours, scene("/data/movies/moved.mkv", id=1), first)
    assert contents(server) == {"Studio": ["0.mkv", "moved.mkv"]}
