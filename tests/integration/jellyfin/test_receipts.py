"""What a delivery to Jellyfin says it has done: changes, what was left alone, and the item's page."""

from __future__ import annotations

from typing import Any

import pytest

from stash_courier.queue.jobs import Scene
from stash_courier.worker.destinations import Change, Delivered
from tests.standin.jellyfin import LibraryOptions, StandInJellyfin
from tests.support.jellyfin import JPEG, jellyfin
from tests.support.media_samples import delivery, scene

pytestmark = pytest.mark.timeout(60)


def deliver(server: StandInJellyfin, one: Scene, record: bytes = b"", **values: Any) -> Delivered:
    """Delivers an edit of a scene."""
    with jellyfin(server, lambda _: JPEG, **values) as ours:
        return ours.deliver(delivery("jellyfin", one, changed=()), one, record)


def changed(done: Delivered) -> dict[str, tuple[str | None, str]]:
    """Before and after of each change, by field."""
    assert len({one.field for one in done.changes}) == len(done.changes)
    return {one.field: (one.before, one.after) for one in done.changes}


def test_changes_are_what_the_test_had_announced(server: StandInJellyfin) -> None:
    """A receipt has the fields that the preview of a test names, with the values before and after."""
    item = server.add("/media/movies/one.mkv", Name="Old", Tags=["by hand"], Overview="")
    one = scene()
    with jellyfin(server) as ours:
        example = list(ours.test([one]))[-1].text
    done = deliver(server, one)
    assert changed(done)["title"] == ("Old", "A Title")
    assert changed(done)["details"] == ("", "Some details.")
    assert changed(done)["tags"] == ("by hand", "calm, loud")
    assert all(f"{field}: " in example for field in changed(done))
    assert example.count(" would become ") == len(done.changes)
    assert (done.compared, done.left) == (True, ())
    assert done.link == f"{server.url}/web/#/details?id={item}"


def test_a_second_delivery_changes_nothing(server: StandInJellyfin) -> None:
    """The item was compared and nothing differs."""
    server.add("/media/movies/one.mkv")
    first = deliver(server, scene())
    again = deliver(server, scene(), first.record or b"")
    assert (again.changes, again.compared, again.left) == ((), True, ())


def test_a_long_value_is_cut(server: StandInJellyfin) -> None:
    """Of a value 200 characters are shown, on one line."""
    server.add("/media/movies/one.mkv")
    done = deliver(server, scene(details="two\nlines " * 100))
    after = changed(done)["details"][1]
    assert len(after) == 201
    assert after.endswith("…")
    assert after.startswith("two lines two lines")


def test_locked_fields_are_named(server: StandInJellyfin) -> None:
    """What the owner locked is in no change, and a sentence says so."""
    server.add("/media/movies/one.mkv", Name="Owner's", LockedFields=["Name"])
    done = deliver(server, scene())
    assert "title" not in changed(done)
    assert not done.compared
    assert done.left == (
        'Left alone, because they are locked in Jellyfin: title. "Leave locked fields alone" decides that.',
    )


def test_a_locked_item_is_named(server: StandInJellyfin) -> None:
    """An item that is locked as a whole has no changes, but a page."""
    item = server.add("/media/movies/one.mkv", LockData=True)
    done = deliver(server, scene())
    assert (done.changes, done.compared) == ((), False)
    assert done.left[0].startswith("The whole item is locked in Jellyfin")
    assert done.link.endswith(f"/web/#/details?id={item}")


def test_a_cover_that_was_sent_is_a_change(server: StandInJellyfin) -> None:
    """The cover counts once: the item has it afterwards."""
    server.add("/media/movies/one.mkv")
    done = deliver(server, scene(), images=True)
    assert Change("cover", None, "the cover in Stash") in done.changes
    again = deliver(server, scene(), done.record or b"", images=True)
    assert again.changes == ()
    assert deliver(server, scene(), images=True).changes == ()  # without a record it is compared


def test_a_cover_that_was_not_sent_is_explained(server: StandInJellyfin) -> None:
    """Beside the media a cover could replace the owner's, so the receipt says where it would have gone."""
    server.add("/media/movies/one.mkv")
    server.options["Movies"] = LibraryOptions(save_local_metadata=True)
    done = deliver(server, scene(), images=True)
    assert "cover" not in changed(done)
    assert any(said.startswith("Its cover isn't sent") for said in done.left)


def test_collections_are_changes(server: StandInJellyfin) -> None:
    """Collections that the item was added to, and taken out of."""
    server.add("/media/movies/one.mkv")
    done = deliver(server, scene(), collections="both")
    assert changed(done)["collections"] == (None, "added to Group, added to Studio")
    again = deliver(server, scene(groups=[]), done.record or b"", collections="both")
    assert changed(again)["collections"] == (None, "taken out of 1")


def test_a_version_of_another_item(server: StandInJellyfin) -> None:
    """A scene that isn't written because its file is another item's says so."""
    server.add("/media/movies/one.mkv", ParentId=None)
    done = deliver(server, scene())
    assert done.outcome == "filtered"
    assert "only as a version, part or extra of another item" in done.left[0]


def test_only_notified(server: StandInJellyfin) -> None:
    """With "Only notify" nothing is compared and no item is known."""
    server.add("/media/movies/one.mkv")
    done = deliver(server, scene(), refresh_only=True)
    assert (done.changes, done.compared, done.left, done.link) == ((), False, (), "")


def test_a_receipt_costs_no_request(server: StandInJellyfin) -> None:
    """Lookup and update, as before."""
    server.add("/media/movies/one.mkv")
    deliver(server, scene())
    assert sum(server.counts.values()) <= 4, server.counts
