"""Messages about trouble: what the queue stores of one, how two become one, and what it says. Pure.

Such a message is a delivery with the event ``notice`` and, in place of a scene's id, a negative number: its slot.
A receiver has one slot for dead letters and one for each connection. So at most one message about each of them
waits, the newest, and they arrive in order. What a message says is stored with the delivery as JSON.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Literal

NOTICE: Literal["notice"] = "notice"  # the event of these deliveries
DEAD_LETTERS = "courier.dead_letters"
DOWN = "courier.connection_down"
UP = "courier.connection_up"
MOST_GROUPS = 10  # of dead letters in one message
LONGEST_REASON = 400  # characters
_REVIEW = "Open Stash Courier in Stash to see what failed. After fixing the cause, retry the dead letters."
_ABOUT = ("connection", "connection_name", "kind")
_CAUSE = ("group", "error_type", "cause", "count")
_TITLES = {DEAD_LETTERS: "Dead letters: {}", DOWN: "Down: {}", UP: "Works again: {}"}
_SEVERAL = "several connections"


def slot(connection: str = "") -> int:
    """The slot of messages about a connection or, without one, about dead letters. Negative."""
    digest = hashlib.sha256(connection.encode("utf-8", "surrogatepass")).digest()
    return -1 - int.from_bytes(digest[:6], "big")  # 48 bits, so that JavaScript keeps it too


def subject(scene_id: int) -> str:
    """What a delivery is about, for people: ``scene 45`` or ``a message about trouble``."""
    return f"scene {scene_id}" if scene_id >= 0 else "a message about trouble"


def about(connection: str, name: str, kind: str) -> dict[str, object]:
    """The fields that name a connection; null for each that is unknown."""
    return {"connection": connection or None, "connection_name": name or None, "kind": kind or None}


def connection_down(named: dict[str, object], at: float, since: float, reason: str, advice: str) -> str:
    """A message that a connection is held up. Wall times; ``named`` is from ``about``."""
    reason = shortened(" ".join(reason.split()), LONGEST_REASON)
    return json.dumps({"type": DOWN, "at": at, "since": since, **named, "reason": reason, "advice": advice})


def connection_up(named: dict[str, object], at: float, since: float) -> str:
    """A message that a connection takes deliveries again."""
    return json.dumps({"type": UP, "at": at, "since": since, **named})


def dead_letters(at: float, since: float, groups: Sequence[dict[str, Any]]) -> str:
    """A message about new dead letters.

    Args:
        at: wall time.
        since: wall time of the first.
        groups: by cause, at least one, each with ``group``, ``error_type``, ``cause``, ``count`` and the fields of
            ``about``.
    """
    count = sum(group["count"] for group in groups)
    message = {"type": DEAD_LETTERS, "at": at, "since": since, "count": count, **_common(groups)}
    return json.dumps({**message, "groups": sorted(groups, key=_most_first)[:MOST_GROUPS]})


def joined(older: str, newer: str) -> str:
    """One message for two of the same slot: the newer one, and dead letters are added up."""
    first, second = json.loads(older), json.loads(newer)
    if first["type"] != DEAD_LETTERS or second["type"] != DEAD_LETTERS:
        return newer
    groups = {group["group"]: group for group in first["groups"]}
    for group in second["groups"]:
        before = groups.get(group["group"], {"count": 0})
        groups[group["group"]] = {**group, "count": before["count"] + group["count"]}
    message = {**second, **_common([first, second]), "since": min(first["since"], second["since"])}
    message["count"] = first["count"] + second["count"]
    return json.dumps({**message, "groups": sorted(groups.values(), key=_most_first)[:MOST_GROUPS]})


def message(stored: str) -> tuple[str, float, dict[str, object]]:
    """What a receiver gets: the type, the wall time, and ``data`` of the standard body."""
    found = json.loads(stored)
    groups = [{**_named(group), **{key: group[key] for key in _CAUSE}} for group in found.get("groups", [])]
    data = {
        "summary": summary(stored),
        "title": _TITLES[found["type"]].format(_name(found) or _SEVERAL),
        **_named(found),
        "since": _iso(found["since"]),
        "reason": groups[0]["cause"] if groups else found.get("reason", ""),
        "advice": _REVIEW if groups else found.get("advice", ""),
        "count": found.get("count"),
        "groups": groups,
    }
    return found["type"], found["at"], data


def summary(stored: str) -> str:
    """A message in one line; "" for none."""
    if not stored:
        return ""
    found = json.loads(stored)
    name = _name(found) or _SEVERAL
    if found["type"] == UP:
        return f"{name}: takes deliveries again. It had been held up since {_clock(found['since'])}."
    if found["type"] == DOWN:
        return f"{name}: held up since {_clock(found['since'])}. {found['reason']}".rstrip()
    most = found["groups"][0]
    where = f" ({_name(most)})" if most["connection"] else ""
    return f"New dead letters: {found['count']:,}. Most frequent cause{where}: {most['cause']}"


def shortened(text: str, longest: int) -> str:
    """The text, with at most this many characters: a longer one ends after a word, with "…"."""
    if len(text) <= longest:
        return text
    kept = text[:longest]
    words = kept[: kept.rfind(" ")] if " " in kept[longest // 2 :] else kept[:-1]
    return f"{words.rstrip(' ,;:')}…"


def sentence(text: str) -> str:
    """The text on one line, with a period."""
    text = shortened(" ".join(text.split()), LONGEST_REASON)
    return text if not text or text[-1] in ".!?…" else f"{text}."


def _named(found: dict[str, Any]) -> dict[str, object]:
    """A connection in what a receiver gets: its id and kind are null if several or none are meant."""
    return {"connection_id": found["connection"], "connection": _name(found), "kind": found["kind"]}


def _name(found: dict[str, Any]) -> str:
    return str(found["connection_name"] or found["connection"] or "")


def _common(parts: Sequence[dict[str, Any]]) -> dict[str, object]:
    """The connection that all parts are about; null if there are several."""
    same = len({part["connection"] for part in parts}) == 1
    return {name: parts[0][name] if same else None for name in _ABOUT}


def _most_first(group: dict[str, Any]) -> tuple[int, str]:
    return -group["count"], group["group"]


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _clock(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(at))
