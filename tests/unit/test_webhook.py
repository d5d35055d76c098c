"""The webhook destination with a real receiver: bodies, signatures, failures, and what a test reports."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import hmac
import json
import re
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from standardwebhooks.webhooks import Webhook as Judge
from standardwebhooks.webhooks import WebhookVerificationError

from stash_courier.queue.failures import DeliveryFailed, Failure
from stash_courier.queue.jobs import Named
from stash_courier.worker.destinations.webhook.destination import Webhook
from stash_courier.worker.destinations.webhook.messages import LARGEST_BODY
from stash_courier.worker.destinations.webhook.values import TEST_TYPE
from tests.standin.receivers import Received, Receiver, Reply
from tests.support.connections import connection
from tests.support.steps import tried
from tests.support.webhook_samples import DESTROY, OLD_SECRET, SCENE, SECRET, UPDATE, delivered, webhook

pytestmark = pytest.mark.timeout(30)


# Bodies


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


# Ids and signatures


def test_the_signature_is_what_receivers_verify() -> None:
    """A receiver that has either of two secrets verifies each message, and rejects one that was changed.

    GitHub's style of signature uses the first secret as it was entered, including whsec_.
    """
    got = delivered({"secret": f"{SECRET}  {OLD_SECRET}"})
    body, headers = got.body.decode(), dict(got.headers)
    for secret in (SECRET, OLD_SECRET):
        assert Judge(secret).verify(body, headers) == got.json()
    with pytest.raises(WebhookVerificationError):
        Judge(SECRET).verify(body.replace("Anna", "Anne"), headers)
    with pytest.raises(WebhookVerificationError):
        Judge(SECRET[:-4] + "AAA=").verify(body, headers)
    for header in ("webhook-id", "webhook-timestamp"):
        with pytest.raises(WebhookVerificationError):
            Judge(SECRET).verify(body, {**headers, header: str(int(time.time()) - 100)})
    expected = hmac.new(SECRET.encode(), got.body, hashlib.sha256).hexdigest()
    assert headers["x-hub-signature-256"] == f"sha256={expected}"


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


def test_other_content_has_another_id() -> None:
    """One id means one content, also of truncated messages: a receiver that drops repeated ids loses nothing."""
    long = "x" * LARGEST_BODY
    contents = [
        (UPDATE, SCENE),
        (UPDATE, dataclasses.replace(SCENE, tags=(Named("5", "renamed"),))),
        (UPDATE, dataclasses.replace(SCENE, cover_url=f"{SCENE.cover_url}?t=9")),
        (UPDATE, dataclasses.replace(SCENE, updated_at="2024-05-02T10:00:01+02:00")),
        (UPDATE, dataclasses.replace(SCENE, details=long + "a")),
        (UPDATE, dataclasses.replace(SCENE, details=long + "b")),
        (dataclasses.replace(UPDATE, event="create"), SCENE),
        (dataclasses.replace(UPDATE, changed=("title",)), SCENE),
        (dataclasses.replace(UPDATE, seq=UPDATE.seq + 1), SCENE),
    ]
    with Receiver() as receiver:
        destination = webhook({"url": receiver.url})
        for delivery, scene in contents:
            destination.deliver(delivery, scene)
        destination.close()
    assert len({got.headers["webhook-id"] for got in receiver.received}) == len(contents)


# Failures


def refusal(values: Mapping[str, object], answer: Reply | None = None, path: str = "") -> DeliveryFailed:
    """How a delivery fails at a receiver that gives this answer, or echoes the request."""

    def echo(received: Received) -> Reply:
        return answer or Reply(404, body=(received.path + " " + json.dumps(dict(received.headers))).encode())

    with Receiver(echo) as receiver:
        destination = webhook({"url": receiver.url.replace("://", "://bob:hunter2@") + path, **values})
        with pytest.raises(DeliveryFailed) as caught:
            destination.deliver(UPDATE, SCENE)
        caught.value.add_note(tried(destination, SCENE).text + repr(destination) + destination.id)
        destination.close()
    return caught.value


def test_a_refusal_shows_no_secret() -> None:
    """If a receiver echoes everything it got, neither the failure nor a test shows a secret."""
    values = {"secret": SECRET, "headers": "X-Gate: open-sesame"}
    failed = refusal(values, path="hooks/abcdefghijklmnop/x?token=tok-en")
    assert failed.failure is Failure.DESTINATION
    assert 'check "Address"' in failed.message
    shown = failed.message + failed.answer + repr(failed) + "".join(failed.__notes__)
    for secret in ("hunter2", "abcdefghijklmnop", "tok-en", SECRET, "open-sesame", "Ym9iOmh1bnRlcjI="):
        assert secret not in shown


@pytest.mark.parametrize(
    ("path", "token"),
    [
        ("hooks/Ab3xY9", "Ab3xY9"),
        ("secretplace", "secretplace"),
        ("services/T01/B02/kqzv", "kqzv"),
        ("x/q7", "x/q7"),
        ("hooks/sp%20ace", "sp ace"),
        ("hooks/x1?k=tok-en", "tok-en"),
    ],
)
def test_a_short_token_in_the_path_is_not_shown(path: str, token: str) -> None:
    """The path is often a webhook's only secret. No part of it that may be one is kept of an answer."""
    said = f'Cannot POST /{path}; unknown token "{token}" at this webhook'
    answer = refusal({}, Reply(400, body=said.encode()), path).answer
    assert token not in answer
    assert path not in answer
    assert "at this webhook" in answer


