"""The values that templates can use, under a fixed list of flat names, and the sentence that sums up an event.

They are made from the ``data`` of the standard body, so both always say the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeAlias

from stash_courier.worker.destinations.webhook.texts import clean, cut, one_line

Value: TypeAlias = "str | int | bool | list[str] | None"

TITLE = 300  # characters of a title
LONGEST = 256 * 1024  # characters of any other text; no body is longer
SUMMARY = 400  # characters
MOST_CHANGES = 5  # fields that are named to people: Stash's edit form names all that it has, whatever was changed
TEST_TYPE = "stash_courier.test"  # not a scene type, so receivers can ignore it

NAMES: Mapping[str, str] = {
    "event": "create, update or destroy; dead_letters, connection_down, connection_up or test",
    "type": "the event's type in the standard body, such as scene.updated",
    "summary": "the event in one line, with the title",
    "text": "the event in several lines without the title: what happened, performers, studio, date, details",
    "id": "Stash's id of the scene",
    "title": "the title, else the file's name",
    "details": "the description",
    "date": "such as 2024-05-01",
    "studio": "its name",
    "performers": "list of names",
    "tags": "list of names",
    "groups": "list of names",
    "director": "the director",
    "rating": "a number from 1 to 100, or null",
    "code": "the studio's code",
    "path": "the file's path, after this connection's path map",
    "url": "the address of the scene's page in Stash",
    "image": "the address of the cover in Stash",
    "urls": "list of addresses",
    "organized": "true or false",
    "created_at": "when the scene was added to Stash",
    "updated_at": "when the scene was last changed",
    "duration": "a number of seconds, or null",
    "resolution": "such as 1920x1080",
    "changed": "list of the changed fields",
    "sequence": "a number that grows with every event",
    "at": "when the event happened",
    "connection": "trouble only: the name of the connection",
    "reason": "trouble only: what is wrong",
    "count": "trouble only: the number of dead letters, or null",
}

_EVENTS = {"scene.created": "create", "scene.updated": "update", "scene.destroyed": "destroy"}


@dataclass(frozen=True, slots=True)
class Item:
    """One event that is to be sent."""

    type: str  # such as scene.updated
    at: float  # when it happened, unix seconds
    data: Mapping[str, Any]  # as the standard body has it; its size isn't limited


def timestamp(at: float) -> str:
    """Unix seconds as RFC 3339 in UTC, with milliseconds."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def title_of(data: Mapping[str, Any]) -> str:
    """One line that names the scene: title, file name or id. Never empty, at most 300 characters."""
    title = one_line(str(data.get("title") or ""), TITLE)
    if not title and (path := data.get("path")):
        name = path.replace("\\", "/").rsplit("/", 1)[-1]
        title = one_line(name.rpartition(".")[0] or name, TITLE)
    if not title and data.get("id"):
        title = f"Scene {data['id']}"
    return title or "Stash Courier"


def summary_of(event_type: str, data: Mapping[str, Any]) -> str:
    """The event in one line of at most 400 characters, such as "Scene changed: One (tags)".

    An event of our own brings its summary along.
    """
    if said := data.get("summary"):
        return one_line(said, SUMMARY)
    title = title_of(data)
    if event_type == "scene.created":
        studio = one_line((data.get("studio") or {}).get("name", ""), SUMMARY - TITLE - 30)
        return f"New scene: {title}" + (f" ({studio})" if studio else "")
    if event_type == "scene.updated":
        return cut(f"Scene changed: {title}{_what_changed(data, ' ({})')}", SUMMARY)
    if event_type == "scene.destroyed":
        return f"Scene deleted: {title}"
    return f"A test by Stash Courier: {title}" if data.get("id") else "A test by Stash Courier"


def flat(item: Item, stash_url: str) -> dict[str, Value]:
    """The values of all NAMES, without lone surrogates. An unset text is "", an unset number None.

    Args:
        stash_url: where people open Stash; "" if that is unknown, then ``url`` is "".
    """
    data = item.data
    files = data.get("files") or ()
    first = files[0] if files else {}
    about_scene = item.type in _EVENTS or item.type == TEST_TYPE
    scene_id = str(data.get("id") or "")
    link = f"{stash_url.rstrip('/')}/scenes/{scene_id}" if stash_url and scene_id and about_scene else ""
    values: dict[str, Value] = {
        "event": _EVENTS.get(item.type, item.type.rpartition(".")[2]),
        "type": item.type,
        "summary": summary_of(item.type, data),
        "text": _text(item.type, data),
        "id": scene_id,
        "title": title_of(data),
        "studio": (data.get("studio") or {}).get("name", ""),
        "rating": data.get("rating100"),
        "url": data.get("url") or link,
        "image": data.get("cover_url") or "",
        "organized": bool(data.get("organized")),
        "duration": round(first["duration"]) if first.get("duration") else None,
        "resolution": f"{first['width']}x{first['height']}" if first.get("width") else "",
        "sequence": data.get("sequence"),
        "at": timestamp(item.at),
        "count": data.get("count"),
    }
    for name in ("performers", "tags", "groups"):
        values[name] = [one["name"] for one in (about_scene and data.get(name)) or ()]
    for name in ("urls", "changed"):
        values[name] = list(data.get(name) or ())
    for name in NAMES.keys() - values.keys():
        values[name] = data.get(name) or ""
    return {name: _bounded(value) for name, value in values.items()}


def as_text(value: Value) -> str:
    """A value inside a longer text: lists are joined with ", ", an unset one is ""."""
    if isinstance(value, list):
        return ", ".join(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def shortened(value: Value, limit: int) -> Value:
    """The value with texts cut to this many characters; a list loses its last entries, too."""
    if isinstance(value, str):
        return cut(value, limit)
    if not isinstance(value, list) or sum(map(len, value)) + 2 * len(value) <= limit:
        return value
    kept: list[str] = []
    for one in value:
        limit -= len(one) + 2
        if limit < 0:
            break
        kept.append(one)
    return kept


def _bounded(value: Value) -> Value:
    if isinstance(value, str):
        return clean(cut(value, LONGEST))
    if isinstance(value, list):
        return [clean(one) for one in shortened(value, LONGEST) or ()]  # type: ignore[union-attr]
    return value


def _text(event_type: str, data: Mapping[str, Any]) -> str:
    if said := data.get("text"):
        return str(said)
    if event_type.startswith("courier.") or not data.get("id"):
        return "\n".join(filter(None, (summary_of(event_type, data), data.get("advice"))))  # it has the reason
    happened = {
        "scene.created": "New scene",
        "scene.updated": f"Changed{_what_changed(data, ': {}')}",
        "scene.destroyed": "Deleted",
    }.get(event_type, "A test by Stash Courier")
    performers = ", ".join(one["name"] for one in data.get("performers") or ())
    studio = (data.get("studio") or {}).get("name", "")
    lines = [happened, cut(performers, SUMMARY), ", ".join(filter(None, (studio, data.get("date"))))]
    text = "\n".join(filter(None, lines))
    details = (data.get("details") or "")[:LONGEST].strip()
    return f"{text}\n\n{details}" if details else text


def _what_changed(data: Mapping[str, Any], form: str) -> str:
    names = [name.removesuffix("_ids").removesuffix("_id").replace("_", " ") for name in data.get("changed") or ()]
    return form.format(", ".join(names)) if 0 < len(names) <= MOST_CHANGES else ""
