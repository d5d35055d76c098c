"""Jellyfin in the worker: many updates, outages, and the way from an edit to the item."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from tests.standin.jellyfin import StandInJellyfin
from tests.standin.stash.library import Kind
from tests.standin.stash.server import StandInStash
from tests.support.harness import Courier
from tests.support.jellyfin import JPEG, connected, ids_asked, jellyfin
from tests.support.media_samples import delivery, scene
from tests.support.pool import run_pool

pytestmark = pytest.mark.timeout(60)

PERFORMER: tuple[Kind, str] = ("performer", "Anna")
OTHER: tuple[Kind, str] = ("performer", "Zoë")
STUDIO: tuple[Kind, str] = ("studio", "A Studio")


def test_many_updates_cost_few_requests(server: StandInJellyfin) -> None:
    """400 updates of which 40 change something cost a lookup for every 50 and two requests for every change."""
    scenes = [scene(f"/data/movies/{n}.mkv", id=n, details="", date="") for n in range(400)]
    with jellyfin(server, skip_fields="studio performers tags director ids") as ours:
        for one in scenes:
            server.add(f"/media/movies/{one.id}.mkv", Name="A Title" if one.id % 10 else "Old")
        outcomes = run_pool(ours, [(delivery("jellyfin", s, row_id=s.id), s) for s in scenes])
    assert [o.error for o in outcomes] == [None] * 400
    assert server.counts["POST /Items/{id}"] == 40
    assert server.counts["GET /Library/VirtualFolders"] == 1
    assert set(server.counts) == {"GET /Items?ids", "POST /Items/{id}", "GET /Library/VirtualFolders"}
    assert sorted(ids_asked(server)) == [1] * 40 + [200] * 8  # an item that changes is read again
    assert {item["Name"] for item in server.items.values()} == {"A Title"}


def film_path(stash: StandInStash, scene_id: int) -> str:
    """The path of a scene's file in Jellyfin."""
    found = stash.library.find(scene_id)
    assert found is not None
    return found.files[0].path.replace("/media/films", "/films")


def test_an_edit_in_stash_shows_in_jellyfin(tmp_path: Path, server: StandInJellyfin) -> None:
    """An edit in a Stash with a login reaches the item, its image, a collection, and the image of a performer.

    What the ledger keeps of collections has the scene taken out again.
    """
    with Courier(tmp_path, {}, scenes=3, credentials=("me", "secret")) as courier:
        courier.connect(connected(server.url, images=True, collections="studio", person_images=True))
        one, other, studio = (courier.stash.named(*of) for of in (PERFORMER, OTHER, STUDIO))
        courier.stash.library.portraits[one] = JPEG
        item_id = server.add(film_path(courier.stash, 2))
        cover = f"data:image/jpeg;base64,{base64.b64encode(JPEG).decode()}"
        courier.stash.edit(2, title="Shown", cover_image=cover, performer_ids=[one, other], studio_id=studio)
        courier.drained()
        assert {box.name: box.items for box in server.collections.by_id.values()} == {STUDIO[1]: [item_id]}
        courier.stash.edit(2, studio_id=None)
        courier.drained()
        assert {box.name: box.items for box in server.collections.by_id.values()} == {STUDIO[1]: []}
        assert "cover" not in courier.log()
    assert server.items[item_id]["Name"] == "Shown"
    assert server.images == {item_id: JPEG, server.persons.of(PERFORMER[1])["Id"]: JPEG}
