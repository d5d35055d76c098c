"""Criteria, search, order and pages of findScenes, like Stash's SQL. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from tests.standin.stash.library import Scene, StashError

_PAGE = 25  # default number of scenes per page
_DIGITS = re.compile(r"(\d+)")

Test = Callable[[Scene], bool]


def matching(scenes: Iterable[Scene], scene_filter: Mapping[str, Any], query: str, now: str) -> list[Scene]:
    """The scenes that match a SceneFilterType and a search text.

    Args:
        now: the server's time as text; a BETWEEN without upper bound ends a day later.

    Raises:
        StashError: Stash doesn't support the modifier for this kind of criterion.
    """
    test = _test(scene_filter, now)
    words = [w.casefold() for w in query.split()]
    return [s for s in scenes if test(s) and all(_mentions(s, w) for w in words)]


def page(scenes: list[Scene], find: Mapping[str, Any]) -> list[Scene]:
    """One page of scenes in the order of a FindFilterType."""
    ordered = _ordered(scenes, find.get("sort") or "", descending=find.get("direction") == "DESC")
    size = _PAGE if find.get("per_page") is None else find["per_page"]
    if size < 0:
        return ordered
    first = (max(find.get("page") or 1, 1) - 1) * size
    return ordered[first : first + size]


def _test(scene_filter: Mapping[str, Any], now: str) -> Test:
    given = {field: value for field, value in scene_filter.items() if value is not None}
    either = given.pop("OR", None)
    tests = [_criterion(field, value, now) for field, value in given.items()]
    if either is None:
        return lambda scene: all(test(scene) for test in tests)
    other = _test(either, now)
    return lambda scene: (bool(tests) and all(test(scene) for test in tests)) or other(scene)


def _criterion(field: str, value: Any, now: str) -> Test:
    if field == "AND":
        return _test(value, now)
    if field == "NOT":
        inner = _test(value, now)
        return lambda scene: not inner(scene)
    if field == "organized":
        return lambda scene: scene.organized is value
    if field in ("title", "path"):
        return _text(field, value["value"], value["modifier"])
    upper = value.get("value2")
    if upper is None:
        upper = 0 if field == "id" else _next_day(now)
    return _compared(field, value["value"], upper, value["modifier"])


def _compared(field: str, value: Any, upper: Any, modifier: str) -> Test:
    """Compares numbers by value and times **as text**, like the columns in Stash's database."""
    tests: dict[str, Callable[[Any], bool]] = {
        "EQUALS": lambda x: bool(x == value),
        "NOT_EQUALS": lambda x: bool(x != value),
        "GREATER_THAN": lambda x: bool(x > value),
        "LESS_THAN": lambda x: bool(x < value),
        "BETWEEN": lambda x: bool(value <= x <= upper),
        "NOT_BETWEEN": lambda x: not value <= x <= upper,
        "IS_NULL": lambda _x: False,
        "NOT_NULL": lambda _x: True,
    }
    if modifier not in tests:
        raise StashError(f"unsupported modifier {modifier} for {field}")
    test = tests[modifier]
    return lambda scene: test(getattr(scene, field))


def _text(field: str, value: str, modifier: str) -> Test:
    folded = value.casefold()
    if field == "path" and modifier in ("INCLUDES", "EXCLUDES"):
        # Each word is looked for, unless the whole is in quotes.
        words = [folded.strip('"')] if folded.strip('"') != folded else folded.split()
        wanted = modifier == "INCLUDES"
        return lambda scene: any(word in scene.path.casefold() for word in words) is wanted
    tests: dict[str, Callable[[str], bool]] = {
        "EQUALS": lambda x: x.casefold() == folded,
        "NOT_EQUALS": lambda x: x.casefold() != folded,
        "INCLUDES": lambda x: folded in x.casefold(),
        "EXCLUDES": lambda x: folded not in x.casefold(),
        "IS_NULL": lambda x: not x,
        "NOT_NULL": bool,
    }
    if modifier in ("MATCHES_REGEX", "NOT_MATCHES_REGEX"):
        found = re.compile(value).search
        wanted = modifier == "MATCHES_REGEX"
        return lambda scene: (found(getattr(scene, field)) is not None) is wanted
    if modifier not in tests:
        raise StashError(f"unsupported modifier {modifier} for {field}")
    test = tests[modifier]
    return lambda scene: test(getattr(scene, field))


def _mentions(scene: Scene, word: str) -> bool:
    texts = [scene.title, scene.details]
    for video in scene.files:
        texts += [video.path, *(value for _, value in video.fingerprints)]
    return any(word in text.casefold() for text in texts)


def _next_day(now: str) -> str:
    text = (datetime.fromisoformat(now) + timedelta(days=1)).isoformat("T", "seconds")
    return text.replace("+00:00", "Z")


def _natural(text: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part.casefold()) for part in _DIGITS.split(text)]


def _title(scene: Scene) -> list[tuple[int, str]]:
    return _natural(scene.title or scene.path.rsplit("/", 1)[-1])


_ORDERS: dict[str, Callable[[Scene], Any]] = {
    "": lambda s: s.id,
    "id": lambda s: s.id,
    "created_at": lambda s: s.created_at,
    "updated_at": lambda s: s.updated_at,
    "title": _title,
    "path": lambda s: _natural(s.path),
    "date": lambda s: s.date or "",
    "rating": lambda s: s.rating100 or 0,
}


def _ordered(scenes: list[Scene], sort: str, *, descending: bool) -> list[Scene]:
    if sort.startswith("random_"):
        return sorted(scenes, key=lambda s: hashlib.md5(f"{sort} {s.id}".encode()).digest())
    if sort not in _ORDERS:
        raise StashError(f"invalid sort: {sort}")
    if sort not in ("", "id"):  # Stash always sorts by title last; ids are unique without it
        scenes = sorted(scenes, key=_title)
    return sorted(scenes, key=_ORDERS[sort], reverse=descending)
