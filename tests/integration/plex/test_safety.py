"""What a delivery to Plex must never do to data that isn't its own."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from stash_courier.queue.failures import DeliveryFailed, Failure
from stash_courier.queue.jobs import SceneFile
from stash_courier.worker.destinations.plex.api import PlexItem, Section
from tests.standin.plex import Item, Library
from tests.standin.plex import Plex as Server
from tests.support.media_samples import named
from tests.support.plex import PATH, SCENE, UPDATE, Ledger, Make, failure
from tests.support.steps import tried

pytestmark = pytest.mark.timeout(60)

OTHER = replace(SCENE, id=18, title="Another", files=(SceneFile("/data/a/two.mkv", 1, 1.0, 1, 1),))


# An item without an id


def test_an_item_without_an_id_changes_nothing(server: Server, films: Library, plex: Make) -> None:
    """If Plex lists the scene's item without a ratingKey, no request changes anything, and it is tried again."""
    server.add(films, PATH).key = 0
    others = [server.add(films, f"/media/b/{n}.mkv", summary=str(n)) for n in range(3)]
    before = [dict(item.values) for item in films.items]
    failed = failure(plex(images=True, skip_fields="+rating"))
    assert failed.failure is Failure.REFUSED
    assert "without a usable id" in failed.message
    assert [item.values for item in films.items] == before
    assert not any(item.locked for item in others)
    assert {request.method for request in server.requests()} == {"GET"}


def test_an_item_without_an_id_stops_no_other(server: Server, films: Library, plex: Make) -> None:
    """In a batch, an item without an id fails alone, and the others are read together."""
    server.add(films, PATH).key = 0
    good = [server.add(films, f"/media/a/{name}.mkv") for name in ("two", "three")]
    third = replace(OTHER, id=19, files=(SceneFile("/data/a/three.mkv", 1, 1.0, 1, 1),))
    scenes = (SCENE, OTHER, third)
    jobs = [(replace(UPDATE, row_id=n, scene_id=of.id), of) for n, of in enumerate(scenes, 1)]
    destination = plex()
    destination.prepare(jobs)
    assert failure(destination, SCENE, jobs[0][0]).failure is Failure.REFUSED
    for job in jobs[1:]:
        destination.deliver(*job)
    assert [item.values["title"] for item in good] == ["Another", "Another"]
    assert films.items[0].values["title"] == "one"
    assert len(server.reads) == 1


@pytest.mark.parametrize("key", ["", " ", "1,2", "101 ", "-1", "1.0", "all", "\u0661", "..", "1/../2"])
def test_no_request_without_a_usable_id(server: Server, plex: Make, key: str) -> None:
    """Whatever Plex gives as an id: without digits only, or in a library without such an id, nothing is sent."""
    api = plex()._api
    films = Section("Films", ("/media",), "3", "movie")
    for item in (
        PlexItem(key, films, (PATH,), {}, {}),
        PlexItem("101", replace(films, key=key), (PATH,), {}, {}),
    ):
        for request in (
            partial(api.read, [item]),
            partial(api.edit, item, {"title.value": "x"}),
            partial(api.rate, item, 5.0),
            partial(api.upload_poster, item, b"\xff\xd8\xff"),
        ):
            with pytest.raises(DeliveryFailed) as caught:
                request()
            assert caught.value.failure is Failure.REFUSED
    assert server.requests() == []


# The cast


def cast_of(item: Item) -> list[tuple[str, ...]]:
    """The entries of an item's cast."""
    return [
        (name, *(item.cast.get(name, {}).get(key, "") for key in ("role", "thumb", "tagKey")))
        for name in item.tags["actor"]
    ]


