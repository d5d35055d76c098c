"""A stand-in for Plex, and destinations for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from stash_courier.worker.destinations.plex.destination import Plex, configure
from stash_courier.worker.settings import parse
from stash_courier.worker.stash.covers import Cover, no_cover
from tests.standin.plex import TOKEN, Library
from tests.standin.plex import Plex as Server
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
    """Makes destinations for the server, with the path_map rule /data => /media and any settings."""
    made: list[Plex] = []

    def make(
        *,
        url: str | None = None,
        cover: Cover = no_cover,
        clock: Callable[[], float] = time.monotonic,
        **raw: object,
    ) -> Plex:
        settings, _ = parse({"path_map": "/data => /media", "worker_timeout_seconds": 5, **raw})
        address = {"plex_url": url or server.url, "plex_token": TOKEN}
        ((one,), problems) = configure({**address, **raw}, settings, cover, clock=clock)
        assert problems == []
        made.append(one)
        return one

    yield make
    for one in made:
        one.close()
