"""The webhook destination: deliveries that fail, and what a test reports."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from standardwebhooks.webhooks import Webhook as Judge

from stash_courier.queue.failures import DeliveryFailed, Failure
from stash_courier.worker.destinations.webhook.destination import Webhook
from stash_courier.worker.destinations.webhook.values import TEST_TYPE
from tests.standin.receivers import Received, Receiver, Reply
from tests.support.connections import connection, problems
from tests.support.steps import tried
from tests.support.webhook_samples import SCENE, SECRET, UPDATE, webhook

pytestmark = pytest.mark.timeout(30)


def test_a_refusal_shows_no_secret() -> None:
    """If a receiver echoes everything it got, the failure shows no secret."""

    def echo(received: Received) -> Reply:
        return Reply(404, body=(received.path + " " + json.dumps(dict(received.headers))).encode())

    with Receiver(echo) as receiver:
        url = receiver.url.replace("://", "://bob:hunter2@") + "hooks/abcdefghijklmnop/x?token=tok-en"
        raw = {"url": url, "secret": SECRET, "headers": "X-Gate: open-sesame"}
        destination = webhook(raw)
        with pytest.raises(DeliveryFailed) as caught:
            destination.deliver(UPDATE, SCENE)
        found = tried(destination, SCENE)
        destination.close()
    assert caught.value.failure is Failure.DESTINATION
    shown = caught.value.message + caught.value.answer + repr(caught.value) + found.text
    for secret in ("hunter2", "abcdefghijklmnop", "tok-en", SECRET, "open-sesame", "Ym9iOmh1bnRlcjI="):
        assert secret not in shown
    assert 'check "Address"' in caught.value.message


@pytest.mark.parametrize(
    ("path", "token"),
    [
        ("hooks/Ab3xY9", "Ab3xY9"),
        ("hooks/fifteen-letters", "fifteen-letters"),
        ("secretplace", "secretplace"),
        ("services/T01/B02/kqzv", "kqzv"),
        ("x/q7", "x/q7"),
        ("hooks/sp%20ace", "sp ace"),
    ],
)
def test_a_short_token_in_the_path_is_not_shown(path: str, token: str) -> None:
    """If a receiver echoes the path, which is often a webhook's only secret, no part that may be one is kept."""

    def echo(received: Received) -> Reply:
        return Reply(400, body=f'Cannot POST {received.path}; unknown token "{token}" at this webhook'.encode())

    with Receiver(echo) as receiver:
        destination = webhook({"url": receiver.url + path})
        with pytest.raises(DeliveryFailed) as caught:
            destination.deliver(UPDATE, SCENE)
        destination.close()
    assert token not in caught.value.answer
    assert path not in caught.value.answer
    assert "at this webhook" in caught.value.answer


def test_a_test_event_shows_what_would_arrive() -> None:
    """A test sends a real scene under its own type, and reports that it was accepted and with which path."""
    with Receiver() as receiver:
        destination = webhook({"url": receiver.url, "secret": SECRET})
        found = tried(destination, SCENE)
        destination.close()
    (got,) = receiver.received
    Judge(SECRET).verify(got.body.decode(), dict(got.headers))
    assert got.json()["type"] == TEST_TYPE
    assert got.json()["data"]["title"] == "one"
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


def test_a_test_that_fails_says_what_to_do() -> None:
    """A test that fails reports what happened, what the receiver answered and what to do."""
    with Receiver(Reply(401, body=b"bad key")) as receiver:
        destination = webhook({"url": receiver.url})
        found = tried(destination, SCENE)
        destination.close()
    step = found["accepted"]
    assert (step.status, step.field) == ("fail", "headers")
    assert "answered 401 Unauthorized: check the login" in step.text
    assert step.text.endswith(" It said: bad key")
    assert step.body == receiver.received[0].body.decode()
    assert "/media/a/one.mkv" in found["path"].text
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


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_token_is_named(status: int) -> None:
    """The advice and the step name the field that the preset's key is in."""
    with Receiver(Reply(status)) as receiver:
        values = {"preset": "home-assistant", "url": receiver.url, "token": "abc"}
        made = Webhook(connection("webhook", values))
        *_, step = made.test(())
        made.close()
    assert (step.status, step.field) == ("fail", "token")
    assert 'check "Access token"' in step.text


def test_a_header_of_the_preset_is_not_an_extra_header() -> None:
    """Two of them would be sent, whatever their spelling."""
    values = {"preset": "home-assistant", "url": "http://a", "token": "abc", "headers": "authorization: Bearer x"}
    (only,) = problems("webhook", values)
    assert only.field == "headers"
    assert "authorization" in only.message
