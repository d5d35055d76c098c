"""The webhook destination: scenes as signed JSON over HTTP, by Standard Webhooks 1.0.0.

This module sends. The messages are in messages.py, their settings in
settings.py; how a request is sent and what its failure means is in worker/http/client.py.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from stash_courier.queue import troubles
from stash_courier.queue.failures import DeliveryFailed, Failure
from stash_courier.queue.inbox.events import EVENTS
from stash_courier.queue.jobs import Delivery, Scene
from stash_courier.worker.connections.model import Connection
from stash_courier.worker.destinations import NO_RECORDS, Delivered, Step, failed_step
from stash_courier.worker.destinations.webhook.messages import destroyed_data, scene_data, sign
from stash_courier.worker.destinations.webhook.presets import DIGEST_ABOVE
from stash_courier.worker.destinations.webhook.render import (
    Rendered,
    event_name,
    render,
    render_digest,
    render_test,
)
from stash_courier.worker.destinations.webhook.settings import Options, hidden, read_format
from stash_courier.worker.destinations.webhook.texts import clean
from stash_courier.worker.destinations.webhook.values import TEST_TYPE, Item
from stash_courier.worker.http import container
from stash_courier.worker.http.client import Answer, Client
from stash_courier.worker.http.redact import redact
from stash_courier.worker.stash.covers import Cover

DENIED = (401, 403)
PUBLIC_HEADERS = {"Content-Type"}
HIDDEN = "…"  # in a preview, the value of a header that is secret or differs from request to request

_ADVICE = {
    401: "check {login}",
    403: "it does not allow this, or no longer accepts requests from this machine; check {login}",
    404: 'nothing accepts webhooks at this path; check "Address"',
    405: 'nothing accepts a POST at this path; check "Address"',
    413: "the event is larger than it accepts; raise its limit (nginx: client_max_body_size)",
}


def make(connection: Connection, _cover: Cover, _clock: Callable[[], float] = time.monotonic) -> Webhook:
    """The destination of a connection."""
    return Webhook(connection)


class Webhook:
    """One URL that gets every event as a signed POST. The clock is wall time."""

    def __init__(self, connection: Connection, *, clock: Callable[[], float] = time.time) -> None:
        options: Options = connection.options
        self.id = connection.id
        self.fingerprint = connection.fingerprint
        self.root = container.ROOT
        self._target = options.url
        form, _ = read_format(options.preset, connection.entry.values, options.url.url, options.stash_url)
        assert form is not None  # settings.check has read it before
        self._format = form
        self._signing = options.secret
        self._headers = dict(options.headers)
        if self._target.authorization:
            self._headers["Authorization"] = self._target.authorization
        keys = [one for one in form.preset.options if one.type == "secret"]
        self._login_field = keys[0].key if keys else "headers"
        login = f'"{keys[0].label}"' if keys else 'the login in "Address", "Extra headers" and "Signing secret"'
        self._path_map = connection.path_map
        self._clock = clock
        self._secrets = (*hidden(self._target, self._signing, options.headers), *form.secrets)
        self._client = Client(
            timeout=connection.policy.timeout_seconds,
            concurrency=connection.policy.concurrency,
            secrets=self._secrets,
            advice={status: said.format(login=login) for status, said in _ADVICE.items()},
            refused=Failure.REJECTED,
        )

    def deliver(self, delivery: Delivery, scene: Scene | None, record: bytes = b"") -> Delivered:  # noqa: ARG002
        """Sends the scene's current state, that it is gone, or a message about trouble.

        Receivers may drop a message whose id they have seen, so one id means one content: it is made of the newest
        event, the scene and a digest of what is sent. After a crash the same content has the same id again. A
        retry with other content, as after a tag was renamed, has another id.

        Raises:
            DeliveryFailed: the receiver didn't answer with 2xx.
        """
        rendered = render(self._format, self._item(delivery, scene))
        self._send(f"{delivery.job_id}_{rendered.digest}", rendered)
        return Delivered()

    @property
    def digest_above(self) -> int | None:
        """How many deliveries may be due before they become one message; None: each is sent alone."""
        return DIGEST_ABOVE if self._format.preset.is_message else None

    def deliver_digest(self, jobs: Sequence[tuple[Delivery, Scene | None]]) -> None:
        """Sends one message for many scenes: their number and the first ten titles.

        Raises:
            DeliveryFailed: the receiver didn't answer with 2xx.
        """
        rendered = render_digest(self._format, [self._item(delivery, scene) for delivery, scene in jobs])
        self._send(f"msg_digest_{rendered.digest}", rendered)

    def test(
        self,
        scenes: Sequence[Scene],
        *,
        show_scene: bool = False,
        records: Mapping[int, bytes] = NO_RECORDS,  # noqa: ARG002
    ) -> Iterator[Step]:
        """Sends ``stash_courier.test`` with the first scene's data, and reports the answer."""
        now = self._clock()
        scene = next(iter(scenes), None)
        data = None if scene is None else scene_data(scene, self._path_map, (), 0)
        rendered = render_test(self._format, now, data, show_scene=show_scene)
        shown = rendered.body.decode()
        try:
            answer = self._send(f"msg_test_{secrets.token_hex(8)}", rendered)
        except DeliveryFailed as failed:
            if failed.status is None:
                advice = container.hint(self._target.url, failed, "the receiver", self.root)
                step = failed_step("reached", failed, "url", advice)
            else:
                yield Step("reached", "ok", f"{self._target.host} answers.")
                step = failed_step("accepted", failed, self._login_field if failed.status in DENIED else "url")
            yield replace(step, body=shown)
        else:
            yield Step("reached", "ok", f"{self._target.host} answers.")
            accepted = f"{self._target.host} accepted a test event ({answer.status})"
            yield Step("accepted", "ok", f"{accepted}{self._about_test()}", body=shown)
        if scene is not None and scene.path and not self._format.preset.is_message:  # which have no path
            yield Step("path", "ok", self._about_path(scene))

    def preview(self, delivery: Delivery, scene: Scene | None) -> str:
        """The request: only the host of its address, the names of headers that may be secret, and the body."""
        rendered = render(self._format, self._item(delivery, scene))
        headers = {**self._headers, **rendered.headers, **sign(self._signing, "", 0, rendered.body)}
        shown = [f"{name}: {value if name in PUBLIC_HEADERS else HIDDEN}" for name, value in headers.items()]
        body = clean(json.dumps(json.loads(rendered.body), indent=2, ensure_ascii=False))
        return "\n".join([f"{rendered.method} {self._target.host}", *shown, "", redact(body, self._secrets)])

    def _about_test(self) -> str:
        """The rest of the sentence that a test was accepted."""
        if self._format.preset.is_message:
            return "."
        if "{event}" in self._format.preset.path:
            return f". It arrives as stash_courier_{event_name(TEST_TYPE)}."
        how = "signed" if self._signing else 'unsigned, because "Signing secret" is empty'
        return f", {how}. Its type is {TEST_TYPE}. Receivers that only know scene.* ignore it."

    def close(self) -> None:
        """Closes the connections."""
        self._client.close()

    def _item(self, delivery: Delivery, scene: Scene | None) -> Item:
        if delivery.event == troubles.NOTICE:
            return Item(*troubles.message(delivery.notice))
        if scene is None:
            data = destroyed_data(delivery, self._path_map)
        else:
            data = scene_data(scene, self._path_map, delivery.changed, delivery.seq)
        return Item(EVENTS[delivery.event][1], delivery.at, data)

    def _send(self, message_id: str, rendered: Rendered) -> Answer:
        signature = sign(self._signing, message_id, int(self._clock()), rendered.body)
        headers = {**self._headers, **rendered.headers, **signature}
        method, url, body = rendered.method, rendered.url, rendered.body
        return self._client.request(method, url, headers=headers, body=body, fixed_url=True)

    def _about_path(self, scene: Scene) -> str:
        how = ""
        if rule := self._path_map.rule_for(scene.path):
            how = f', by the rule {" => ".join(rule)} of "Path map"'
        elif self._path_map.rules:
            how = ', as it is in Stash: no rule of "Path map" matches it'
        return f"Scene {scene.id} is sent with the path {self._path_map.apply(scene.path)}{how}."
