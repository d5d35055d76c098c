"""The paths of a scene's files: what Stash calls them, what a media server calls them, and the rule in between."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from stash_courier.queue.failures import DeliveryFailed, Failure
from stash_courier.queue.jobs import Delivery, Scene
from stash_courier.worker.paths import PathMap, Rule, is_windows

_SURROGATES = re.compile("[\ud800-\udfff]")  # what Python makes of bytes that aren't UTF-8


@dataclass(frozen=True, slots=True)
class Place:
    """The path of one file of a scene on both sides."""

    stash: str
    server: str
    rule: Rule | None  # the rule of path_map that was applied; None if no rule matches

    def __str__(self) -> str:
        """Both paths and the rule, for the middle of a sentence."""
        rule = " => ".join(self.rule) if self.rule else ""
        how = f'by the rule {rule} of "Path map"' if rule else 'no rule of "Path map" fits it'
        return f"{self.server} (in Stash {self.stash}; {how})"


def places(delivery: Delivery | None, scene: Scene | None, path_map: PathMap) -> tuple[Place, ...]:
    """Where to look for a scene: its files, primary file first. A deleted scene's path is in its delivery."""
    deleted = [] if delivery is None else [delivery.path]
    paths = deleted if scene is None else [file.path for file in scene.files]
    return tuple(Place(path, path_map.apply(path), path_map.rule_for(path)) for path in paths if path)


def ambiguous(name: str, scene_id: int, place: Place, items: Iterable[str]) -> DeliveryFailed:
    """Several items, each given by name and id, have the scene's path."""
    found = list(items)
    return DeliveryFailed(
        Failure.ITEM_REFUSED,
        f"{name} has {len(found)} items with the path {place.server}: {'; '.join(found)}. It is unclear which of "
        f"them is scene {scene_id}, so none was changed. Remove all but one (is the folder in two libraries?), "
        "then retry this dead letter.",
        cause="several items of the server have its path",
    )


def same_path(one: str, other: str) -> bool:
    """Whether two paths of a server are the same. On Windows neither case nor the kind of separator matters."""
    return path_key(one) == path_key(other)


def path_key(path: str) -> str:
    """A key that is equal for equal paths. Some servers show bytes that aren't UTF-8 as U+FFFD."""
    path = _SURROGATES.sub("\ufffd", path)
    return path.replace("\\", "/").casefold() if is_windows(path) else path


def folder_key(path: str) -> str:
    """A key that is equal for files in the same folder."""
    return path_key(path).rpartition("/")[0]


def file_name(path: str) -> str:
    """The last component of a path."""
    return _components(path)[-1]


def below(path: str, root: str) -> list[str]:
    """The names in a path of the server after those of a folder that contains it."""
    inner, outer = (one.replace("\\", "/") if is_windows(one) else one for one in (path, root))
    return list(filter(None, inner.split("/")))[len(list(filter(None, outer.split("/")))) :]


def is_named(path: str, name: str) -> bool:
    """Whether a file on a server has this name. On Windows case doesn't matter."""
    own = file_name(path)
    return own == name or (is_windows(path) and own.casefold() == name.casefold())


def rules_between(stash: str, server: str) -> list[Rule]:
    """The rules of a path map that turn Stash's path of a file or folder into the server's, shortest first."""
    ours, theirs = _components(stash), _components(server)
    key = str.casefold if is_windows(server) else str
    found = [(_joined(ours, stash), _joined(theirs, server))]
    while len(ours) > 1 and len(theirs) > 1 and key(ours[-1]) == key(theirs[-1]):
        ours, theirs = ours[:-1], theirs[:-1]
        found.append((_joined(ours, stash), _joined(theirs, server)))
    return found[::-1]


def _components(path: str) -> list[str]:
    return path.rstrip("/\\").replace("\\", "/").split("/") if is_windows(path) else path.rstrip("/").split("/")


def _joined(components: list[str], path: str) -> str:
    separator = "\\" if is_windows(path) and "/" not in path else "/"
    return separator.join(components) or "/"
