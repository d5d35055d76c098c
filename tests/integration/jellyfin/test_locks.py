"""What an owner locked in Jellyfin: it is left alone, and what we locked ourselves is not."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest

from stash_courier.queue.failures import DeliveryFailed
from stash_courier.queue.jobs import Named
from tests.standin.jellyfin import LibraryOptions, StandInJellyfin
from tests.standin.receivers import Received, Reply
from tests.support.jellyfin import JPEG, VERSIONS, jellyfin
from tests.support.media_samples import DISTINCT, delivery, scene
from tests.support.steps import tried

pytestmark = pytest.mark.timeout(60)

SWITCH = '"Leave locked fields alone"'
ALL = ["Cast", "Genres", "Studios", "Tags", "Name", "Overview"]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_locked_field_is_left_alone(server: StandInJellyfin, version: str) -> None:
    """Fields that the owner locked stay as they are, others are written, and a note says so."""
    server.version = version
    locks = {"LockData": False, "LockedFields": ["Name", "Tags", "Cast"]}
    item_id = server.add("/media/movies/one.mkv", **{**DISTINCT, **locks, "Name": "By hand"})
    before = copy.deepcopy(server.items[item_id])
    one = scene()
    with jellyfin(server) as ours:
        said = tried(ours, one)["example"].text
        done = ours.deliver(delivery("jellyfin", one), one)
    item = server.items[item_id]
    kept = ("Name", "Tags", "People", "Genres")
    assert {key: item[key] for key in kept} == {key: before[key] for key in kept}
    assert item["Overview"] == "Some details."
    assert [one["Name"] for one in item["Studios"]] == ["Studio"]
    assert item["ProviderIds"]["Stash"] == "17"
    assert done.notes == {"locked_fields"}
    assert "Left alone, because they are locked in Jellyfin: title, performers, director, tags." in said
    assert SWITCH in said


@pytest.mark.parametrize("version", VERSIONS)
def test_a_locked_item_is_left_alone(server: StandInJellyfin, version: str) -> None:
    """An item that is locked as a whole gets neither fields nor a cover, and a note says so."""
    server.version = version
    item_id = server.add("/media/movies/one.mkv", LockData=True)
    server.options["Movies"] = LibraryOptions(metadata_savers=["Nfo"])
    before = copy.deepcopy(server.items[item_id])
    one = scene()
    with jellyfin(server, lambda _: JPEG, images=True) as ours:
        said = tried(ours, one)["example"].text
        ours.prepare([(delivery("jellyfin", one), one)] * 2)
        done = ours.deliver(delivery("jellyfin", one, event="create"), one)
    assert server.items[item_id] == before
    assert (server.posted, server.images) == ([], {})
    assert done.notes == {"locked_item"}
    assert "The whole item is locked in Jellyfin, so it is left alone." in said
    assert SWITCH in said


def test_an_item_that_is_locked_since_the_lookup(server: StandInJellyfin) -> None:
    """An item that the owner locks between the lookup in advance and the update isn't written."""
    server.add("/media/movies/one.mkv")
    one = scene()
    with jellyfin(server) as ours:
        ours.prepare([(delivery("jellyfin", one), one)] * 2)
        next(iter(server.items.values()))["LockData"] = True
        done = ours.deliver(delivery("jellyfin", one), one)
    assert server.posted == []
    assert done.notes == {"locked_item"}


@pytest.mark.parametrize("version", VERSIONS)
def test_the_switch_overwrites_locks(server: StandInJellyfin, version: str) -> None:
    """With the switch off, locked fields and locked items are written, and the locks stay."""
    server.version = version
    item_id = server.add("/media/movies/one.mkv", LockData=True, LockedFields=ALL)
    one = scene()
    with jellyfin(server, respect_locks=False) as ours:
        done = ours.deliver(delivery("jellyfin", one), one)
        assert "locked" not in tried(ours, one)["example"].text
    item = server.items[item_id]
    assert (item["Name"], item["Tags"]) == ("A Title", ["calm", "loud"])
    assert server.people(item_id, "Actor") == ["Anna", "Zoë"]
    assert item["LockData"] is True
    assert set(item["LockedFields"]) == set(ALL)
    assert done.notes == frozenset()


@pytest.mark.parametrize("version", VERSIONS)
def test_later_edits_in_stash_follow(server: StandInJellyfin, version: str) -> None:
    """Fields that we locked ourselves take every later edit in Stash, also by a new worker."""
    server.version = version
    item_id = server.add("/media/movies/one.mkv")
    record = b""
    for word in ("a", "b", "c"):
        one = scene(title=word, details=word, performers=[word], tags=[word], director=word)
        with jellyfin(server) as ours:
            done = ours.deliver(delivery("jellyfin", one), one, record)
        assert done.notes == frozenset()
        record = done.record or b""
        item = server.items[item_id]
        assert (item["Name"], item["Overview"], item["Tags"]) == (word, word, [word])
        assert server.people(item_id, "Actor") == server.people(item_id, "Director") == [word]
    assert set(item["LockedFields"]) == {"Cast", "Name", "Overview", "Studios", "Tags"}


