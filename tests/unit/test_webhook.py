"""The webhook destination: deliveries that fail, and what "Test destinations" reports."""

from __future__ import annotations

import json

import pytest
from standardwebhooks.webhooks import Webhook as Judge

from stash_courier.queue.failures import DeliveryFailed, Failure
from stash_courier.worker.destinations.webhook.destination import TEST_TYPE
from tests.standin.receivers import Received, Receiver, Reply
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
        report = destination.check(SCENE)
        destination.close()
    assert caught.value.failure is Failure.DESTINATION
    shown = caught.value.message + caught.value.answer + repr(caught.value) + " ".join(report.lines)
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
        report = destination.check(SCENE)
        destination.close()
    (got,) = receiver.received
    Judge(SECRET).verify(got.body.decode(), dict(got.headers))
    assert got.json()["type"] == TEST_TYPE
    assert got.json()["data"]["title"] == "one"
    assert report.ok
    assert report.lines[0] == f"127.0.0.1:{receiver.port} accepted a test event (200), signed."
    assert report.notes == (
        'Scene 17 is sent with the path /media/a/one.mkv, by the rule /data => /media of "Path map".',
    )


def test_a_test_without_a_scene_works() -> None:
    """The webhook can be tested while Stash has no scene."""
    with Receiver() as receiver:
        destination = webhook({"url": receiver.url})
        empty = destination.check(None)
        destination.close()
    assert empty.ok
    assert 'unsigned, because "Signing secret" is empty' in empty.lines[0]
    assert empty.notes == ()


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ("", "Scene 17 is sent with the path /data/a/one.mkv."),
        (
            "/films => /media",
            'Scene 17 is sent with the path /data/a/one.mkv, as it is in Stash: no rule of "Path map" matches it.',
        ),
    ],
)
def test_an_unmapped_path_is_reported(rules: str, said: str) -> None:
    """A test reports the path that is sent, and that no rule matches it only if there are rules."""
    with Receiver() as receiver:
        destination = webhook({"url": receiver.url, "path_map": rules})
        report = destination.check(SCENE)
        destination.close()
    assert report.notes == (said,)


def test_a_test_that_fails_says_what_to_do() -> None:
    """A test that fails reports what happened, what the receiver answered and what to do."""
    with Receiver(Reply(401, body=b"bad key")) as receiver:
        destination = webhook({"url": receiver.url})
        report = destination.check(SCENE)
        destination.close()
    assert not report.ok
    assert "answered 401 Unauthorized: check the login" in report.lines[0]
    assert report.lines[1:] == ("It said: bad key",)
    assert "/media/a/one.mkv" in report.notes[0]  # not part of the failure


def test_a_500_points_to_the_receivers_log() -> None:
    """The advice for a server error fits any receiver."""
    with Receiver(Reply(500)) as receiver:
        destination = webhook({"url": receiver.url})
        with pytest.raises(DeliveryFailed) as caught:
            destination.deliver(UPDATE, SCENE)
        destination.close()
    assert caught.value.message.endswith(
        " answered 500 Internal Server Error: it failed to process this; see its own log."
    )
