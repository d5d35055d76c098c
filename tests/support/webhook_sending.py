"""Sends what a preset makes over a real socket, signed, as the webhook destination does."""

from __future__ import annotations

import base64
import time

from stash_courier.worker.destinations.webhook.messages import sign
from stash_courier.worker.destinations.webhook.render import Rendered, render
from stash_courier.worker.destinations.webhook.settings import Format, Secret
from stash_courier.worker.destinations.webhook.values import Item
from stash_courier.worker.http.client import Answer, Client
from tests.standin.receivers import Received, Receiver, Reply

KEY = bytes(range(32))
SECRET = "whsec_" + base64.b64encode(KEY).decode()


def send(rendered: Rendered, secret: str = SECRET) -> Answer:
    """Sends a request; raises DeliveryFailed unless the answer is 2xx."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signature = sign((Secret(secret, key),), f"msg_{rendered.digest}", int(time.time()), rendered.body)
    client = Client(timeout=10)
    try:
        headers = {**rendered.headers, **signature}
        return client.request(rendered.method, rendered.url, headers=headers, body=rendered.body, fixed_url=True)
    finally:
        client.close()


def received(form: Format, *items: Item, receiver: Receiver) -> tuple[Received, ...]:
    """What a receiver gets of these events."""
    before = len(receiver.received)
    for item in items:
        send(render(form, item))
    return receiver.received[before:]


OK = Reply(200, {"Content-Type": "application/json"}, b'{"ok": true, "result": {}}')
