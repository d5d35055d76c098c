"""A scene and helpers for the tests of the Plex destination.

None of this was run against a real Plex Media Server.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

import pytest

from stash_courier.queue.failures import DeliveryFailed
from stash_courier.queue.jobs import Delivery, Scene
from stash_courier.worker.destinations import Delivered
from stash_courier.worker.destinations.plex.destination import Plex
from tests.standin.plex import TOKEN
from tests.standin.receivers import Received
from tests.support.media_samples import delivery, scene

JPEG = b"\xff\xd8\xff\xe0 a picture"
SCENE = scene(
    "/data/a/one.mkv",
    title="A day",
    details="What happens:\nnot much.",
    director="Dana",
    performers=["Anna", "Zoë", "Bo, Jr.", "Cy"],
    tags=["outside", "rain & wind", "50%"],
)
PATH = "/media/a/one.mkv"  # of SCENE, on the server
UPDATE = delivery("plex", SCENE)
DESTROY = delivery("plex", event="destroy", changed=(), path="/data/a/one.mkv")

Make = Callable[..., Plex]


@dataclass
class Ledger:
    """Delivers as the worker does: each delivery gets the record that the scene's last one returned."""

    records: dict[int, bytes] = field(default_factory=dict)  # by scene

    def deliver(self, destination: Plex, of: Scene = SCENE, job: Delivery = UPDATE) -> Delivered:
        """Delivers a scene."""
        done = destination.deliver(job, of, self.records.get(of.id, b""))
        if done.record is not None:
            self.records[of.id] = done.record
        return done


def failure(destination: Plex, of: Scene | None = SCENE, job: Delivery = UPDATE) -> DeliveryFailed:
    """How a delivery fails."""
    with pytest.raises(DeliveryFailed) as caught:
        destination.deliver(job, of)
    assert TOKEN not in str(caught.value) + caught.value.answer
    return caught.value


def sent(request: Received) -> dict[str, str]:
    """The parameters of a request."""
    return {k: v[-1] for k, v in parse_qs(urlsplit(request.path).query, keep_blank_values=True).items()}
