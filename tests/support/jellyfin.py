"""Helpers for the tests of the Jellyfin destination."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from stash_courier.queue.failures import DeliveryFailed
from stash_courier.queue.jobs import Scene
from stash_courier.worker.connections.model import Entry
from stash_courier.worker.destinations.jellyfin.destination import Jellyfin, make
from stash_courier.worker.stash.covers import Cover, no_cover
from tests.standin.jellyfin import KEY, StandInJellyfin
from tests.support.connections import connection
from tests.support.media_samples import delivery

PATHS = {"path_map": "/data => /media", "timeout_seconds": 5}
JPEG = b"\xff\xd8\xff\xe0 a picture"
PNG = b"\x89PNG\r\n\x1a\n another picture"
VERSIONS = ["10.8.13", "10.11.2", "12.0.0"]


@contextlib.contextmanager
def jellyfin(server: StandInJellyfin | str, cover: Cover = no_cover, **values: Any) -> Iterator[Jellyfin]:
    """Our destination for a server or an address. ``clock``: monotonic seconds."""
    clock: Callable[[], float] = values.pop("clock", time.monotonic)
    url = server if isinstance(server, str) else server.url
    made = make(connection("jellyfin", {"url": url, "key": KEY, **PATHS, **values}), cover, clock)
    try:
        yield made
    finally:
        made.close()


def connected(url: str, **values: object) -> Entry:
    """A connection to a Jellyfin server, for a Stash whose scenes are in /media/films."""
    common = {"url": url, "key": KEY, "path_map": "/media/films => /films"}
    return Entry("jellyfin", "Jellyfin", "jellyfin", values={**common, **values})


def refused(ours: Jellyfin, one: Scene, **values: Any) -> DeliveryFailed:
    """How a delivery fails."""
    with pytest.raises(DeliveryFailed) as caught:
        ours.deliver(delivery("jellyfin", one, **values), one)
    assert KEY not in caught.value.message + caught.value.answer
    return caught.value


def ids_asked(server: StandInJellyfin) -> list[int]:
    """The number of ids in each request by ids."""
    asked = [r.path for r in server.receiver.received if "ids=" in r.path]
    return [path.partition("ids=")[2].partition("&")[0].count(",") + 1 for path in asked]
