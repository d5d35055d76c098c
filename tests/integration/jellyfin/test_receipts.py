"""What a delivery to Jellyfin says it has done: changes, what was left alone, and the item's page."""

from __future__ import annotations

from typing import Any

import pytest

from stash_courier.queue.jobs import Scene
from stash_courier.worker.destinations import Delivered
from tests.standin.jellyfin import StandInJellyfin
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


def test_collections_are_changes(server: StandInJellyfin) -> None:
    """Collections that the item was added to, and taken out of."""
    server.add("/media/movies/one.mkv")
    done = deliver(server, scene(), collections="both")
    assert changed(done)["collections"] == (None, "added to Group, added to Studio")
    again = deliver(server, scene(groups=[]), done.record or b"", collections="both")
    assert changed(again)["collections"] == (None, "taken out of 1")