@pytest.mark.parametrize("replaces", [True, False])
@pytest.mark.parametrize("add_only", [True, False])
def test_roles_survive_a_change_of_the_cast(
    server: Server, films: Library, plex: Make, replaces: bool, add_only: bool
) -> None:
    """If one performer comes and one goes, the others keep role, picture and key, also those a listing cuts."""
    server.replaces_tags = replaces
    item = server.add(films, PATH)
    item.tags["actor"] = ["Anna", "Zoë", "Gone", "Bo, Jr."]
    item.cast = {
        "Anna": {"role": "Hero & more", "thumb": "http://h/a.jpg?x=1&y=2", "tagKey": "5d77682d85719b001f3a535e"},
        "Gone": {"role": "Ghost"},
        "Bo, Jr.": {"role": "Villain é", "thumb": "http://h/b.jpg"},
    }
    plex(add_only=add_only).deliver(UPDATE, SCENE)
    gone = [("Gone", "Ghost", "", "")] if add_only else []
    assert cast_of(item) == [
        ("Anna", "Hero & more", "http://h/a.jpg?x=1&y=2", "5d77682d85719b001f3a535e"),
        ("Zoë", "", "", ""),
        *gone,
        ("Bo, Jr.", "Villain é", "http://h/b.jpg", ""),
        ("Cy", "", "", ""),
    ]


# One item with several files


def test_only_the_scene_of_the_first_file_is_written(server: Server, films: Library, plex: Make) -> None:
    """Of an item with two files, which are two scenes, only the first file's is written; the other is filtered."""
    item = server.add(films, PATH, "/media/a/two.mkv")
    destination, ledger = plex(), Ledger()
    for _ in range(2):
        assert ledger.deliver(destination, SCENE).outcome == "sent"
        other = ledger.deliver(destination, OTHER)
        assert (other.outcome, sorted(other.notes), other.record) == ("filtered", ["shared_item"], None)
        assert item.values["title"] == "A day"
    assert len(server.edits) == 1


def test_the_test_names_the_first_file(server: Server, films: Library, plex: Make) -> None:
    """The test says that a scene's item belongs to another file."""
    item = server.add(films, PATH, "/media/a/two.mkv")
    steps = tried(plex(), OTHER, SCENE)
    assert steps["scenes"].text.startswith("1 of 2 scenes found.")
    assert steps["shared"].status == "warn"
    assert f"which has 2 files. Only the scene of the first one, {PATH}, is written there." in steps["shared"].text
    assert item.values["title"] == "one"


# Locks


def test_an_owner_s_locks_are_respected(server: Server, films: Library, plex: Make) -> None:
    """Fields that the owner locked keep their values, which is noted; the others are written."""
    item = server.add(films, PATH, title="Mine", summary="mine", originallyAvailableAt="2001-01-01")
    item.tags = {"genre": ["mine"], "actor": ["Me"], "collection": ["Favorites"]}
    item.locked = {"title", "originallyAvailableAt", "genre", "actor", "collection"}
    destination, ledger = plex(), Ledger()
    for _ in range(2):
        assert ledger.deliver(destination).notes == {"locked_fields"}
        assert item.values == {
            "title": "Mine",
            "summary": SCENE.details,
            "originallyAvailableAt": "2001-01-01",
            "studio": "Studio",
        }
        assert item.tags == {
            "genre": ["mine"],
            "actor": ["Me"],
            "collection": ["Favorites"],
            "director": ["Dana"],
        }
    assert len(server.edits) == 1
    text = tried(destination, SCENE)["example"].text
    assert "Left alone, because they are locked in Plex: title, date, performers, tags, collections." in text
    assert text.endswith('"Leave locked fields alone" decides that.')


def test_locks_can_be_overruled(server: Server, films: Library, plex: Make) -> None:
    """Without "Leave locked fields alone", locked fields are overwritten."""
    item = server.add(films, PATH, title="Mine")
    item.tags["genre"] = ["mine"]
    item.locked = {"title", "genre"}
    assert plex(respect_locks=False).deliver(UPDATE, SCENE).notes == frozenset()
    assert item.values["title"] == "A day"
    assert item.tags["genre"] == ["outside", "rain & wind", "50%"]


