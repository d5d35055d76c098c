"""Messages judged by npm's libraries for Discord and for Standard Webhooks, as they arrive over a socket."""

from __future__ import annotations

import json

import pytest

from stash_courier.worker.destinations.webhook.render import render_digest
from tests.standin.receivers import Receiver
from tests.support.programs import node
from tests.support.webhook_items import HOSTILE, OPTIONS, examples, form, item
from tests.support.webhook_sending import OK, SECRET, received, send

pytestmark = [pytest.mark.timeout(60), pytest.mark.check]

ITEMS = [*examples().values(), item(HOSTILE)]


def test_discords_builders_take_our_embeds() -> None:
    """discord.js accepts every embed: of each event, of hostile texts, with a picture, of a digest."""
    with Receiver(OK) as receiver:
        discord = form("discord", {**OPTIONS, "picture": True}, receiver.url.rstrip("/"))
        received(discord, *ITEMS, receiver=receiver)
        send(render_digest(discord, [item(HOSTILE, sequence=n) for n in range(50)]))
        bodies = [got.json() for got in receiver.received]
    long = {"embeds": [{"title": "x" * 257}]}
    lines = node("discord.cjs", "\n".join(json.dumps(body) for body in [*bodies, long]))
    assert lines[:-1] == ["ok"] * len(bodies)
    assert lines[-1] != "ok", "the judge isn't one"


@pytest.mark.parametrize("event_type", [*examples()])
def test_npms_standardwebhooks_verifies(event_type: str) -> None:
    """npm's library of Standard Webhooks verifies each event, and refuses one that was changed."""
    with Receiver(OK) as receiver:
        standard = form("standard", base=receiver.url.rstrip("/"))
        (got,) = received(standard, examples()[event_type], receiver=receiver)
    body = got.body.decode()
    message = {"secret": SECRET, "body": body, "headers": dict(got.headers)}
    assert node("verify.cjs", json.dumps(message)) == [event_type]
    if event_type == "scene.created":
        message["body"] = body.replace("First", "Last")
        assert node("verify.cjs", json.dumps(message)) == ["No matching signature found"]
