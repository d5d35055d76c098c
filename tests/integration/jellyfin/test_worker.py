"""Jellyfin in the worker: many updates, outages, and the way from an edit to the item."""

from __future__ import annotations

import base64
import time
from pathlib import Path

import pytest

from stash_courier.queue.history import ledger
from stash_courier.queue.history.ledger import Noted
from tests.standin.jellyfin import KEY, StandInJellyfin
from tests.standin.receivers import Receiver, Reply
from tests.standin.stash.library import Kind
from tests.standin.stash.server import StandInStash
from tests.support.connections import store
from tests.support.fast_forward import FastForward
from tests.support.harness import PLUGIN, Courier, wait_until
from tests.support.jellyfin import JPEG, connected, ids_asked, jellyfin
from tests.support.media_samples import delivery, scene
from tests.support.pool import run_pool

pytestmark = pytest.mark.timeout(60)

HOUR = 3600.0
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


def test_through_the_worker_lookups_are_batched(
    tmp_path: Path, stash: StandInStash, server: StandInJellyfin
) -> None:
    """The dispatcher looks up waiting scenes in batches."""
    for scene_id in range(1, 121):
        server.add(film_path(stash, scene_id))
    set_up(stash, server)
    with FastForward(tmp_path / "data", stash) as courier:
        for scene_id in range(1, 121):
            courier.put(scene_id)
        courier.run(courier.queue.empty)
        assert courier.dlq.get_count() == 0
    assert server.counts["POST /Items/{id}"] == 120
    assert sum(count > 1 for count in ids_asked(server)) <= 120 // 40 + 1
    assert all(item["Name"].startswith("Film ") for item in server.items.values())


def test_a_missing_item_becomes_a_dead_letter_after_two_hours(
    tmp_path: Path, stash: StandInStash, server: StandInJellyfin
) -> None:
    """An item that never appears is retried for two hours; the dead letter shows both paths."""
    server.add(film_path(stash, 2))
    set_up(stash, server)
    with FastForward(tmp_path / "data", stash) as courier:
        courier.put(1)
        courier.put(2)
        waited = courier.run(lambda: courier.dlq.get_count() == 1 and courier.queue.empty())
        (dead_letter,) = courier.dlq.get_recent(10)
        health = courier.dispatcher.registry.pools["jellyfin"].health
    assert 1.5 * HOUR < waited < 2.5 * HOUR
    assert health.state == "well"
    assert dead_letter.scene_id == 1
    assert film_path(stash, 1) in dead_letter.error_message
    assert "/media/films => /films" in dead_letter.error_message
    assert 8 <= len(server.notified) <= 15
    assert server.counts["POST /Items/{id}"] == 1


def test_a_wrong_address_makes_no_dead_letter(
    tmp_path: Path, stash: StandInStash, server: StandInJellyfin
) -> None:
    """An address that answers 404 pauses Jellyfin; once it is corrected everything arrives."""
    with Receiver(Reply(404, {}, b"404 page not found")) as wrong:
        stash.config.plugins[PLUGIN] = {}
        with FastForward(tmp_path / "data", stash) as courier:
            store(courier.folder, connected(wrong.url, refresh_only=True))
            for scene_id in range(1, 21):
                courier.put(scene_id)
            courier.run(seconds=3 * HOUR)
            assert courier.dispatcher.registry.pools["jellyfin"].health.state == "ill"
            assert courier.dlq.get_count() == 0
            store(courier.folder, connected(server.url, refresh_only=True))
            courier.run(courier.queue.empty)
            assert courier.dlq.get_count() == 0
    assert len({notice["Path"] for notice in server.notified}) == 20


def test_a_wrong_key_pauses_jellyfin_alone(tmp_path: Path, stash: StandInStash, server: StandInJellyfin) -> None:
    """A refused key pauses only Jellyfin and makes no dead letter; with the right key everything arrives."""
    server.add(film_path(stash, 1))
    with Receiver() as receiver, FastForward(tmp_path / "data", stash) as courier:
        set_up(stash, server, jellyfin_api_key="f" * 32, webhook_url=receiver.url)
        courier.put(1)
        courier.run(seconds=3 * HOUR)
        health = courier.dispatcher.registry.pools["jellyfin"].health
        assert (health.state, courier.dlq.get_count()) == ("ill", 0)
        assert '"API key"' in health.reason
        assert len(receiver.received) == 1
        set_up(stash, server, webhook_url=receiver.url)
        courier.run(courier.queue.empty)
    assert server.counts["POST /Items/{id}"] == 1


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


def test_covers_that_hang_delay_only_their_own_deliveries(
    tmp_path: Path, stash: StandInStash, server: StandInJellyfin
) -> None:
    """Stash never sends two covers: the webhook gets everything at once, and Jellyfin all other scenes."""
    cover = f"data:image/jpeg;base64,{base64.b64encode(JPEG).decode()}"
    for scene_id in range(1, 13):
        server.add(film_path(stash, scene_id))
        stash.edit(scene_id, cover_image=cover)
    stash.faults.slow_covers = {1, 2}
    timeout = 5.0
    with Receiver() as receiver, FastForward(tmp_path / "data", stash, timeout) as courier:
        stash.config.plugins[PLUGIN] = {"webhook_url": receiver.url}
        store(courier.folder, connected(server.url, images=True))
        for scene_id in range(1, 13):
            courier.put(scene_id, "create")
        began = time.monotonic()
        courier.run(lambda: len(receiver.received) == 12 and len(server.images) == 10)
        assert time.monotonic() - began < timeout
        courier.run(lambda: not courier.dispatcher.busy())
        stash.faults.clear()
        courier.run(courier.queue.empty)
    assert len(server.images) == 12