def test_a_login_in_the_url_becomes_a_header() -> None:
    """user:password@ in a URL, with its escapes, is sent as Basic authorization. Extra headers are sent, too."""
    with Receiver() as receiver:
        url = receiver.url.replace("://", "://bob:p%40ss%20w%C3%B6rd@")
        destination = webhook({"url": url, "headers": "X-A: b:c ; X-Empty:;User-Agent: mine"})
        destination.deliver(UPDATE, SCENE)
        destination.close()
    (got,) = receiver.received
    scheme, _, value = got.headers["authorization"].partition(" ")
    assert (scheme, base64.b64decode(value).decode()) == ("Basic", "bob:p@ss wörd")
    assert "@" not in got.headers["host"] + got.path
    assert [got.headers[name] for name in ("x-a", "x-empty", "user-agent")] == ["b:c", "", "mine"]


# Tests of a connection


def test_a_test_event_shows_what_would_arrive() -> None:
    """A test sends a real scene under its own type, and reports that it was accepted and with which path."""
    with Receiver() as receiver:
        destination = webhook({"url": receiver.url, "secret": SECRET})
        found = tried(destination, SCENE)
        destination.close()
    (got,) = receiver.received
    Judge(SECRET).verify(got.body.decode(), dict(got.headers))
    assert (got.json()["type"], got.json()["data"]["title"]) == (TEST_TYPE, "one")
    assert list(found.steps) == ["reached", "accepted", "path"]
    assert found.ok
    assert found["accepted"].text == (
        f"127.0.0.1:{receiver.port} accepted a test event (200), signed. Its type is {TEST_TYPE}. "
        "Receivers that only know scene.* ignore it."
    )
    assert found["accepted"].body == got.body.decode()
    assert found["path"].text == (
        'Scene 17 is sent with the path /media/a/one.mkv, by the rule /data => /media of "Path map".'
    )


def test_a_test_without_a_scene_works() -> None:
    """The webhook can be tested while Stash has no scene."""
    with Receiver() as receiver:
        destination = webhook({"url": receiver.url})
        empty = tried(destination)
        destination.close()
    assert empty.ok
    assert 'unsigned, because "Signing secret" is empty' in empty["accepted"].text
    assert "path" not in empty.steps


@pytest.mark.parametrize(
    ("status", "values", "field", "says"),
    [
        (401, {}, "headers", "answered 401 Unauthorized: check the login"),
        (401, {"preset": "home-assistant", "token": "abc"}, "token", 'check "Access token"'),
        (403, {"preset": "home-assistant", "token": "abc"}, "token", 'check "Access token"'),
        (404, {}, "url", 'check "Address"'),
    ],
)
def test_a_test_that_fails_says_what_to_do(status: int, values: dict[str, str], field: str, says: str) -> None:
    """A test that fails reports what was sent, what the receiver answered, and which field to correct."""
    with Receiver(Reply(status, body=b"bad key")) as receiver:
        destination = webhook({"url": receiver.url, **values})
        found = tried(destination, SCENE)
        destination.close()
    step = found["accepted"]
    assert (step.status, step.field) == ("fail", field)
    assert says in step.text
    assert step.text.endswith(" It said: bad key")
    assert step.body == receiver.received[0].body.decode()
    assert found["path"].status == "ok"  # not part of the failure


def test_a_receiver_that_is_not_there(tmp_path: Path) -> None:
    """If nothing answers, the test says so with what would have been sent, and what localhost may be."""
    with Receiver() as down:
        url = down.url
    destination = webhook({"url": url})
    alone = tried(destination, SCENE)
    (tmp_path / ".dockerenv").touch()
    destination.root = tmp_path
    contained = tried(destination, SCENE)
    destination.close()
    for found in (alone, contained):
        assert (found["reached"].status, found["reached"].field) == ("fail", "url")
        assert "refuses connections" in found["reached"].text
        assert '"title":"one"' in found["reached"].body
    assert "or the name of the container of the receiver." in contained["reached"].text
