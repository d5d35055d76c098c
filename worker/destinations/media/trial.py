"""Why a media server doesn't have scenes that were looked up, and the rule of the path map that would help. Pure.

The usual mistake is a missing rule. So the server's own paths are compared with ours: those of files with the same
name, or else its libraries' folders with the name of a folder in ours.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from stash_courier.queue.jobs import Scene
from stash_courier.worker.destinations.media.libraries import Library, holder, none_holds
from stash_courier.worker.destinations.media.places import (
    Place,
    all_places,
    file_name,
    is_named,
    rules_between,
    same_path,
)
from stash_courier.worker.fields import Fix
from stash_courier.worker.paths import PathMap, Rule

NAMESAKES = 3  # files with the same name that are compared
_HELPS = "would map one to the other"
# What scenes are that the server has no item for, or none of their own: for people, before a number.
KINDS: Mapping[str, str] = {
    "shared": "Sharing another scene's item",
    "refused": "With several items",
    "no file": "Without a file in Stash",
    "path": "At another path there",
    "outside": "In none of the searched libraries",
    "unknown": "Not known under their path",
    "scan": "Not scanned yet",
    "name": "Never shown because of their name",
}


@dataclass(frozen=True, slots=True)
class Missing:
    """A scene that the server doesn't have."""

    scene: Scene
    where: tuple[Place, ...]
    elsewhere: tuple[str, ...] = ()  # the server's other paths of files with its name
    never: str = ""  # why the server will never have it, for the end of a sentence

    @property
    def start(self) -> str:
        """The begin of a sentence about it."""
        return f"Scene {self.scene.id} is not known under {all_places(self.where)}"


@dataclass(frozen=True, slots=True)
class Change:
    """A rule for the path map."""

    rule: Rule
    instead: Rule | None  # an existing rule that would win over it, so it is replaced

    def __str__(self) -> str:
        """The rule, for the middle of a sentence."""
        instead = f", in place of {' => '.join(self.instead)}," if self.instead else ""
        return f'the rule {" => ".join(self.rule)} in "Path map"{instead}'


@dataclass(frozen=True, slots=True)
class Findings:
    """What was found out about the missing scenes."""

    examples: Mapping[str, str] = field(default_factory=dict)  # kind of reason → one example of it, in sentences
    counts: Mapping[str, int] = field(default_factory=dict)  # kind of reason → how many of the scenes
    fix: Fix | None = None


def find_out(
    missing: Sequence[Missing], found: Sequence[Place], libraries: Sequence[Library], path_map: PathMap
) -> Findings:
    """Why scenes are missing, and which rule would help most.

    Args:
        missing: the scenes.
        found: places of scenes that the server has; a rule must not move them.
        libraries: those that are searched.
        path_map: the connection's.
    """
    searched = [one for one in missing if not one.never]
    by_files = [change for one in searched for _, change in _of_files(one)]
    change = _best(by_files, missing, found, path_map, lambda one, path: _is_at(path, one.elsewhere))
    if not by_files:
        by_folders = [change for one in searched for _, change in _of_folders(one, libraries)]
        change = _best(by_folders, missing, found, path_map, lambda _, path: holder([path], libraries) is not None)
    examples: dict[str, str] = {}
    counts: Counter[str] = Counter()
    for one in missing:
        kind, why = _reason(one, libraries)
        counts[kind] += 1
        examples.setdefault(kind, f"{one.start}. {why}".rstrip())
    return Findings(examples, counts, None if change is None else _fix(path_map, change))


def counted(counts: Mapping[str, int]) -> str:
    """How many scenes are of each kind, in sentences."""
    return " ".join(f"{said}: {counts[kind]}." for kind, said in KINDS.items() if counts.get(kind))


def with_namesakes(missing: Sequence[Missing], files: Iterable[str]) -> list[Missing]:
    """The missing scenes with the server's other files of the same name."""
    names = {file_name(place.server).casefold() for one in missing for place in one.where}
    known: dict[str, list[str]] = {}
    for path in dict.fromkeys(files):
        if (name := file_name(path).casefold()) in names:
            known.setdefault(name, []).append(path)
    return [replace(one, elsewhere=tuple(itertools.islice(_namesakes(one, known), NAMESAKES))) for one in missing]


