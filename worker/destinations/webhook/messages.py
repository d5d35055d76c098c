"""A webhook's messages: the JSON bodies and the headers that sign them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass

from stash_courier.queue.jobs import Delivery, Named, Scene
from stash_courier.worker.destinations.webhook.settings import Secret
from stash_courier.worker.destinations.webhook.values import summary_of, timestamp
from stash_courier.worker.paths import PathMap

LARGEST_BODY = 256 * 1024  # bytes; of a larger body only what identifies the scene is sent
IDENTITY = ("summary", "id", "path", "oshash", "checksum", "updated_at", "changed", "sequence")
DIGEST_CHARACTERS = 16  # of the content's digest in a message's id; 64 bits


@dataclass(frozen=True, slots=True)
class Message:
    """One message, before it is signed."""

    digest: str  # of type and data; the same for the same content, whenever it is sent
    body: bytes


def sign(signing: tuple[Secret, ...], message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The headers that identify a message and prove who sent it.

    Standard Webhooks 1.0.0: HMAC-SHA256 over ``id.timestamp.body``, one signature per secret. In addition,
    ``X-Hub-Signature-256`` as GitHub defines it: over the body alone, with the first secret only. Its key is the
    secret as it is written, including ``whsec_``, because that is what people paste into such a receiver.

    Args:
        signing: empty for an unsigned message.
        message_id: the same for every attempt with the same content.
        timestamp: of this attempt, unix seconds.
    """
    headers = {"webhook-id": message_id, "webhook-timestamp": str(timestamp)}
    if signing:
        content = b"%s.%d.%s" % (message_id.encode(), timestamp, body)
        made = (base64.b64encode(hmac.digest(s.key, content, "sha256")).decode() for s in signing)
        headers["webhook-signature"] = " ".join(f"v1,{signature}" for signature in made)
        hub = hmac.digest(signing[0].text.encode(), body, "sha256").hex()
        headers["X-Hub-Signature-256"] = f"sha256={hub}"
    return headers


def serialize(event_type: str, at: float, data: Mapping[str, object]) -> Message:
    """The message: JSON in ASCII, in which a path that isn't valid UTF-8 survives as an escape.

    Above 256 KiB the body contains only what identifies the scene, and says so. The digest is always of all data.
    Every ``data`` begins with a ``summary``, the event in one line.

    Args:
        event_type: such as ``scene.updated``.
        at: when the event happened, unix seconds. It isn't content, so it isn't part of the digest.
    """
    data = {"summary": summary_of(event_type, data), **data}
    head = b'{"type":%b,' % _json(event_type)
    content = _json(data)
    digest = hashlib.sha256(head + content).hexdigest()[:DIGEST_CHARACTERS]
    start = b'%b"timestamp":%b,"data":' % (head, _json(timestamp(at)))
    size = len(start) + len(content) + len(b"}")
    if size > LARGEST_BODY:
        kept = {key: data[key] for key in IDENTITY if key in data}
        kept["truncated"] = True
        kept["message"] = (
            f"The event has {size} bytes, more than {LARGEST_BODY}. Ask Stash for the scene by its id."
        )
        content = _json(kept)
    return Message(digest, b"%b%b}" % (start, content))


def scene_data(scene: Scene, path_map: PathMap, changed: tuple[str, ...], sequence: int) -> dict[str, object]:
    """``data`` of ``scene.created`` and ``scene.updated``. An unset text is "", any other unset value null."""
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
    """``data`` of ``scene.destroyed``: what is still known of the scene."""
    return {
        "id": str(delivery.scene_id),
        "path": path_map.apply(delivery.path) if delivery.path else None,
        "oshash": delivery.oshash or None,
        "checksum": delivery.checksum or None,
        "sequence": delivery.seq,
    }


def _named(one: Named) -> dict[str, str]:
    return {"id": one.id, "name": one.name}


# dumps() would make an encoder each time.
_encoder = json.JSONEncoder(separators=(",", ":"))


def _json(value: object) -> bytes:
    return _encoder.encode(value).encode("ascii")
