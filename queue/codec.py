"""Rows of queue.db to dataclasses and back.

Every column and every JSON field is checked. A row that isn't what this plugin writes becomes a ``CorruptRow``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, cast

from stash_courier.queue import troubles
from stash_courier.queue.checks import DAMAGE, items, number, or_default, parsed, text, typed, utf8, whole
from stash_courier.queue.failures import NEVER_FATAL
from stash_courier.queue.inbox.events import EVENTS
from stash_courier.queue.jobs import BULK, EDIT, PRIORITIES, Attempt, CorruptRow, Delivery, Event, SceneEvent

# The columns of a delivery that delivery() reads, in this order.
DELIVERY_COLUMNS = (
    *("_id", "destination", "scene_id", "event", "changed", "seq", "timestamp"),
    *("counted_attempts", "attempts", "not_found", "data", "generation", "deaths"),
    *("priority", "due", "suspect"),
)
# A history keeps the latest hundred attempts that the settings allow, plus those of an item that wasn't there
# yet. Of attempts that never count it keeps fewer.
COUNTED_KEPT, UNCOUNTED_KEPT = 120, 30
FILE_FACTS = ("path", "oshash", "checksum")
_WHOLE = (  # columns of whole numbers
    *("seq", "counted_attempts", "attempts", "not_found"),
    *("generation", "priority", "suspect", "deaths"),
)


def event(seq: int, data: object) -> SceneEvent | CorruptRow:
    """Reads a row of the inbox, whatever ``data`` is."""
    try:
        fields = parsed(data)
        return SceneEvent(
            seq=seq,
            scene_id=_scene_id(fields["scene"]),
            event=kind(fields["event"]),
            changed=field_names(fields["changed"]),
            at=number(fields["at"]),
            priority=_priority(fields),
            to=tuple(items(text)(fields.get("to", []))),
            **{name: text(fields.get(name, "")) for name in FILE_FACTS},
        )
    except DAMAGE as error:
        return CorruptRow(seq, "", 0, _raw(data), f"event {seq} of the inbox can't be decoded: {error}")


def delivery(row: Sequence[Any]) -> Delivery | CorruptRow:
    """Reads a row of deliveries, whose columns are ``statements.DELIVERY_COLUMNS``."""
    columns = dict(zip(DELIVERY_COLUMNS, row, strict=True))
    try:
        data = parsed(columns["data"])
        event = delivery_kind(columns["event"])
        return Delivery(
            row_id=columns["_id"],
            destination=utf8(columns["destination"]),
            scene_id=_scene_id(columns["scene_id"], event),
            event=event,
            changed=field_names(text(columns["changed"]).split()),
            at=number(columns["timestamp"]),
            path=text(data["path"]),
            oshash=text(data["oshash"]),
            checksum=text(data["checksum"]),
            history=_attempts(data.get("history", [])),
            due=or_default(number, columns["due"], 0.0),
            notice=troubles.checked(data["notice"]) if event == troubles.NOTICE else "",
            **{name: whole(columns[name]) for name in _WHOLE},
        )
    except DAMAGE as error:
        row_id, destination = columns["_id"], storable(str(columns["destination"]), "replace")
        scene_id = or_default(whole, columns["scene_id"], 0)
        reason = f"delivery row {row_id} can't be decoded: {error}"
        return CorruptRow(row_id, destination, scene_id, _raw(columns["data"]), reason)


def _priority(fields: dict[str, Any]) -> int:
    """An event's priority. Hooks write none; until schema version 3 there was only ``bulk``."""
    if typed(bool, fields.get("bulk", False)):
        return BULK
    priority = whole(fields.get("priority", EDIT))
    if priority not in PRIORITIES:
        raise ValueError("the priority is unknown")
    return priority


def facts(job: SceneEvent | Delivery, history: Sequence[Attempt] = ()) -> dict[str, object]:
    """The content of a delivery's ``data`` column, which is stored as JSON."""
    found: dict[str, object] = {name: getattr(job, name) for name in FILE_FACTS}
    if job.notice:
        found["notice"] = job.notice
    if history:
        found["history"] = [asdict(attempt) for attempt in latest(history)]
    return found


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


def history(stored: object) -> tuple[Attempt, ...] | None:
    """Reads a history stored as JSON; None if it can't be decoded."""
    return or_default(lambda cell: _attempts(parsed(cell)), stored, None)


def field_names(changed: object) -> tuple[str, ...]:
    """Names of changed fields. A column holds them separated by spaces, so each must be an identifier."""
    names = tuple(items(text)(changed))
    if not all(name.isidentifier() for name in names):
        raise ValueError("a changed field has no valid name")
    return names


def exact(raw: bytes) -> str:
    """Decodes a TEXT column without losing bytes. The checks here refuse what isn't UTF-8."""
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


def _attempts(stored: object) -> tuple[Attempt, ...]:
    return tuple(
        Attempt(
            at=number(fields["at"]),
            failure=text(fields["failure"]),
            message=text(fields["message"]),
            status=None if fields["status"] is None else whole(fields["status"]),
            answer=text(fields["answer"]),
        )
        for fields in typed(list, stored)
    )


def _scene_id(value: object, event: Event = "update") -> int:
    scene_id = whole(value)
    if scene_id == 0 or (scene_id < 0) != (event == troubles.NOTICE):
        raise ValueError("Stash has no scene with this id")
    return scene_id


def delivery_kind(value: object) -> Event:
    """One of EVENTS, or a notice."""
    return troubles.NOTICE if value == troubles.NOTICE else kind(value)


def kind(value: object) -> Event:
    """One of EVENTS."""
    if value not in EVENTS:
        raise ValueError(f"the event is none of {', '.join(EVENTS)}")
    return cast(Event, value)


def _raw(value: object) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogateescape")
