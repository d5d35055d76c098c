"""Fuzz targets for atheris: ``.build/fuzz/venv/bin/python -m tests.faults.codec_fuzz TARGET CORPUS [options]``.

Each target passes the bytes to one function that reads rows and checks what its callers rely on.
"""

from __future__ import annotations

import contextlib
import json
import pickle
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import atheris  # type: ignore[import-untyped, import-not-found, unused-ignore]  # only in .build/fuzz/venv

with atheris.instrument_imports(include=["stash_courier.queue", "pickletools"]):
    from stash_courier.queue import codec
    from stash_courier.queue.codec import DELIVERY_COLUMNS
    from stash_courier.queue.dead_letters import pickles
    from stash_courier.queue.deliveries import coalesce
    from stash_courier.queue.deliveries.coalesce import Content

from stash_courier.queue.jobs import Attempt, CorruptRow, Delivery, SceneEvent

FACTS = json.dumps({"path": "/media/a.mp4", "oshash": "0123456789abcdef", "checksum": ""})
ATTEMPT = asdict(Attempt(1.5, "busy", "HTTP status 503", 503, "later"))
EVENT = {"scene": 5, "event": "destroy", "changed": ["title", "date"], "at": 1.5, "path": "/a", "bulk": True}
ROW = {
    **dict.fromkeys(DELIVERY_COLUMNS, 0),
    "_id": 1,
    "destination": "webhook:example.org",
    "scene_id": 5,
    "event": "update",
    "changed": "title",
    "seq": 9,
    "timestamp": 1.5,
    "data": FACTS,
}
JOB = {"scene_id": 5, "event": "update", "changed": ["title"], "history": [ATTEMPT], "raw": b"\x00", "at": 1.5}
# The initial corpus; libFuzzer adds the empty input.
SEEDS = {
    "event": [json.dumps(EVENT).encode()],
    "delivery": [FACTS.encode(), json.dumps({**json.loads(FACTS), "history": [ATTEMPT]}).encode()],
    "history": [json.dumps([ATTEMPT]).encode()],
    "pickle": [pickles.dumps(JOB), pickle.dumps({"a": {1, 2}}, protocol=4), b"\x80\x04cbuiltins\nlen\n."],
}


def event(raw: bytes) -> None:
    """An inbox row is either an event that can be stored as a delivery, or corrupt."""
    for data in (raw, _text(raw)):
        found = codec.event(7, data)
        if isinstance(found, SceneEvent):
            json.dumps(codec.facts(found))
            " ".join(found.changed).encode()
        else:
            assert isinstance(found, CorruptRow)
            assert isinstance(found.raw, bytes)


def delivery(raw: bytes) -> None:
    """A row of the deliveries is either valid or corrupt, whatever value is in any column."""
    given = atheris.FuzzedDataProvider(raw)
    place, kind = given.ConsumeIntInRange(1, len(ROW) - 1), given.ConsumeIntInRange(0, 3)
    rest = given.ConsumeBytes(len(raw))
    value: object = (rest, _text(rest), int.from_bytes(rest[:8], signed=True), None)[kind]
    for damaged in ({DELIVERY_COLUMNS[place]: value}, {"data": _text(raw)}):
        found = codec.delivery([*{**ROW, **damaged}.values()])
        if isinstance(found, Delivery):
            found.destination.encode()
            json.dumps(codec.facts(found, found.history))
            assert found.scene_id > 0
        else:
            assert isinstance(found, CorruptRow)
            found.destination.encode()
    coalesce.joined(Content("update", "title", FACTS), Content("destroy", "date", _text(raw)))


def history(raw: bytes) -> None:
    """The history of a dead letter is a list of attempts, or None."""
    found = codec.history(raw.decode("utf-8", "replace"))
    assert found is None or all(isinstance(attempt, Attempt) for attempt in found)


def unpickled(raw: bytes) -> None:
    """The job of a dead letter is plain data, or it is refused with UnsafePickleError."""
    with contextlib.suppress(pickles.UnsafePickleError):
        assert _plain(pickles.loads(raw))


TARGETS = {"event": event, "delivery": delivery, "history": history, "pickle": unpickled}


def _text(raw: bytes) -> str:
    return codec.exact(raw)


def _plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(_plain(key) and _plain(inner) for key, inner in value.items())
    if isinstance(value, list | tuple):
        return all(_plain(inner) for inner in value)
    return type(value) in {str, bytes, int, float, bool, type(None)}


if __name__ == "__main__":
    target, corpus, *options = sys.argv[1:]
    for number, seed in enumerate(SEEDS[target]):
        (Path(corpus) / f"seed{number}").write_bytes(seed)
    atheris.Setup([sys.argv[0], corpus, *options], TARGETS[target])
    atheris.Fuzz()
