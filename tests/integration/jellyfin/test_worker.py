"""Jellyfin in the worker: many updates, outages, and the way from an edit to the item."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from stash_courier.queue.history import ledger
from stash_courier.queue.history.ledger import Noted
from tests.standin.jellyfin import KEY, StandInJellyfin
from tests.standin.stash.library import Kind
from tests.standin.stash.server import StandInStash
from tests.support.fast_forward import FastForward
from tests.support.harness import PLUGIN, Courier, wait_until
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


def set_up(stash: StandInStash, server: StandInJellyfin, **raw: object) -> None:
    """Configures the plugin for this server alone, by its quick start."""
    setup = {"jellyfin_url": server.url, "jellyfin_api_key": KEY, "path_map": "/media/films => /films"}
    stash.config.plugins[PLUGIN] = {**setup, **raw}


def film_path(stash: StandInStash, scene_id: int) -> str:
    """The path of a scene's file in Jellyfin."""
    found = stash.library.find(scene_id)
    assert found is not None
    return found.files[0].path.replace("/media/films", "/films")


def test_locks_through_the_worker(tmp_path: Path, stash: StandInStash, server: StandInJellyfin) -> None:
    """The ledger remembers what was written: later edits follow, until the owner edits the field in Jellyfin."""
    item_id = server.add(film_path(stash, 1))
    set_up(stash, server)

    def deliver(title: str) -> str:
        stash.edit(1, title=title)
        courier.put(1)
        courier.run(courier.queue.empty)
        return str(server.items[item_id]["Name"])

    with FastForward(tmp_path / "data", stash) as courier:
        assert [deliver("A"), deliver("B")] == ["A", "B"]
        assert ledger.noted(courier.queue.connection, 5) == {}
        server.items[item_id]["Name"] = "By hand"
        assert deliver("C") == "By hand"
        assert ledger.noted(courier.queue.connection, 5) == {"jellyfin": {"locked_fields": Noted(1, (1,))}}
        assert courier.dlq.get_count() == 0


def test_an_edit_in_stash_shows_in_jellyfin(tmp_path: Path, server: StandInJellyfin) -> None:
    """An edit in a Stash with a login reaches the item and its image in Jellyfin."""
    with Courier(tmp_path, {}, scenes=3, credentials=("me", "secret")) as courier:
        courier.connect(connected(server.url, images=True))
        item_id = server.add(film_path(courier.stash, 2))
        cover = f"data:image/jpeg;base64,{base64.b64encode(JPEG).decode()}"
        courier.stash.edit(2, title="Shown", cover_image=cover)
        wait_until(lambda: item_id in server.images, 15.0)
        courier.drained()
        assert "cover" not in courier.log()
    assert server.items[item_id]["Name"] == "Shown"
    assert server.images[item_id] == JPEG


def test_collections_and_images_of_performers(tmp_path: Path, server: StandInJellyfin) -> None:
    """What the ledger keeps of collections has a scene taken out again; performers' images come from Stash."""
    with Courier(tmp_path, {}, scenes=3, credentials=("me", "secret")) as courier:
        courier.connect(connected(server.url, collections="studio", person_images=True))
        one, other, studio = (courier.stash.named(*of) for of in (PERFORMER, OTHER, STUDIO))
        courier.stash.library.portraits[one] = JPEG
        item_id = server.add(film_path(courier.stash, 2))
        courier.stash.edit(2, performer_ids=[one, other], studio_id=studio)
        courier.drained()
        assert {box.name: box.items for box in server.collections.by_id.values()} == {STUDIO[1]: [item_id]}
        courier.stash.edit(2, studio_id=None)
        courier.drained()
        assert {box.name: box.items for box in server.collections.by_id.values()} == {STUDIO[1]: []}
    assert server.images == {server.persons.of(PERFORMER[1])["Id"]: JPEG}