def _namesakes(one: Missing, known: Mapping[str, list[str]]) -> Iterator[str]:
    for place in one.where:
        name = file_name(place.server)
        for path in known.get(name.casefold(), ()):
            if is_named(path, name) and not same_path(path, place.server):
                yield path


def _reason(one: Missing, libraries: Sequence[Library]) -> tuple[str, str]:
    """The kind of reason, and sentences about it."""
    if one.never:
        return "name", f"It never will be: {one.never}."
    outside = none_holds(one.where, libraries)
    # The shortest rule of each path, which is the first, says most.
    files = dict(reversed(_of_files(one)))
    if files:
        lines = [f"It has a file of that name at {path}: {files[path]} {_HELPS}." for path in one.elsewhere]
        return "path", " ".join(filter(None, [outside, *lines]))
    if outside:
        folders = dict(reversed(_of_folders(one, libraries)))
        lines = [f"Its library {where}: {change} {_HELPS}." for where, change in folders.items()]
        return "outside", " ".join([outside, *lines[::-1]])
    library = holder([place.server for place in one.where], libraries)
    if library is None:
        return "unknown", ""
    return "scan", f"That folder is in the library {library}, which has not scanned it yet."


def _of_files(one: Missing) -> list[tuple[str, Change]]:
    """Rules that lead to the server's files of the same name, with each file's path."""
    return [
        (path, _change(place, rule))
        for place in one.where
        for path in one.elsewhere
        for rule in rules_between(place.stash, path)
    ]


def _of_folders(one: Missing, libraries: Sequence[Library]) -> list[tuple[str, Change]]:
    """Rules that lead to libraries' folders with the name of a folder in the path, with words for each folder."""
    if not none_holds(one.where, libraries):
        return []
    return [
        (f"{library.name} has a folder of that name at {folder}", _change(place, rule))
        for place in one.where
        for library in libraries
        for folder in library.folders or ()
        if (above := _part_to(file_name(folder), place.stash))
        for rule in rules_between(above, folder)
    ]


def _best(
    changes: Iterable[Change],
    missing: Sequence[Missing],
    found: Sequence[Place],
    path_map: PathMap,
    helps: Callable[[Missing, str], bool],
) -> Change | None:
    """The change after which most scenes are where they should be; of equal ones the one for most folders."""
    ranked = []
    for change in dict.fromkeys(changes):
        changed = path_map.with_rule(change.rule, change.instead)
        if any(changed.apply(place.stash) != place.server for place in found):
            continue
        helped = sum(any(helps(one, changed.apply(place.stash)) for place in one.where) for one in missing)
        if helped:
            ranked.append((helped, -len(change.rule[0]), change))
    return max(ranked, key=lambda one: one[:2], default=(0, 0, None))[2]


def _change(place: Place, rule: Rule) -> Change:
    """The longest prefix wins, so a rule has to replace a longer one."""
    wins = place.rule is not None and len(rule[0]) <= len(place.rule[0])
    return Change(rule, place.rule if wins else None)


def _fix(path_map: PathMap, change: Change) -> Fix:
    rule = " => ".join(change.rule)
    kept = path_map.with_rule(change.rule, change.instead)
    replaced = [" => ".join(one) for one in path_map.rules if one not in kept.rules]
    label = f"Replace the rule {replaced[0]} by {rule}" if replaced else f"Add the rule {rule}"
    return Fix(label, {"path_map": kept.lines()})


def _is_at(path: str, paths: Iterable[str]) -> bool:
    return any(same_path(path, one) for one in paths)


def _part_to(name: str, path: str) -> str:
    """The beginning of the path up to a folder of this name; "" if there is none."""
    components = path.replace("\\", "/").split("/")[:-1]
    return path[: len("/".join(components[: components.index(name) + 1]))] if name in components else ""
