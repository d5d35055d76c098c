"""Criteria, order and pages of findScenes, like Stash's SQL, as far as our queries use them. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from tests.standin.stash.library import Scene, StashError

_PAGE = 25  # default number of scenes per page

Test = Callable[[Scene], bool]


def matching(scenes: Iterable[Scene], scene_filter: Mapping[str, Any]) -> list[Scene]:
    """The scenes that match a SceneFilterType. Times are compared **as text**, like in Stash's database.

    Raises:
        StashError: a modifier that no query of ours uses.
    """
    return list(filter(_test(scene_filter), scenes))


def page(scenes: list[Scene], find: Mapping[str, Any]) -> list[Scene]:
    """One page of scenes in the order of a FindFilterType."""
    sort, descending = find.get("sort") or "id", find.get("direction") == "DESC"
    if sort.startswith("random_"):
        ordered = sorted(scenes, key=lambda s: hashlib.md5(f"{sort} {s.id}".encode()).digest())
    else:
        ordered = sorted(scenes, key=lambda s: getattr(s, sort), reverse=descending)
    size = _PAGE if find.get("per_page") is None else find["per_page"]
    if size < 0:
        return ordered
    first = (max(find.get("page") or 1, 1) - 1) * size
    return ordered[first : first + size]


def _test(scene_filter: Mapping[str, Any]) -> Test:
    given = {field: value for field, value in scene_filter.items() if value is not None}
    either = given.pop("OR", None)
    tests = [_criterion(field, value) for field, value in given.items()]
    if either is None:
        return lambda scene: all(test(scene) for test in tests)
    other = _test(either)
    return lambda scene: (bool(tests) and all(test(scene) for test in tests)) or other(scene)


def _criterion(field: str, value: Any) -> Test:
    if field == "AND":
        return _test(value)
    if field == "path":
        return _path_includes(value["value"], value["modifier"])
    edge = value["value"]
    if value["modifier"] == "GREATER_THAN":
        return lambda scene: getattr(scene, field) > edge
    if value["modifier"] == "LESS_THAN":
        return lambda scene: getattr(scene, field) < edge
    raise StashError(f"the stand-in has no modifier {value['modifier']} for {field}")


def _path_includes(value: str, modifier: str) -> Test:
    """Each word is looked for, unless the whole is in quotes."""
    if modifier != "INCLUDES":
        raise StashError(f"the stand-in has no modifier {modifier} for path")
    text = value.casefold()
    words = [text.strip('"')] if text.strip('"') != text else text.split()
    return lambda scene: any(word in scene.path.casefold() for word in words)
