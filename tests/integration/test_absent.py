"""Scenes that a media server doesn't have: waited for, skipped, or dead letters at once; with a real worker."""

from __future__ import annotations

import dataclasses
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from stash_courier.queue.deliveries.scene_queue import SceneQueue
from stash_courier.queue.history import ledger
from stash_courier.queue.inbox import files
from stash_courier.queue.jobs import BULK
from stash_courier.worker.connections.model import Entry
from tests import ROOT
from tests.standin.jellyfin import KEY, StandInJellyfin
from tests.standin.receivers import Receiver
from tests.standin.stash.server import StandInStash
from tests.support import connections
from tests.support.fast_forward import FastForward
from tests.support.harness import Courier, wait_until

pytestmark = pytest.mark.timeout(120)

HOUR = 3600.0
RULE = "/media/films => /films"


def entry(server: StandInJellyfin, absent: str = "skip", **values: object) -> Entry:
    """A connection to a Jellyfin."""
    given = {"url": server.url, "key": KEY, "path_map": RULE, "skip_fields": "studio performers tags director ids"}
    return Entry("jellyfin-1", "Living room", "jellyfin", values={**given, "absent": absent, **values})


def age(stash: StandInStash, *young: int) -> None:
    """Makes all scenes a week old, except these, which are new."""
    week = (datetime.now(UTC) - timedelta(days=7)).strftime("%Y-%m-%dT%H:%M:%SZ")
    stash.library.commit(
        dataclasses.replace(one, created_at=stash.library.now() if one.id in young else week)
        for one in stash.library.all()
    )


def scan(stash: StandInStash, server: StandInJellyfin, *scene_ids: int) -> None:
    """Adds the files of scenes to the server."""
    for scene_id in scene_ids:
        server.add(stash.library.get(scene_id).path.replace("/media/films", "/films"))


def outcomes(data: Path) -> dict[str, int]:
    """How many rows of the ledger have each outcome."""
    with closing(sqlite3.connect(data / files.QUEUE_DB)) as conn:
        return dict(conn.execute("SELECT outcome, count(*) FROM sent GROUP BY outcome"))


def line_of(found: dict[str, Any]) -> str:
    """The line of "Show status" about the connection."""
    (line,) = [line for line in found["lines"] if line.startswith("Living room: ")]
    return str(line)


@pytest.fixture
def server() -> Iterator[StandInJellyfin]:
    """A Jellyfin with a library of films."""
    with StandInJellyfin(libraries={"Films": ["/films"]}) as running:
        yield running


@pytest.fixture
def stash(tmp_path: Path) -> Iterator[StandInStash]:
    """A Stash with five old scenes."""
    with StandInStash(5, config_dir=tmp_path / "config", env={"STASH_COURIER_WORKER": "off"}) as running:
        running.install_plugin(ROOT)
        age(running)
        yield running


@pytest.fixture
def forward(tmp_path: Path, stash: StandInStash) -> Iterator[FastForward]:
    """A dispatcher with a clock that jumps."""
    with FastForward(tmp_path / "data", stash) as courier:
        yield courier


@pytest.mark.check
def test_a_server_with_a_tenth_of_the_scenes(tmp_path: Path, server: StandInJellyfin) -> None:
    """Of 200 scenes 20 are sent and 178 skipped with few requests; only the two young ones are announced."""
    with Courier(tmp_path, {}, scenes=200) as courier:
        young = {100, 101}
        age(courier.stash, *young)
        scan(courier.stash, server, *range(1, 21))
        courier.connect(entry(server))
        courier.stash.operation({"mode": "enqueue_all"})
        wait_until(lambda: sum(outcomes(courier.data).values()) == 198, 60.0)
        wait_until(lambda: len(server.notified) == 2, 10.0)
        asked, listed = server.counts["GET /Items?ids"], server.counts["GET /Items"]
        assert asked <= 200 / 50 * 1.5 + 20 + 10, "a lookup for every 50, and a look before each of 20 updates"
        assert listed <= 5
        assert server.counts["POST /Items/{id}"] == 20
        assert {notice["UpdateType"] for notice in server.notified} == {"Created"}
        found = courier.stash.operation({"mode": "status"})
        assert "Not on the server: 178." in line_of(found)
        assert found["destinations"][0]["not_on_server"] == 178
        assert found["destinations"][0]["waiting"] == 2
        assert found["dead_letters"]["total"] == 0
        assert outcomes(courier.data) == {"sent": 20, "absent": 178}
        before = sum(server.counts.values())
        # An edit of a skipped scene looks it up once and announces nothing.
        courier.stash.edit(150, title="New")
        wait_until(lambda: sum(server.counts.values()) > before, 20.0)
        wait_until(lambda: courier.waiting() == 2, 20.0)
        assert len(server.notified) == 2
        assert server.counts["GET /Items?ids"] - asked <= 1
        assert "is skipped: not on the server" in courier.log()


def test_a_young_scene_is_waited_for_and_then_skipped(
    forward: FastForward, stash: StandInStash, server: StandInJellyfin
) -> None:
    """A scene that came today is announced and looked for as with "wait"; after two hours it is skipped."""
    connections.store(forward.folder, entry(server))
    age(stash, 3)
    forward.put(3, "create")
    forward.put(4)
    waited = forward.run(forward.queue.empty)
    assert 1.5 * HOUR < waited < 2.5 * HOUR
    assert 8 <= len(server.notified) <= 15
    assert {notice["Path"] for notice in server.notified} == {"/films/3/Film 3.mp4"}
    assert outcomes(forward.folder) == {"absent": 2}
    assert forward.dlq.get_count() == 0