def test_an_edit_in_jellyfin_after_ours_is_the_owners(server: StandInJellyfin) -> None:
    """A title that the owner changes in Jellyfin after we wrote it stays his; our other fields follow Stash."""
    item_id = server.add("/media/movies/one.mkv")
    with jellyfin(server) as ours:
        done = ours.deliver(delivery("jellyfin"), scene(title="A"))
        said = tried(ours, scene(title="B"), records={17: done.record or b""})["example"].text
        assert 'title: "A" would become "B"' in said
        assert "locked" not in said
        server.items[item_id]["Name"] = "By hand"
        said = tried(ours, scene(title="B"), records={17: done.record or b""})["example"].text
        assert "Left alone, because they are locked in Jellyfin: title." in said
        done = ours.deliver(delivery("jellyfin"), scene(title="B", details="New."), done.record or b"")
        assert (server.items[item_id]["Name"], server.items[item_id]["Overview"]) == ("By hand", "New.")
        assert done.notes == {"locked_fields"}
        # In agreement the title stays the owner's, until he unlocks it.
        done = ours.deliver(delivery("jellyfin"), scene(title="By hand"), done.record or b"")
        assert done.notes == frozenset()
        done = ours.deliver(delivery("jellyfin"), scene(title="C"), done.record or b"")
        assert server.items[item_id]["Name"] == "By hand"
        assert done.notes == {"locked_fields"}
        server.items[item_id]["LockedFields"].remove("Name")
        done = ours.deliver(delivery("jellyfin"), scene(title="C"), done.record or b"")
        assert (server.items[item_id]["Name"], done.notes) == ("C", frozenset())
        ours.deliver(delivery("jellyfin"), scene(title="D"), done.record or b"")
    assert server.items[item_id]["Name"] == "D"


def test_an_answer_that_was_lost_makes_nothing_the_owners(server: StandInJellyfin) -> None:
    """If Jellyfin's answer to an update is lost and Stash changes again meanwhile, the later edit arrives."""
    item_id = server.add("/media/movies/one.mkv")
    inner = server.receiver.answer
    with jellyfin(server) as ours:
        done = ours.deliver(delivery("jellyfin"), scene(title="A"))

        def lost(request: Received) -> Reply:
            assert callable(inner)
            reply = inner(request)
            return Reply(502) if request.method == "POST" else reply

        server.receiver.answer = lost
        with pytest.raises(DeliveryFailed):
            ours.deliver(delivery("jellyfin"), scene(title="B"), done.record or b"")
        server.receiver.answer = inner
        done = ours.deliver(delivery("jellyfin"), scene(title="C"), done.record or b"")
    assert server.items[item_id]["Name"] == "C"
    assert done.notes == frozenset()


@pytest.mark.parametrize("tried", [{"attempts": 1}, {"deaths": 1}, {"generation": 1}])
def test_a_retry_by_another_worker(server: StandInJellyfin, tried: dict[str, Any]) -> None:
    """A worker that ends after its update and before its record makes nothing the owner's: the retry sees that."""
    item = server.items[server.add("/media/movies/one.mkv")]
    with jellyfin(server) as ours:
        done = ours.deliver(delivery("jellyfin"), scene(title="A"))
        ours.deliver(delivery("jellyfin"), scene(title="B"), done.record or b"")  # the record of this one is lost
    with jellyfin(server) as ours:
        done = ours.deliver(delivery("jellyfin", **tried), scene(title="B"), done.record or b"")
        done = ours.deliver(delivery("jellyfin"), scene(title="C"), done.record or b"")
    assert (item["Name"], done.notes) == ("C", frozenset())


def test_a_list_that_is_only_added_to_takes_names_beside_the_owner_s(server: StandInJellyfin) -> None:
    """A tag that the owner adds in Jellyfin keeps no later one of Stash out. A lock from before us does."""
    item_id = server.add("/media/movies/one.mkv", Tags=["Mine"])
    locked = server.add("/media/movies/two.mkv", Tags=["Mine"], LockedFields=["Tags"])
    one, other = scene(), scene("/data/movies/two.mkv")
    with jellyfin(server, add_only=True) as ours:
        record = ours.deliver(delivery("jellyfin", one), one).record or b""
        server.items[item_id]["Tags"].append("By hand")
        more = replace(one, tags=(*one.tags, Named("9", "New")))
        done = ours.deliver(delivery("jellyfin", more), more, record)
        assert ours.deliver(delivery("jellyfin", other), other).notes == {"locked_fields"}
    assert {"Mine", "By hand", "New"} <= {*server.items[item_id]["Tags"]}
    assert server.items[locked]["Tags"] == ["Mine"]
    assert done.notes == frozenset()
