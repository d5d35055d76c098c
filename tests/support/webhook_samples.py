"""What the tests of the webhook have in common: a scene, its deliveries, and destinations of connections."""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Mapping

from stash_courier.queue.jobs import Delivery, Named, Scene, SceneFile, StashId
from stash_courier.worker.destinations.webhook.destination import Webhook, make
from stash_courier.worker.stash.covers import no_cover
from tests.standin.receivers import Received, Receiver
from tests.support.connections import connection

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
OLD_SECRET = "whsec_" + base64.b64encode(bytes(range(100, 124))).decode()

SCENE = Scene(
    id=17,
    title="",
    code="C-1",
    details='Quotes " and\nlines, \u202e right to left, 🎬',
    director="",
    date="2024-05",
    rating100=80,
    organized=True,
    urls=("https://example.org/1",),
    created_at="2024-05-01T10:00:00+02:00",
    updated_at="2024-05-02T10:00:00+02:00",
    files=(
        SceneFile("/data/a/one.mkv", 1234, 61.5, 1920, 1080, (("oshash", "0123456789abcdef"),)),
        SceneFile("/elsewhere/two.mp4", 99, 1.0, 640, 480),
    ),
    performers=(Named("1", "Anna"), Named("2", "Zoë")),
    tags=(Named("5", "tag"),),
    studio=Named("7", "Studio"),
    groups=(Named("8", "Group"),),
    stash_ids=(StashId("https://box.example/graphql", "1-2-3"),),
    cover_url="http://stash:9999/scene/17/screenshot",
    fetched_at=1_767_225_601.0,
)
UPDATE = Delivery(3, "webhook:x", 17, "update", ("tags", "title"), 1_767_225_600_123, 1_767_225_600.5)
DESTROY = dataclasses.replace(
    UPDATE, event="destroy", changed=(), path="/data/a/one.mkv", oshash="ab", checksum=""
)
MAPPED = {"path_map": "/data => /media", "timeout_seconds": 5}


def webhook(values: Mapping[str, object]) -> Webhook:
    """The destination of a connection whose values have no problem."""
    return make(connection("webhook", {**MAPPED, **values}, name="webhook:x"), no_cover)


def delivered(values: Mapping[str, object], delivery: Delivery = UPDATE, scene: Scene | None = SCENE) -> Received:
    """What a receiver gets for a delivery with these values."""
    with Receiver() as receiver:
        destination = webhook({"url": receiver.url + "hook?token=abc", **values})
        destination.deliver(delivery, scene)
        destination.close()
        (received,) = receiver.received
    return received