def test_the_sweep_doesnt_find_a_skipped_scene_again(
    forward: FastForward, stash: StandInStash, server: StandInJellyfin
) -> None:
    """A skipped scene is in the ledger, so no sweep queues it again until it changes."""
    connections.store(forward.folder, entry(server))
    forward.put(5)
    forward.run(forward.queue.empty)
    forward.run(seconds=HOUR)  # the first sweep
    changed_at = datetime.fromtimestamp(forward.wall, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    stash.library.commit([dataclasses.replace(stash.library.get(4), updated_at=changed_at)])
    forward.run(seconds=HOUR)
    assert outcomes(forward.folder) == {"absent": 2}
    asked = server.counts["GET /Items?ids"]
    forward.run(seconds=5 * HOUR)
    assert server.counts["GET /Items?ids"] == asked


def test_dead_letters_at_once(forward: FastForward, stash: StandInStash, server: StandInJellyfin) -> None:
    """With "dead_letter" an old scene is one at its first attempt, and a young one after two hours."""
    connections.store(forward.folder, entry(server, "dead_letter"))
    age(stash, 3)
    forward.put(3, "create")
    forward.put(4)
    forward.run(lambda: forward.dlq.get_count() == 1)
    assert forward.ran < 60
    (letter,) = forward.dlq.get_recent(10)
    assert letter.scene_id == 4
    assert letter.error_type == "not_there_yet"
    assert letter.error_message == (
        "Jellyfin does not know scene 4 under /films/4/Film 4.mp4 (in Stash /media/films/4/Film 4.mp4; by the "
        'rule /media/films => /films of "Path map"). If it should, correct "Path map" or add that folder to a '
        "library of Jellyfin."
    )
    waited = forward.run(forward.queue.empty)
    assert 1.5 * HOUR < waited < 2.5 * HOUR
    assert {notice["Path"] for notice in server.notified} == {"/films/3/Film 3.mp4"}
    assert forward.dlq.get_count() == 2


def test_our_locks_after_a_while_without_the_item(
    forward: FastForward, stash: StandInStash, server: StandInJellyfin
) -> None:
    """If an item is away, as with an unmounted disk, and comes back as it was, its locked fields stay ours."""
    connections.store(forward.folder, entry(server))
    scan(stash, server, 4)
    gone = dict(server.items)
    for title, items in (("A", gone), ("B", {}), ("C", gone)):
        server.items.clear()
        server.items.update(items)
        forward.jump(30)
        stash.edit(4, title=title)
        forward.put(4)
        forward.run(forward.queue.empty)
    (item,) = server.items.values()
    assert (item["Name"], outcomes(forward.folder)) == ("C", {"sent": 1})


def test_a_scene_that_left_the_server(forward: FastForward, stash: StandInStash, server: StandInJellyfin) -> None:
    """A scene that was sent and is gone from the server counts as skipped; back again it counts as sent."""
    connections.store(forward.folder, entry(server))
    scan(stash, server, 4)
    forward.put(4)
    forward.run(forward.queue.empty)
    assert outcomes(forward.folder) == {"sent": 1}
    gone = dict(server.items)
    server.items.clear()
    forward.jump(30)  # longer than a listing is believed
    forward.put(4)
    forward.run(forward.queue.empty)
    assert outcomes(forward.folder) == {"absent": 1}
    server.items.update(gone)
    forward.jump(30)
    forward.put(4)
    forward.run(forward.queue.empty)
    assert outcomes(forward.folder) == {"sent": 1}


def test_a_skipped_scene_is_deleted(forward: FastForward, stash: StandInStash, server: StandInJellyfin) -> None:
    """Its deletion isn't reported to the server, which never had it; the scene is no longer counted."""
    connections.store(forward.folder, entry(server))
    forward.put(4)
    forward.run(forward.queue.empty)
    stash.vanish(4)
    forward.put(4, "destroy")
    forward.run(forward.queue.empty)
    assert server.notified == []
    assert outcomes(forward.folder) == {}


@pytest.mark.check
def test_skipped_scenes_are_sent_again(tmp_path: Path, server: StandInJellyfin) -> None:
    """The mode queues only skipped scenes, behind edits and only to its connection."""
    with Receiver() as other, Courier(tmp_path, {"webhook_url": other.url}, scenes=20) as courier:
        age(courier.stash)
        scan(courier.stash, server, *range(1, 6))
        courier.connect(entry(server))
        courier.stash.operation({"mode": "enqueue_all"})
        wait_until(lambda: outcomes(courier.data) == {"sent": 25, "absent": 15}, 30.0)
        scan(courier.stash, server, *range(6, 16))
        got = len(other.received)
        courier.stash.operation({"mode": "pause"})
        found = courier.stash.operation({"mode": "send_skipped", "connection": "jellyfin-1"})
        assert found["queued"] == 15
        wait_until(lambda: courier.waiting() == 15, 10.0)
        with closing(SceneQueue(courier.data)) as queue:
            wait_until(queue.inbox_empty, 10.0)
            waiting = [*queue.waiting("jellyfin-1", 100), *queue.waiting("webhook", 100)]
            assert ledger.count_absent(queue.connection) == {"jellyfin-1": 15}
        assert {getattr(one, "priority", None) for one in waiting} == {BULK}
        courier.stash.operation({"mode": "resume"})
        wait_until(lambda: outcomes(courier.data) == {"sent": 35, "absent": 5}, 60.0)
        assert len(other.received) == got
        assert server.notified == []
