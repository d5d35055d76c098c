"""The webhook destination: scenes as signed JSON over HTTP, by Standard Webhooks 1.0.0.

Makes the messages and their signatures. What the settings say is webhook_settings.py's, how a request is sent
and what its failure means worker/http/client.py's, when it is tried again retry.py's.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import time
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from stash_courier.queue.events import EVENTS
from stash_courier.queue.failures import DeliveryFailed
from stash_courier.queue.jobs import Delivery, Named, Scene
from stash_courier.worker.destinations import TestReport, Unusable
from stash_courier.worker.destinations.webhook import settings as webhook_settings
from stash_courier.worker.destinations.webhook.settings import Secret
from stash_courier.worker.http.addresses import Target
from stash_courier.worker.http.client import Answer, Client
from stash_courier.worker.settings import PathMap, Problem, Settings
from stash_courier.worker.stash.covers import Cover, no_cover

KIND = "webhook"

LARGEST_BODY = 256 * 1024  # bytes; above it only what identifies the scene is sent
TEST_TYPE = "stash_courier.test"  # none of the scene types, so that a receiver can leave it alone

_ADVICE = {
    401: "check the login in webhook_url, webhook_headers and webhook_secret",
    403: "it does not let us; check the login in webhook_url and webhook_headers, and webhook_secret",
    404: "nothing takes webhooks at this path; check webhook_url",
    405: "nothing takes a POST at this path; check webhook_url",
    413: "the event is larger than it takes; raise its limit (nginx: client_max_body_size)",
}


def configure(
    raw: Mapping[str, object], settings: Settings, _cover: Cover = no_cover
) -> tuple[list[Webhook | Unusable], list[Problem]]:
    """Makes one destination per URL in ``webhook_url``.

    Args:
        raw: the plugin's map as Stash stores it.
        settings: the common settings.
    """
    wanted, problems = webhook_settings.parse(raw)
    hosts = Counter(t.host for t in wanted.targets)
    made: list[Webhook | Unusable] = [Unusable(KIND, told=False)] if wanted.unread else []
    for target in wanted.targets:
        # With every URL of that host, so that no id depends on the order of the URLs.
        suffix = f"-{_digest(target.url)[:8]}" if hosts[target.host] > 1 else ""
        name = f"{KIND}:{target.host}{suffix}"
        if wanted.usable:
            made.append(Webhook(name, target, wanted.signing, wanted.headers, settings))
        else:
            made.append(Unusable(name))
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
        self._id = destination_id
        self._target = target
        self._signing = signing
        self._headers = dict(headers)
        if target.authorization:
            self._headers["Authorization"] = target.authorization
        self._path_map = settings.path_map
        self._clock = clock
        self._client = Client(
            timeout=settings.delivery_timeout_seconds,
            concurrency=settings.delivery_concurrency,
            secrets=webhook_settings.hidden(target, signing, headers),
            advice=_ADVICE,
        )

    @property
    def id(self) -> str:
        """``webhook:<host[:port]>``, with a hash of the URL behind it where several share the host."""
        return self._id

    @property
    def fingerprint(self) -> str:
        """A hash of URL, login, secrets and headers."""
        texts = [s.text for s in self._signing]
        return _digest(json.dumps([self._target.url, sorted(self._headers.items()), texts]))[:32]

    def deliver(self, delivery: Delivery, scene: Scene | None, cover: bytes = b"") -> bytes:  # noqa: ARG002
        """Sends the scene as it is now, or that it is gone.

        Raises:
            DeliveryFailed: the receiver didn't answer with 2xx.
        """
        if scene is None:
            data = destroyed_data(delivery, self._path_map)
        else:
            data = scene_data(scene, self._path_map, delivery.changed, delivery.seq)
        self._send(delivery.job_id, serialise(EVENTS[delivery.event][1], delivery.at, data))
        return b""

    def test(self, scene: Scene | None) -> TestReport:
        """Sends ``stash_courier.test`` with a real scene's data, and says what came back."""
        now = self._clock()
        if scene is None:
            data: dict[str, object] = {"message": "A test by Stash Courier; Stash holds no scene to show."}
        else:
            data = scene_data(scene, self._path_map, (), 0)
        try:
            answer = self._send(f"msg_test_{secrets.token_hex(8)}", serialise(TEST_TYPE, now, data))
        except DeliveryFailed as failed:
            said = (f"It said: {failed.answer[:200]}",) if failed.answer else ()
            return TestReport(False, (failed.message, *said), self._about_path(scene))
        took = f"{self._target.host} took a test event ({answer.status})"
        how = "signed" if self._signing else "unsigned, since webhook_secret is empty"
        ignored = f"A test event's type is {TEST_TYPE}: a receiver that only knows scene.* does nothing with it."
        return TestReport(True, (f"{took}, {how}.", ignored), self._about_path(scene))

    def close(self) -> None:
        """Lets go of connections."""
        self._client.close()

    def _send(self, message_id: str, body: bytes) -> Answer:
        headers = {
            **self._headers,
            "Content-Type": "application/json",
            **signature_headers(self._signing, message_id, int(self._clock()), body),
        }
        return self._client.request("POST", self._target.url, headers=headers, body=body, fixed_url=True)

    def _about_path(self, scene: Scene | None) -> tuple[str, ...]:
        if scene is None or not scene.path:
            return ()
        said = f"Scene {scene.id} goes out with the path {self._path_map.apply(scene.path)}"
        rule = self._path_map.rule_for(scene.path)
        if rule is not None:
            return (f"{said}, by the rule {rule[0]} => {rule[1]} of path_map.",)
        if self._path_map.rules:
            return (f"{said}, as it is in Stash: no rule of path_map fits it.",)
        return (f"{said}.",)


