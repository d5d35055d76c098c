"""The webhook's messages: their bodies and their signatures."""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
import json
import re
import time

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook as Judge
from standardwebhooks.webhooks import WebhookVerificationError

from stash_courier.queue.jobs import Delivery, Named, Scene
from stash_courier.worker.destinations.webhook.destination import Webhook
from stash_courier.worker.destinations.webhook.messages import LARGEST_BODY, serialize
from tests.standin.receivers import Receiver
from tests.support.connections import connection
from tests.support.webhook_samples import (
    DESTROY,
    OLD_SECRET,
    SCENE,
    SECRET,
    UPDATE,
    delivered,
)

pytestmark = pytest.mark.timeout(30)


def test_an_edit_arrives_with_all_its_fields() -> None:
    """An update contains the scene as it is now: every field, mapped paths, what changed and its sequence."""
    got = delivered({})
    assert (got.method, got.path) == ("POST", "/hook?token=abc")
    assert got.headers["content-type"] == "application/json"
    assert got.json() == {
        "type": "scene.updated",
        "timestamp": "2026-01-01T00:00:00.500Z",
        "data": {
            "summary": "Scene changed: one (tags, title)",
            "id": "17",
            "title": "one",
            "code": "C-1",
            "details": SCENE.details,
            "director": "",
            "date": "2024-05",
            "rating100": 80,
            "organized": True,
            "urls": ["https://example.org/1"],
            "created_at": "2024-05-01T10:00:00+02:00",
            "updated_at": "2024-05-02T10:00:00+02:00",
            "path": "/media/a/one.mkv",
            "files": [
                {
                    "path": "/media/a/one.mkv",
                    "size": 1234,
                    "duration": 61.5,
                    "width": 1920,
                    "height": 1080,
                    "fingerprints": [{"type": "oshash", "value": "0123456789abcdef"}],
                },
                {
                    "path": "/elsewhere/two.mp4",
                    "size": 99,
                    "duration": 1.0,
                    "width": 640,
                    "height": 480,
                    "fingerprints": [],
                },
            ],
            "performers": [{"id": "1", "name": "Anna"}, {"id": "2", "name": "Zoë"}],
            "tags": [{"id": "5", "name": "tag"}],
            "studio": {"id": "7", "name": "Studio"},
            "groups": [{"id": "8", "name": "Group"}],
            "stash_ids": [{"endpoint": "https://box.example/graphql", "stash_id": "1-2-3"}],
            "cover_url": "http://stash:9999/scene/17/screenshot",
            "changed": ["tags", "title"],
            "sequence": 1_767_225_600_123,
        },
    }


def test_a_deletion_arrives_with_what_is_left() -> None:
    """A deletion contains the scene's id, its last path as the receiver knows it, and its hashes."""
    got = delivered({}, DESTROY, None).json()
    assert got["type"] == "scene.destroyed"
    assert got["data"] == {
        "summary": "Scene deleted: one",
        "id": "17",
        "path": "/media/a/one.mkv",
        "oshash": "ab",
        "checksum": None,
        "sequence": 1_767_225_600_123,
    }


def test_a_path_that_is_not_utf8_arrives_intact() -> None:
    """A file name that isn't valid UTF-8 arrives and can be converted back into the same bytes."""
    path = b"/data/\xff\xfe.mkv".decode("utf-8", "surrogateescape")
    scene = dataclasses.replace(SCENE, files=(dataclasses.replace(SCENE.files[0], path=path),))
    got = delivered({"secret": SECRET}, UPDATE, scene)
    assert got.body.isascii()
    assert got.json()["data"]["path"].encode("utf-8", "surrogateescape") == b"/media/\xff\xfe.mkv"


@given(st.text(st.characters(codec=None), max_size=200))
@hypothesis_settings(max_examples=200)
def test_any_text_survives(text: str) -> None:
    """Any text arrives as it is in Stash, including control characters and lone surrogates."""
    body = serialize("scene.updated", 0.0, {"id": "1", "details": text}).body
    assert json.loads(body.decode("utf-8"))["data"]["details"] == text


def test_a_huge_scene_is_identified_but_not_sent() -> None:
    """Above 256 KiB only what identifies the scene is sent, and the body says so. 256 KiB are sent whole."""
    fits = dataclasses.replace(SCENE, details="")
    room = LARGEST_BODY - len(delivered({}, UPDATE, fits).body)
    whole = delivered({}, UPDATE, dataclasses.replace(SCENE, details="x" * room)).json()
    cut = delivered({"secret": SECRET}, UPDATE, dataclasses.replace(SCENE, details="x" * (room + 1)))
    assert len(whole["data"]["details"]) == room
    assert "truncated" not in whole["data"]
    data = cut.json()["data"]
    message = data.pop("message")
    assert data == {
        "summary": "Scene changed: one (tags, title)",
        "id": "17",
        "path": "/media/a/one.mkv",
        "updated_at": "2024-05-02T10:00:00+02:00",
        "changed": ["tags", "title"],
        "sequence": 1_767_225_600_123,
        "truncated": True,
    }
    assert str(LARGEST_BODY) in message
    Judge(SECRET).verify(cut.body.decode(), dict(cut.headers))


