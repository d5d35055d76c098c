"""Rows of queue.db to dataclasses and back.

A row that can't be decoded becomes a ``CorruptRow``, which the worker sets aside as a dead letter with its bytes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any, cast

from stash_courier.queue import troubles
from stash_courier.queue.failures import NEVER_FATAL
from stash_courier.queue.inbox.events import EVENTS
from stash_courier.queue.jobs import EDIT, PRIORITIES, Attempt, CorruptRow, Delivery, Event, SceneEvent

# What decoding a damaged row raises.
DAMAGE = (ValueError, LookupError, TypeError, AttributeError, RecursionError, OverflowError)
# The columns of a delivery that delivery() reads, in this order.
DELIVERY_COLUMNS = (
    *("_id", "destination", "scene_id", "event", "changed", "seq", "timestamp"),
    *("counted_attempts", "attempts", "not_found", "data", "generation", "deaths"),
    *("priority", "due"),
)
# A history keeps the latest hundred attempts that the settings allow, plus those of an item that wasn't there
# yet. Of attempts that never count it keeps fewer.
COUNTED_KEPT, UNCOUNTED_KEPT = 120, 30
FILE_FACTS = ("path", "oshash", "checksum")
_WHOLE = (  # columns of whole numbers
    *("seq", "counted_attempts", "attempts", "not_found"),
    *("generation", "priority", "deaths"),
)
_LATEST = 1e11  # wall times are below this: far beyond any date, and all arithmetic with them works
_LARGEST = 2**63 - 1  # whole number of SQLite


def loads(text: str | bytes) -> Any:
    """JSON that the worker or a button stored. Raises one of DAMAGE, also for a number that no answer can hold."""
    return json.loads(text, parse_float=_finite, parse_constant=_finite)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is no finite number")
    return number


def event(seq: int, data: Any) -> SceneEvent | CorruptRow:
    """Reads a row of the inbox, whatever ``data`` is."""
    try:
        fields = json.loads(data)
        return SceneEvent(
            seq=seq,
            scene_id=_scene_id(fields["scene"]),
            event=_kind(fields["event"]),
            changed=_field_names(fields["changed"]),
            at=_time(fields["at"]),
            priority=_priority(fields.get("priority", EDIT)),
            to=tuple(fields.get("to", ())),
            **{name: str(fields.get(name, "")) for name in FILE_FACTS},
        )
    except DAMAGE as error:
        return CorruptRow(seq, "", 0, _raw(data), f"event {seq} of the inbox can't be decoded: {error}")


def delivery(row: Sequence[Any]) -> Delivery | CorruptRow:
    """Reads a row of deliveries, whose columns are ``DELIVERY_COLUMNS``."""
    columns = dict(zip(DELIVERY_COLUMNS, row, strict=True))
    row_id, destination = columns["_id"], storable(str(columns["destination"]), "replace")
    try:
        data = json.loads(columns["data"])
        is_notice = columns["event"] == troubles.NOTICE
        if is_notice:
            troubles.message(data["notice"])  # raises if it can't be read
        texts: dict[str, Any] = {name: str(data[name]) for name in FILE_FACTS}
        numbers: dict[str, Any] = {name: _whole(columns[name]) for name in _WHOLE}
        return Delivery(
            row_id=row_id,
            destination=destination,
            scene_id=_scene_id(columns["scene_id"], notice=is_notice),
            event=troubles.NOTICE if is_notice else _kind(columns["event"]),
            changed=_field_names(columns["changed"].split()),
            at=_time(columns["timestamp"]),
            **texts,
            history=_attempts(data.get("history", ())),
            due=float(columns["due"]),
            notice=data["notice"] if is_notice else "",
            **numbers,
        )
    except DAMAGE as error:
        scene_id = columns["scene_id"] if isinstance(columns["scene_id"], int) else 0
        reason = f"delivery row {row_id} can't be decoded: {error}"
        return CorruptRow(row_id, destination, scene_id, _raw(columns["data"]), reason)


def facts(job: SceneEvent | Delivery, history: Sequence[Attempt] = ()) -> dict[str, object]:
    """The content of a delivery's ``data`` column, which is stored as JSON."""
    content: dict[str, object] = {name: getattr(job, name) for name in FILE_FACTS}
    if job.notice:
        content["notice"] = job.notice
    if history:
        content["history"] = [asdict(attempt) for attempt in latest(history)]
    return content


def latest(history: Sequence[Attempt]) -> list[Attempt]:
    """The attempts of a history that are kept, in order. An outage never pushes out attempts that counted."""
    room = {False: COUNTED_KEPT, True: UNCOUNTED_KEPT}
    kept = []
    for attempt in reversed(history):
        uncounted = attempt.failure in NEVER_FATAL
        if room[uncounted]:
            room[uncounted] -= 1
            kept.append(attempt)
    return kept[::-1]


def history(stored: str) -> tuple[Attempt, ...] | None:
    """Reads a history stored as JSON; None if it can't be decoded."""
    try:
        return _attempts(json.loads(stored))
    except DAMAGE:
        return None


def exact(raw: bytes) -> str:
    """Decodes a TEXT column without losing bytes."""
    return raw.decode("utf-8", "surrogateescape")


def readable(raw: bytes) -> str:
    """Decodes a TEXT column that is only shown: what isn't UTF-8 is replaced."""
    return raw.decode("utf-8", "replace")


def as_text(stored: object) -> str:
    """Any value from a database as text that is only shown."""
    return readable(stored) if isinstance(stored, bytes) else str(stored)


def storable(given: str, errors: str = "backslashreplace") -> str:
    """A text that SQLite accepts. A scene's path may hold lone surrogates, which it doesn't."""
    return given.encode("utf-8", errors).decode()


def _attempts(stored: Iterable[dict[str, Any]]) -> tuple[Attempt, ...]:
    return tuple(
        Attempt(
            at=_time(fields["at"]),
            failure=str(fields["failure"]),
            message=str(fields["message"]),
            status=None if fields["status"] is None else int(fields["status"]),
            answer=str(fields["answer"]),
        )
        for fields in stored
    )


def _scene_id(value: Any, *, notice: bool = False) -> int:
    scene_id = _whole(value)
    if scene_id == 0 or (scene_id < 0) is not notice:
        raise ValueError("Stash has no scene with this id")
    return scene_id


def _whole(value: Any) -> int:
    """A whole number that SQLite can store."""
    whole = int(value)
    if abs(whole) > _LARGEST:
        raise ValueError("the number has more than 64 bits")
    return whole


def _kind(value: object) -> Event:
    if value not in EVENTS:
        raise ValueError(f"the event is none of {', '.join(EVENTS)}")
    return cast(Event, value)


def _priority(value: Any) -> int:
    if value not in PRIORITIES:
        raise ValueError("the priority is unknown, so it would never be sent")
    return int(value)


def _field_names(names: list[str]) -> tuple[str, ...]:
    """Names of changed fields. A column holds them separated by spaces, so each must be an identifier."""
    if not all(name.isidentifier() for name in names):
        raise ValueError("a changed field has no valid name")
    return tuple(names)


def _time(value: Any) -> float:
    """A wall time. One that isn't finite would stop the transaction that stores it, and all rows with it."""
    at = float(value)
    if not 0 <= at < _LATEST:
        raise ValueError("the time is invalid")
    return at


def _raw(value: object) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogateescape")