def signature_headers(signing: tuple[Secret, ...], message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The headers that say which message this is and prove who sent it.

    Standard Webhooks 1.0.0: HMAC-SHA256 over ``id.timestamp.body``, one signature per secret. Besides it
    ``X-Hub-Signature-256`` as GitHub has it: over the body alone, keyed with the secret **as written**
    (``whsec_`` and all), because that is what a person pastes into a receiver of that kind. It holds one
    signature only, by the first secret.

    Args:
        signing: none for an unsigned message.
        message_id: the same on every retry.
        timestamp: of this attempt, unix seconds.
        body: the bytes that are sent.
    """
    headers = {"webhook-id": message_id, "webhook-timestamp": str(timestamp)}
    if signing:
        content = b"%s.%d.%s" % (message_id.encode(), timestamp, body)
        made = (base64.b64encode(hmac.digest(s.key, content, "sha256")).decode() for s in signing)
        headers["webhook-signature"] = " ".join(f"v1,{signature}" for signature in made)
        hub = hmac.digest(signing[0].text.encode(), body, "sha256").hex()
        headers["X-Hub-Signature-256"] = f"sha256={hub}"
    return headers


def serialise(event_type: str, at: float, data: Mapping[str, object]) -> bytes:
    """The body: JSON in ASCII, so that a path that isn't valid UTF-8 survives as an escape.

    Above 256 KiB only what identifies the scene is left, and the body says so.

    Args:
        event_type: such as ``scene.updated``.
        at: when the event happened, unix seconds.
        data: what ``scene_data`` or ``destroyed_data`` made.
    """
    timestamp = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    body = _json({"type": event_type, "timestamp": timestamp, "data": data})
    if len(body) <= LARGEST_BODY:
        return body
    kept = {
        k: data[k] for k in ("id", "path", "oshash", "checksum", "updated_at", "changed", "sequence") if k in data
    }
    kept["truncated"] = True
    kept["message"] = (
        f"The whole event would be {len(body)} bytes, more than {LARGEST_BODY}: ask Stash for the scene by its id."
    )
    return _json({"type": event_type, "timestamp": timestamp, "data": kept})


def scene_data(scene: Scene, path_map: PathMap, changed: tuple[str, ...], sequence: int) -> dict[str, object]:
    """``data`` of ``scene.created`` and ``scene.updated``. Texts that aren't set are "", everything else null."""
    return {
        "id": str(scene.id),
        "title": scene.title_or_stem(),
        "code": scene.code,
        "details": scene.details,
        "director": scene.director,
        "date": scene.date or None,
        "rating100": scene.rating100,
        "organized": scene.organized,
        "urls": scene.urls,
        "created_at": scene.created_at,
        "updated_at": scene.updated_at,
        "path": path_map.apply(scene.path) if scene.path else None,
        "files": [
            {
                "path": path_map.apply(f.path),
                "size": f.size,
                "duration": f.duration,
                "width": f.width,
                "height": f.height,
                "fingerprints": [{"type": kind, "value": value} for kind, value in f.fingerprints],
            }
            for f in scene.files
        ],
        "performers": [_named(p) for p in scene.performers],
        "tags": [_named(t) for t in scene.tags],
        "studio": _named(scene.studio) if scene.studio else None,
        "groups": [_named(g) for g in scene.groups],
        "stash_ids": [{"endpoint": s.endpoint, "stash_id": s.stash_id} for s in scene.stash_ids],
        "cover_url": scene.cover_url or None,
        "changed": changed,
        "sequence": sequence,
    }


def destroyed_data(delivery: Delivery, path_map: PathMap) -> dict[str, object]:
    """``data`` of ``scene.destroyed``: all that is left of the scene."""
    return {
        "id": str(delivery.scene_id),
        "path": path_map.apply(delivery.path) if delivery.path else None,
        "oshash": delivery.oshash or None,
        "checksum": delivery.checksum or None,
        "sequence": delivery.seq,
    }


def _named(what: Named) -> dict[str, str]:
    return {"id": what.id, "name": what.name}


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode("ascii")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", errors="surrogatepass")).hexdigest()
