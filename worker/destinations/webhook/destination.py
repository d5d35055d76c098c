"""The webhook destination: scenes as signed JSON over HTTP, by Standard Webhooks 1.0.0.

This module sends. The messages are in messages.py, their settings in
settings.py; how a request is sent and what its failure means is in worker/http/client.py.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable

from stash_courier.queue import troubles
from stash_courier.queue.events import EVENTS
from stash_courier.queue.failures import DeliveryFailed, Failure
from stash_courier.queue.jobs import Delivery, Scene
from stash_courier.worker.connections.model import Connection
from stash_courier.worker.destinations import CheckReport
from stash_courier.worker.destinations.webhook.messages import destroyed_data, scene_data, serialize, sign
from stash_courier.worker.destinations.webhook.settings import Options, hidden
from stash_courier.worker.http.client import Answer, Client
from stash_courier.worker.stash.covers import Cover

TEST_TYPE = "stash_courier.test"  # not a scene type, so receivers can ignore it

_ADVICE = {
    401: 'check the login in "Address", "Extra headers" and "Signing secret"',
    403: 'it does not allow this; check the login in "Address" and "Extra headers", and "Signing secret"',
    404: 'nothing accepts webhooks at this path; check "Address"',
    405: 'nothing accepts a POST at this path; check "Address"',
    413: "the event is larger than it accepts; raise its limit (nginx: client_max_body_size)",
}


def make(connection: Connection, _cover: Cover) -> Webhook:
    """The destination of a connection."""
    return Webhook(connection)


class Webhook:
    """One URL that gets every event as a signed POST. The clock is wall time."""

    def __init__(self, connection: Connection, *, clock: Callable[[], float] = time.time) -> None:
        options: Options = connection.options
        self.id = connection.id
        self.fingerprint = connection.fingerprint
        self._target = options.url
        self._signing = options.secret
        self._headers = dict(options.headers)
        if self._target.authorization:
            self._headers["Authorization"] = self._target.authorization
        self._path_map = connection.path_map
        self._clock = clock
        self._client = Client(
            timeout=connection.policy.timeout_seconds,
            concurrency=connection.policy.concurrency,
            secrets=hidden(self._target, self._signing, options.headers),
            advice=_ADVICE,
            refused=Failure.REJECTED,
        )

    def deliver(self, delivery: Delivery, scene: Scene | None, cover: bytes = b"") -> bytes:  # noqa: ARG002
        """Sends the scene's current state, that it is gone, or a message about trouble.

        Receivers may drop a message whose id they have seen, so one id means one content: it is made of the newest
        event, the scene and a digest of what is sent. After a crash the same content has the same id again. A
        retry with other content, as after a tag was renamed, has another id.

        Raises:
            DeliveryFailed: the receiver didn't answer with 2xx.
        """
        if delivery.event == troubles.NOTICE:
            message = serialize(*troubles.message(delivery.notice))
        else:
            data = (
                destroyed_data(delivery, self._path_map)
                if scene is None
                else scene_data(scene, self._path_map, delivery.changed, delivery.seq)
            )
            message = serialize(EVENTS[delivery.event][1], delivery.at, data)
        self._send(f"{delivery.job_id}_{message.digest}", message.body)
        return b""

    def check(self, scene: Scene | None) -> CheckReport:
        """Sends ``stash_courier.test`` with a real scene's data, and reports the answer."""
        now = self._clock()
        if scene is None:
            data: dict[str, object] = {"message": "A test by Stash Courier. Stash has no scene to show."}
        else:
            data = scene_data(scene, self._path_map, (), 0)
        try:
            answer = self._send(f"msg_test_{secrets.token_hex(8)}", serialize(TEST_TYPE, now, data).body)
        except DeliveryFailed as failed:
            said = (f"It said: {failed.answer[:200]}",) if failed.answer else ()
            return CheckReport(False, (failed.message, *said), self._about_path(scene))
        accepted = f"{self._target.host} accepted a test event ({answer.status})"
        how = "signed" if self._signing else 'unsigned, because "Signing secret" is empty'
        ignored = f"The type of a test event is {TEST_TYPE}. Receivers that only know scene.* ignore it."
        return CheckReport(True, (f"{accepted}, {how}.", ignored), self._about_path(scene))

    def close(self) -> None:
        """Closes the connections."""
        self._client.close()

    def _send(self, message_id: str, body: bytes) -> Answer:
        signature = sign(self._signing, message_id, int(self._clock()), body)
        headers = {**self._headers, "Content-Type": "application/json", **signature}
        return self._client.request("POST", self._target.url, headers=headers, body=body, fixed_url=True)

    def _about_path(self, scene: Scene | None) -> tuple[str, ...]:
        if scene is None or not scene.path:
            return ()
        how = ""
        if rule := self._path_map.rule_for(scene.path):
            how = f', by the rule {" => ".join(rule)} of "Path map"'
        elif self._path_map.rules:
            how = ', as it is in Stash: no rule of "Path map" matches it'
        return (f"Scene {scene.id} is sent with the path {self._path_map.apply(scene.path)}{how}.",)
