"""The webhook destination: scenes as signed JSON over HTTP, by Standard Webhooks 1.0.0.

This module makes one destination per URL and sends. The messages are in messages.py, their settings in
settings.py; how a request is sent and what its failure means is in worker/http/client.py.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from collections import Counter
from collections.abc import Callable, Mapping

from stash_courier.queue.events import EVENTS
from stash_courier.queue.failures import DeliveryFailed
from stash_courier.queue.jobs import Delivery, Scene
from stash_courier.worker.destinations import CheckReport, Unusable
from stash_courier.worker.destinations.webhook.messages import destroyed_data, scene_data, serialize, sign
from stash_courier.worker.destinations.webhook.settings import Secret, hidden, parse
from stash_courier.worker.http.addresses import Target
from stash_courier.worker.http.client import Answer, Client
from stash_courier.worker.settings import Problem, Settings, label
from stash_courier.worker.stash.covers import Cover, no_cover

KIND = "webhook"

TEST_TYPE = "stash_courier.test"  # not a scene type, so receivers can ignore it

_URL, _SECRET, _HEADERS = map(label, ("webhook_url", "webhook_secret", "webhook_headers"))
_ADVICE = {
    401: f"check the login in {_URL}, {_HEADERS} and {_SECRET}",
    403: f"it does not allow this; check the login in {_URL} and {_HEADERS}, and {_SECRET}",
    404: f"nothing accepts webhooks at this path; check {_URL}",
    405: f"nothing accepts a POST at this path; check {_URL}",
    413: "the event is larger than it accepts; raise its limit (nginx: client_max_body_size)",
}


def configure(
    raw: Mapping[str, object], settings: Settings, _cover: Cover = no_cover
) -> tuple[list[Webhook | Unusable], list[Problem]]:
    """Makes one destination per URL in ``webhook_url``."""
    wanted, problems = parse(raw)
    hosts = Counter(t.host for t in wanted.targets)
    made: list[Webhook | Unusable] = [Unusable(KIND, known=False)] if wanted.bad_urls else []
    for target in wanted.targets:
        # Every URL of a shared host gets a suffix, so that no id depends on their order.
        suffix = f"-{_digest(target.url)[:8]}" if hosts[target.host] > 1 else ""
        name = f"{KIND}:{target.host}{suffix}"
        webhook = Webhook(name, target, wanted.signing, wanted.headers, settings) if wanted.usable else None
        made.append(webhook or Unusable(name))
    return made, problems


class Webhook:
    """One URL that gets every event as a signed POST."""

    def __init__(
        self,
        destination_id: str,
        target: Target,
        signing: tuple[Secret, ...],
        headers: Mapping[str, str],
        settings: Settings,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.id = destination_id
        self._target = target
        self._signing = signing
        self._headers = dict(headers)
        if target.authorization:
            self._headers["Authorization"] = target.authorization
        texts = [secret.text for secret in signing]
        self.fingerprint = _digest(json.dumps([target.url, sorted(self._headers.items()), texts]))[:32]
        self._path_map = settings.path_map
        self._clock = clock
        self._client = Client(
            timeout=settings.delivery_timeout_seconds,
            concurrency=settings.delivery_concurrency,
            secrets=hidden(target, signing, headers),
            advice=_ADVICE,
        )

    def deliver(self, delivery: Delivery, scene: Scene | None, cover: bytes = b"") -> bytes:  # noqa: ARG002
        """Sends the scene's current state, or that it is gone.

        Receivers may drop a message whose id they have seen, so one id means one content: it is made of the newest
        event, the scene and a digest of what is sent. After a crash the same content has the same id again. A
        retry with other content, as after a tag was renamed, has another id.

        Raises:
            DeliveryFailed: the receiver didn't answer with 2xx.
        """
        if scene is None:
            data = destroyed_data(delivery, self._path_map)
        else:
            data = scene_data(scene, self._path_map, delivery.changed, delivery.seq)
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
        how = "signed" if self._signing else f"unsigned, because {_SECRET} is empty"
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
            how = f", by the rule {' => '.join(rule)} of {label('path_map')}"
        elif self._path_map.rules:
            how = f", as it is in Stash: no rule of {label('path_map')} matches it"
        return (f"Scene {scene.id} is sent with the path {self._path_map.apply(scene.path)}{how}.",)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", errors="surrogatepass")).hexdigest()
