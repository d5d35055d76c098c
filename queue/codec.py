"""Rows of queue.db to dataclasses and back. Bytes from a database are never trusted.

Rows are JSON, checked field by field; what isn't exactly what was written comes back as Broken.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, TypeVar, cast

from stash_courier.queue.events import EVENTS
from stash_courier.queue.failures import NEVER_FATAL
from stash_courier.queue.jobs import Attempt, CorruptRow, Delivery, Event, SceneEvent

# Kept of a history: the hundred attempts that the settings allow with those of an item that wasn't there
# yet, and beside them the latest of those that burned nothing, for an outage makes hundreds.
BURNING_ATTEMPTS, SPARED_ATTEMPTS = 120, 30
_T = TypeVar("_T")
# What a look at damaged JSON raises.
_WRONG = (
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    RecursionError,
    OverflowError,
)


def event(seq: int, data: object) -> SceneEvent | CorruptRow:
    """Reads a row of the inbox."""
    try:
        fields = json.loads(data if isinstance(data, bytes | str) else "")
        return SceneEvent(
            seq=seq,
            scene_id=_scene(fields["scene"]),
            event=_kind(fields["event"]),
            changed=names(_of(list, fields["changed"])),
            at=_finite(fields["at"]),
            path=_of(str, fields.get("path", "")),
            oshash=_of(str, fields.get("oshash", "")),
            checksum=_of(str, fields.get("checksum", "")),
            bulk=_of(bool, fields.get("bulk", False)),
        )
    except _WRONG as error:
        return CorruptRow(seq, "", 0, _raw(data), f"event {seq} of the inbox can't be decoded: {error}")


def delivery(row: Sequence[Any]) -> Delivery | CorruptRow:
    """Reads a row of deliveries, its columns as statements.COLUMNS names them."""
    (
        row_id,
        destination,
        scene_id,
        kind,
        changed,
        seq,
        at,
        counted,
        attempts,
        not_found,
        data,
        generation,
        deaths,
    ) = row
    try:
        known = json.loads(data)
        return Delivery(
            row_id=row_id,
            destination=_utf8(destination),
            scene_id=_scene(scene_id),
            event=_kind(kind),
            changed=names(_of(str, changed).split()),
            seq=_of(int, seq),
            at=_finite(at),
            counted_attempts=_of(int, counted),
            attempts=_of(int, attempts),
            not_found=_of(int, not_found),
            path=_of(str, known["path"]),
            oshash=_of(str, known["oshash"]),
            checksum=_of(str, known["checksum"]),
            history=history_of(known.get("history", [])),
            generation=_of(int, generation),
            deaths=_of(int, deaths),
        )
    except _WRONG as error:
        scene = scene_id if isinstance(scene_id, int) else 0
        name = str(destination).encode("utf-8", "replace").decode()
        return CorruptRow(row_id, name, scene, _raw(data), f"delivery row {row_id} can't be decoded: {error}")


def facts(job: SceneEvent | Delivery, history: Sequence[Attempt] = ()) -> dict[str, object]:
    """What stands as JSON in a delivery's ``data`` column."""
    found: dict[str, object] = {"path": job.path, "oshash": job.oshash, "checksum": job.checksum}
    if history:
        found["history"] = [asdict(attempt) for attempt in latest(history)]
    return found


def latest(history: Sequence[Attempt]) -> list[Attempt]:
    """What is kept of a history, in its order; no outage pushes out what counted before it."""
    room = {False: BURNING_ATTEMPTS, True: SPARED_ATTEMPTS}
    kept = []
    for attempt in reversed(history):
        spared = attempt.failure in NEVER_FATAL
        if room[spared]:
            room[spared] -= 1
            kept.append(attempt)
    return kept[::-1]


def history_of(known: object) -> tuple[Attempt, ...]:
    """Reads a history.

    Raises:
        ValueError, LookupError, TypeError: it is none.
    """
    return tuple(
        Attempt(
            at=_finite(fields["at"]),
            failure=_of(str, fields["failure"]),
            message=_of(str, fields["message"]),
            status=None if fields["status"] is None else _of(int, fields["status"]),
            answer=_of(str, fields["answer"]),
        )
        for fields in _of(list, known)
    )


def history(stored: object) -> tuple[Attempt, ...] | None:
    """Reads a history stored as JSON; None if it can't be decoded."""
    try:
        return history_of(json.loads(stored if isinstance(stored, bytes | str) else ""))
    except _WRONG:
        return None


def names(changed: Sequence[object]) -> tuple[str, ...]:
    """Field names, checked: a column holds them separated by spaces.

    Raises:
        TypeError: one is none.
    """
    found = tuple(name for name in changed if isinstance(name, str) and name.isidentifier())
    if len(found) != len(changed):
        raise TypeError("a changed field has no name")
    return found


def merged(older: str, newer: str) -> Event:
    """One event that stands for two: created stays created, destroy beats all but a later create."""
    if newer == "destroy" or (older == "destroy" and newer != "create"):
        return "destroy"
    return "create" if "create" in (older, newer) else "update"


def joined(older: Sequence[Any], newer: Sequence[Any]) -> tuple[Event, str, str]:
    """Event, ``changed`` and ``data`` columns that stand for two, each given as these three."""
    kind = merged(older[0], newer[0])
    changed = " ".join(sorted({*str(older[1] or "").split(), *str(newer[1] or "").split()}))
    first, second = _known(older[2]), _known(newer[2])
    data = {**first, **second}
    if older[0] == "destroy" and newer[0] == "update":
        data |= {name: first[name] for name in ("path", "oshash", "checksum") if name in first}
    return kind, changed, json.dumps(data)


def exact(raw: bytes) -> str:
    """A TEXT column whose bytes may be anything: what isn't UTF-8 is kept, and refused by the checks here."""
    return raw.decode("utf-8", "surrogateescape")


def readable(raw: bytes) -> str:
    """A TEXT column that is only shown: what isn't UTF-8 is replaced."""
    return raw.decode("utf-8", "replace")


def storable(text: str) -> str:
    """A text as SQLite takes it: lone surrogates, which a scene's path may hold, are written out."""
    return text.encode("utf-8", "backslashreplace").decode()


def _known(data: object) -> dict[str, Any]:
    try:
        return _of(dict, json.loads(data if isinstance(data, bytes | str) else ""))
    except _WRONG:
        return {}  # what joins a damaged row mends it


def _scene(value: object) -> int:
    scene = _of(int, value)
    if not 0 < scene < 2**63:
        raise ValueError("the scene has no id that Stash gives")
    return scene


def _finite(value: object) -> float:
    number = float(_of((int, float), value))
    if not math.isfinite(number):
        raise ValueError("the time is none")
    return number


def _of(kind: type[_T] | tuple[type[_T], ...], value: Any) -> _T:
    if not isinstance(value, kind) or isinstance(value, bool) is not (kind is bool):
        wanted = kind.__name__ if isinstance(kind, type) else "number"
        raise TypeError(f"{wanted} expected, {type(value).__name__} found")
    return value


def _utf8(value: object) -> str:
    name = _of(str, value)
    name.encode()
    return name


def _kind(value: Any) -> Event:
    if value not in EVENTS:
        raise ValueError("the event is none of create, update, destroy")
    return cast(Event, value)


def _raw(value: object) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogateescape")
