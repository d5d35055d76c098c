"""Many deliveries to Plex at once, and the lookups in advance."""

from __future__ import annotations

from dataclasses import replace

import pytest

from stash_courier.queue.failures import Failure
from stash_courier.queue.jobs import Delivery, Scene, SceneFile
from tests.standin.plex import Library
from tests.standin.plex import Plex as Server
from tests.standin.receivers import Reply
from tests.support.intercept import intercept
from tests.support.plex import DESTROY, SCENE, UPDATE, Make, failure
from tests.support.pool import run_pool

pytestmark = pytest.mark.timeout(60)


def crowd(server: Server, films: Library, count: int) -> list[tuple[Delivery, Scene | None]]:
    """Updates of scenes; every tenth differs from its item in Plex."""
    jobs: list[tuple[Delivery, Scene | None]] = []
    for n in range(count):
        files = (SceneFile(f"/data/a/scene-{n:05}.mkv", 1, 1.0, 1, 1),)
        one = replace(SCENE, id=n + 1, title=f"Scene {n}" if n % 10 == 0 else "", files=files)
        item = server.add(films, f"/media/a/scene-{n:05}.mkv")
        item.values |= {"summary": SCENE.details, "studio": "Studio", "originallyAvailableAt": "2024-05-06"}
        item.tags = {
            "genre": [t.name for t in SCENE.tags],
            "actor": [p.name for p in SCENE.performers],
            "director": ["Dana"],
            "collection": ["Group"],
        }
        jobs.append((replace(UPDATE, row_id=n + 1, scene_id=n + 1), one))
    return jobs


def test_a_backlog_costs_one_lookup_per_scene(server: Server, films: Library, plex: Make) -> None:
    """200 waiting updates cost one lookup each, a few shared reads, and an edit for each that differs."""
    jobs = crowd(server, films, 200)
    outcomes = run_pool(plex(), jobs)
    assert [o.error for o in outcomes] == [None] * 200
    assert len(server.lookups) == 200
    assert len(server.reads) <= 200 / 40
    assert len(server.edits) == 20
    assert len(server.requests()) <= 200 + 200 / 40 + 20 + 2  # the libraries and the server's identifier once each
    assert [i.values["title"] for i in films.items[::10]] == [f"Scene {n}" for n in range(0, 200, 10)]
    assert server.receiver.connections <= 4


def test_failures_in_a_batch_are_independent(server: Server, films: Library, plex: Make) -> None:
    """In a batch, missing and ambiguous items and scenes without files fail alone."""
    jobs = crowd(server, films, 5)
    films.items[1].files = ("/media/moved.mkv",)
    server.add(films, "/media/a/scene-00002.mkv")
    jobs[3] = (jobs[3][0], replace(SCENE, id=4, files=()))
    jobs.append((replace(DESTROY, row_id=9), None))
    failures = {o.delivery.row_id: o.error and o.error.failure for o in run_pool(plex(), jobs)}
    assert failures == {
        1: None,
        2: Failure.NOT_THERE_YET,
        3: Failure.ITEM_REFUSED,
        4: Failure.ITEM_REFUSED,
        5: None,
        9: None,
    }
    # The scene without files needs no lookup.
    assert len(server.lookups) == 5


def test_a_lookup_in_advance_is_soon_forgotten(server: Server, films: Library, plex: Make) -> None:
    """An item that was looked up in advance is looked up again after ten seconds, as it may have changed."""
    now = [1000.0]
    destination = plex(clock=lambda: now[0])
    jobs = crowd(server, films, 2)
    destination.prepare(jobs)
    films.items[1].values["title"] = "by hand"
    now[0] += 10.0
    destination.deliver(*jobs[1])
    assert films.items[1].values["title"] == "scene-00001"
    assert len(server.lookups) == 3


def test_lookups_in_advance_stop_when_the_server_is_down(server: Server, films: Library, plex: Make) -> None:
    """Lookups in advance stop at the first failure, and deliveries report it."""
    jobs = crowd(server, films, 50)
    destination = plex()
    destination.deliver(*jobs[0])
    before = len(server.requests())
    server.receiver.answer = Reply(503)
    destination.prepare(jobs)
    assert len(server.requests()) - before <= 4
    assert failure(destination, jobs[1][1], jobs[1][0]).failure is Failure.BUSY


def test_reads_in_advance_that_fail(server: Server, films: Library, plex: Make) -> None:
    """They raise nothing; each delivery reads its item and reports what is wrong."""
    jobs = crowd(server, films, 3)
    destination = plex()
    intercept(server.receiver, Reply(503), "/metadata/")
    destination.prepare(jobs)
    assert failure(destination, jobs[1][1], jobs[1][0]).failure is Failure.BUSY