def test_what_we_locked_stays_ours_until_the_owner_changes_it(server: Server, films: Library, plex: Make) -> None:
    """We lock what we write. A later change is written over our value, but not over the owner's."""
    item = server.add(films, PATH)
    destination, ledger = plex(), Ledger()
    ledger.deliver(destination)
    edited = replace(SCENE, title="Second", tags=named(["new"]))
    assert ledger.deliver(destination, edited).notes == frozenset()
    assert (item.values["title"], item.tags["genre"]) == ("Second", ["new"])
    item.values["title"] = "Mine"
    item.tags["genre"] = ["new", "mine"]
    third = replace(edited, title="Third", details="Third.", tags=named(["newer"]))
    assert ledger.deliver(destination, third).notes == {"locked_fields"}
    assert (item.values["title"], item.values["summary"]) == ("Mine", "Third.")
    assert item.tags["genre"] == ["new", "mine"]
    agreed = replace(third, title="Mine", tags=named(["mine", "new"]))
    assert ledger.deliver(destination, agreed).notes == frozenset()
    assert ledger.deliver(destination, third).notes == {"locked_fields"}  # the values are still the owner's
    assert (item.values["title"], item.tags["genre"]) == ("Mine", ["new", "mine"])
    item.locked -= {"title", "genre"}  # the owner gives them back
    assert ledger.deliver(destination, third).notes == frozenset()
    assert (item.values["title"], item.tags["genre"]) == ("Third", ["newer"])


def test_a_lock_on_a_list_that_we_never_wrote_is_the_owner_s(server: Server, films: Library, plex: Make) -> None:
    """Collections that the owner locked stay locked to us when a scene without groups gets one."""
    item = server.add(films, PATH)
    item.tags["collection"] = ["Favorites"]
    item.locked = {"collection"}
    destination, ledger = plex(), Ledger()
    assert ledger.deliver(destination, replace(SCENE, groups=())).notes == frozenset()
    assert ledger.deliver(destination, SCENE).notes == {"locked_fields"}
    assert item.tags["collection"] == ["Favorites"]


def test_a_locked_poster_is_respected(server: Server, films: Library, plex: Make) -> None:
    """A poster that the owner locked stays; one that was uploaded from here is replaced, though Plex locked it."""
    item = server.add(films, PATH)
    item.locked = {"thumb"}
    image = [b"\xff\xd8\xff\xe0 one"]
    destination, ledger = plex(cover=lambda url: image[0], images=True), Ledger()
    change = replace(UPDATE, changed=("cover_image",))
    assert ledger.deliver(destination, SCENE, change).notes == {"locked_fields"}
    assert item.posters == []
    item.locked.discard("thumb")
    assert ledger.deliver(destination, SCENE, change).notes == frozenset()
    assert "thumb" in item.locked
    image[0] += b" changed"
    assert ledger.deliver(destination, SCENE, change).notes == frozenset()
    assert len(item.posters) == 2


def test_a_cover_that_fails_makes_nothing_the_owners(server: Server, films: Library, plex: Make) -> None:
    """If the cover fails after the fields were written, they are ours at the next attempt, of an edited scene."""
    item = server.add(films, PATH)

    def cover(_: str) -> bytes:
        raise DeliveryFailed(Failure.STASH, "The cover can't be fetched.")

    destination = plex(cover=cover, images=True)
    assert failure(destination, SCENE, replace(UPDATE, changed=("cover_image",))).failure is Failure.STASH
    assert item.values["title"] == "A day"
    assert Ledger().deliver(destination, replace(SCENE, title="Second")).notes == frozenset()
    assert item.values["title"] == "Second"


@pytest.mark.parametrize("retried", [{"attempts": 1}, {"deaths": 1}, {"generation": 1}])
def test_a_retry_by_another_worker(server: Server, films: Library, plex: Make, retried: dict[str, Any]) -> None:
    """A worker that ends after its edit and before its record makes nothing the owner's: the retry sees that."""
    item = server.add(films, PATH)
    ledger = Ledger()
    ledger.deliver(plex())
    second = replace(SCENE, title="Second")
    plex().deliver(UPDATE, second, ledger.records[SCENE.id])  # the record of this one is lost
    ledger.deliver(plex(), second, replace(UPDATE, **retried))
    assert ledger.deliver(plex(), replace(SCENE, title="Third")).notes == frozenset()
    assert item.values["title"] == "Third"


def test_a_repeated_edit_leaves_the_owner_s_locks_alone(server: Server, films: Library, plex: Make) -> None:
    """If removals take several requests, what the owner locked stays in all of them."""
    server.one_removal, server.replaces_tags = True, False
    item = server.add(films, PATH, title="Mine")
    item.tags["genre"] = ["x", "y"]
    item.locked = {"title"}
    plex().deliver(UPDATE, SCENE)
    assert (item.values["title"], len(server.edits)) == ("Mine", 2)
    assert item.tags["genre"] == ["outside", "rain & wind", "50%"]
