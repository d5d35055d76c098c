"""The library report: what a media server has of Stash's scenes, and why it lacks others. Pure.

Of the server's files only those of Stash's scenes are kept, and of each only a digest, so memory doesn't grow with
the server's library.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from stash_courier.queue.jobs import Scene
from stash_courier.worker.destinations.media.libraries import Library
from stash_courier.worker.destinations.media.missing import Rules, why_missing
from stash_courier.worker.destinations.media.notes import NO_PARTS
from stash_courier.worker.destinations.media.places import Place, path_key, places
from stash_courier.worker.paths import PathMap

EXAMPLES = 10  # of each group

Kind = Literal["own", "version", "part"]  # how a server shows a file; the first one counts if there are several
Group = Literal["own", "version", "part", "never", "not_scanned", "not_searched", "outside", "no_rule", "no_file"]
KINDS: tuple[Kind, ...] = get_args(Kind)
GROUPS: tuple[Group, ...] = get_args(Group)

# What is counted, and what would fix it. {server} is the server's name; {versions} as in notes.py.
TEXTS: Mapping[Group, tuple[str, str]] = {
    "own": ("On the server as items of their own", ""),
    "version": ("Versions of another item, so they are not written", "{versions}"),
    "part": ("Parts of another item, so they are not written", NO_PARTS),
    "never": ("Never on the server, because of their name or folder", "Rename or move these files."),
    "not_scanned": (
        "Not scanned yet",
        "Scan their library in {server}. If that changes nothing, it may ignore their name or folder, or know "
        "another path: a test of the connection compares the paths.",
    ),
    "not_searched": (
        "In a library that is not searched",
        "Add their folder to a library that is, or leave them out with filters.",
    ),
    "outside": (
        "Outside all libraries",
        'Add their folder to a library of {server}, or correct "Path map": a test offers a rule.',
    ),
    "no_rule": (
        'Outside all libraries, and under no rule of "Path map"',
        'Add a rule to "Path map" that says what {server} calls their folder: a test offers it.',
    ),
    "no_file": ("Without a file in Stash", "Assign a file to them, or delete them."),
}


@dataclass(frozen=True, slots=True)
class Shown:
    """A file that a server shows."""

    path: str  # the server's
    kind: Kind
    stack: str = ""  # of a first part: equal to the stack of its other parts, which some servers don't show


@dataclass(frozen=True, slots=True)
class Example:
    """A scene of a group."""

    scene_id: int
    stash: str  # path of its first file; "" if it has none
    server: str  # the same as the server calls it
    why: str = ""  # in words for brackets, if there is more to say than the group does


@dataclass(frozen=True, slots=True)
class LibraryReport:
    """How many scenes are in each group, with examples."""

    counts: Mapping[Group, int]
    examples: Mapping[Group, Sequence[Example]]

    @property
    def total(self) -> int:
        """All scenes."""
        return sum(self.counts.values())


@dataclass(slots=True)
class Survey:
    """Sorts scenes: first ``add`` all of them, then ``saw`` all files of the server, then ``result``.

    Args:
        path_map: the connection's.
        libraries: those that are searched.
    """

    path_map: PathMap
    libraries: Sequence[Library]
    rules: Rules = field(default_factory=Rules)
    _scenes: list[tuple[int, tuple[str, ...]]] = field(default_factory=list)  # id, paths in Stash
    _kinds: dict[int, Kind | None] = field(default_factory=dict)  # by digest of a path of the server
    _stacks: set[int] = field(default_factory=set)  # digests

    def add(self, scene: Scene) -> None:
        """Adds one of Stash's scenes. Only its id and paths matter."""
        where = places(None, scene, self.path_map)
        self._scenes.append((scene.id, tuple(place.stash for place in where)))
        for place in where:
            self._kinds[_digest(place.server)] = None

    def saw(self, shown: Shown) -> None:
        """Notes a file of the server."""
        digest = _digest(shown.path)
        if digest in self._kinds:
            known = self._kinds[digest]
            if known is None or KINDS.index(shown.kind) < KINDS.index(known):
                self._kinds[digest] = shown.kind
        if shown.stack:
            self._stacks.add(_digest(shown.stack))

    def result(self) -> LibraryReport:
        """The groups of all scenes."""
        counts = dict.fromkeys(GROUPS, 0)
        examples: dict[Group, list[Example]] = {}
        for scene_id, paths in self._scenes:
            where = self._places(paths)
            group, why = self._group(where)
            counts[group] += 1
            some = examples.setdefault(group, [])
            if len(some) < EXAMPLES:
                some.append(Example(scene_id, *((where[0].stash, where[0].server) if where else ("", "")), why))
        return LibraryReport(counts, examples)

    def _places(self, paths: Sequence[str]) -> list[Place]:
        return [Place(path, self.path_map.apply(path), self.path_map.rule_for(path)) for path in paths]

    def _group(self, where: Sequence[Place]) -> tuple[Group, str]:
        """The group of a scene with these files, and more about it."""
        if not where:
            return "no_file", ""
        # As a delivery does: a file with an item of its own decides.
        kinds = [kind for place in where if (kind := self._kinds.get(_digest(place.server))) is not None]
        if kinds:
            return min(kinds, key=KINDS.index), ""
        reason, more = why_missing(where, self.libraries, self.rules)
        stacks = {stack for place in where if (stack := self.rules.stack(place.server))}
        if reason not in {"not_searched", "outside", "no_rule"} and any(
            _digest(one) in self._stacks for one in stacks
        ):
            return "part", ""
        return ("not_scanned" if reason == "unknown" else reason), more


def _digest(path: str) -> int:
    """Identifies a path, in less memory than the path."""
    key = path_key(path).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest())
