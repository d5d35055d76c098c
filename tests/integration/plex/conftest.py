"""A stand-in for Plex, and destinations for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from stash_courier.worker.destinations.plex.destination import Plex
from stash_courier.worker.stash.covers import Cover, no_cover
from tests.standin.plex import TOKEN, Library
from tests.standin.plex import Plex as Server
from tests.support.connections import connection
from tests.support.plex import Make


@pytest.fixture(autouse=True)
def no_thread_stays() -> Iterator[None]:
    """Every thread that a test started ends with the test."""
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        thread.join(5)
        assert not thread.is_alive(), thread


@pytest.fixture
def films() -> Library:
    """A library of films."""
    return Library("3", "Films", ("/media",))


@pytest.fixture
def server(films: Library) -> Iterator[Server]:
    """A Plex server with a library of films and one of shows."""
    with Server(films, Library("4", "Shows", ("/tv",), "show")) as running:
        yield running


@pytest.fixture
def plex(server: Server) -> Iterator[Make]:
    """Makes destinations for the server, with the path_map rule /data => /media and any other fields."""
    made: list[Plex] = []

    def make(
        *,
        url: str | None = None,
        cover: Cover = no_cover,
        clock: Callable[[], float] = time.monotonic,
        **values: object,
    ) -> Plex:
        common = {"path_map": "/data => /media", "timeout_seconds": 5}
        given = {"url": url or server.url, "key": TOKEN, **common, **values}
        one = Plex(connection("plex", given), cover, clock=clock)
        made.append(one)
        return one

    yield make
    for one in made:
        one.close()