# Signatures


def test_the_signature_is_what_standard_webhooks_verifies() -> None:
    """A receiver with the same secret verifies each message, and rejects a changed one or another secret."""
    got = delivered({"secret": SECRET})
    body = got.body.decode()
    assert Judge(SECRET).verify(body, dict(got.headers)) == got.json()
    with pytest.raises(WebhookVerificationError):
        Judge(SECRET).verify(body.replace("Anna", "Anne"), dict(got.headers))
    with pytest.raises(WebhookVerificationError):
        Judge(OLD_SECRET).verify(body, dict(got.headers))
    for header in ("webhook-id", "webhook-timestamp"):
        with pytest.raises(WebhookVerificationError):
            Judge(SECRET).verify(body, {**got.headers, header: str(int(time.time()) - 100)})


def test_a_retry_has_the_same_id_and_its_own_time() -> None:
    """A retry has the id of the first attempt and is signed with the time at which it is sent."""
    times = iter([1_767_225_700.0, 1_767_229_300.9])
    with Receiver() as receiver:
        values = {"url": receiver.url, "secret": SECRET}
        destination = Webhook(connection("webhook", values), clock=lambda: next(times))
        destination.deliver(UPDATE, SCENE)
        destination.deliver(dataclasses.replace(UPDATE, counted_attempts=1, attempts=1), SCENE)
        destination.close()
    first, second = receiver.received
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert re.fullmatch(rf"{UPDATE.job_id}_[0-9a-f]{{16}}", first.headers["webhook-id"])
    assert [r.headers["webhook-timestamp"] for r in (first, second)] == ["1767225700", "1767229300"]
    assert first.headers["webhook-signature"] != second.headers["webhook-signature"]
    assert first.body == second.body


@pytest.mark.parametrize(
    ("delivery", "scene"),
    [
        (UPDATE, dataclasses.replace(SCENE, tags=(Named("5", "renamed"),))),
        (UPDATE, dataclasses.replace(SCENE, cover_url=f"{SCENE.cover_url}?t=9")),
        (UPDATE, dataclasses.replace(SCENE, updated_at="2024-05-02T10:00:01+02:00")),
        (UPDATE, dataclasses.replace(SCENE, details="x" * LARGEST_BODY)),
        (dataclasses.replace(UPDATE, event="create"), SCENE),
        (dataclasses.replace(UPDATE, changed=("title",)), SCENE),
        (dataclasses.replace(UPDATE, seq=UPDATE.seq + 1), SCENE),
    ],
    ids=["a tag", "the cover", "its time", "a long text", "the type", "the changed fields", "a newer event"],
)
def test_other_content_has_another_id(delivery: Delivery, scene: Scene) -> None:
    """One id means one content, so a receiver that drops repeated ids never drops what it hasn't seen."""
    ids = {delivered({}, *of).headers["webhook-id"] for of in ((UPDATE, SCENE), (delivery, scene))}
    assert len(ids) == 2


def test_truncated_messages_of_different_scenes_differ_in_their_ids() -> None:
    """The id covers all of the scene, even if only what identifies it is sent."""
    long = "x" * LARGEST_BODY
    one, other = (delivered({}, UPDATE, dataclasses.replace(SCENE, details=long + end)) for end in "ab")
    assert one.body == other.body
    assert one.headers["webhook-id"] != other.headers["webhook-id"]


def test_both_secrets_verify_while_one_is_rotated() -> None:
    """With two secrets, a receiver that has either of them verifies the message."""
    got = delivered({"secret": f"{SECRET}  {OLD_SECRET}"})
    for secret in (SECRET, OLD_SECRET):
        Judge(secret).verify(got.body.decode(), dict(got.headers))
    assert got.headers["webhook-signature"].count("v1,") == 2


def test_github_style_receivers_use_the_secret_as_written() -> None:
    """The key of X-Hub-Signature-256 is the first secret as it was entered, including whsec_."""
    got = delivered({"secret": f"{SECRET} {OLD_SECRET}"})
    expected = hmac.new(SECRET.encode(), got.body, hashlib.sha256).hexdigest()
    assert got.headers["x-hub-signature-256"] == f"sha256={expected}"
