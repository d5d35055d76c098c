"""Rows of queue.db to dataclasses and back. Bytes from a database are never trusted.

Rows are JSON, checked field by field; what isn't exactly what was written comes back as Broken.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, TypeVar, cast, get_args

from stash_courier.queue.jobs import Attempt, Broken, Delivery, Event, SceneEvent

HISTORY_ATTEMPTS = 50  # kept of each delivery: the ten that count and many that did not
EVENTS = frozenset(get_args(Event))
_T = TypeVar("_T")
_WRONG = (ValueError, LookupError, TypeError, AttributeError, RecursionError, OverflowError)


def event(seq: int, data: object) -> SceneEvent | Broken:
    """Reads a row of the inbox."""
    try:
        fields = json.loads(data if isinstance(data, bytes | str) else "")
        return SceneEvent(
            seq=seq,
            scene_id=_of(int, fields["scene"]),
            event=_kind(fields["event"]),
            changed=tuple(_of(str, name) for name in _of(list, fields["changed"])),
            at=float(fields["at"]),
            path=_of(str, fields.get("path", "")),
            oshash=_of(str, fields.get("oshash", "")),
            checksum=_of(str, fields.get("checksum", "")),
            bulk=_of(bool, fields.get("bulk", False)),
        )
    except _WRONG as error:
        return Broken(seq, "", 0, _raw(data), f"event {seq} of the inbox can't be decoded: {error}")


def delivery(row: Sequence[Any]) -> Delivery | Broken:
    """Reads a row of deliveries, its columns as statements.COLUMNS names them."""
    (
        row_id,
        destination,
        scene_id,
        kind,
        changed,
        seq,
        at,
        attempts,
        tries,
        absent,
        data,
        generation,
        deaths,
    ) = row
    try:
        known = json.loads(data)
        return Delivery(
            row_id=row_id,
            destination=_of(str, destination),
            scene_id=_of(int, scene_id),
            event=_kind(kind),
            changed=tuple(_of(str, changed).split()),
            seq=_of(int, seq),
            at=float(at),
            attempts=_of(int, attempts),
            tries=_of(int, tries),
            absent=_of(int, absent),
            path=_of(str, known["path"]),
            oshash=_of(str, known["oshash"]),
            checksum=_of(str, known["checksum"]),
            history=tuple(Attempt(**fields) for fields in known.get("history", ())),
            generation=_of(int, generation),
            deaths=_of(int, deaths),
        )
    except _WRONG as error:
        scene = scene_id if isinstance(scene_id, int) else 0
        return Broken(
            row_id, str(destination), scene, _raw(data), f"delivery row {row_id} can't be decoded: {error}"
        )


def facts(job: SceneEvent | Delivery, history: Sequence[Attempt] = ()) -> dict[str, object]:
    """What stands as JSON in a delivery's ``data`` column."""
    found: dict[str, object] = {"path": job.path, "oshash": job.oshash, "checksum": job.checksum}
    if history:
        found["history"] = [asdict(attempt) for attempt in history[-HISTORY_ATTEMPTS:]]
    return found


def merged(older: str | None, newer: str) -> Event:
    """One event that stands for two: created stays created, destroy beats all but a later create."""
    if newer == "destroy" or (older == "destroy" and newer != "create"):
        return "destroy"
    return "create" if "create" in (older, newer) else "update"


def union(older: str | None, newer: str | None) -> str:
    """The names of a ``changed`` column that stands for two."""
    return " ".join(sorted({*(older or "").split(), *(newer or "").split()}))


def _of(kind: type[_T], value: Any) -> _T:
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise TypeError(f"{kind.__name__} expected, {type(value).__name__} found")
    return value


def _kind(value: Any) -> Event:
    if value not in EVENTS:
        raise ValueError("the event is none of create, update, destroy")
    return cast(Event, value)


def _raw(value: object) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogatepass")
