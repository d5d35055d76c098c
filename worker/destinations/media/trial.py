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
from stash_courier.worker.destinations import Step
from stash_courier.worker.destinations.media.libraries import Library, described, holder, none_holds
from stash_courier.worker.destinations.media.places import (
    Place,
    file_name,
    is_named,
    rules_between,
    same_path,
)
from stash_courier.worker.fields import Fix
from stash_courier.worker.paths import PathMap, Rule

NAMESAKES = 3  # files with the same name that are compared
EXAMPLES = 2  # that are shown
LACKING = {"name", "outside", "unknown"}  # reasons that time doesn't change
ALL_SCENES = '"Library report" compares all scenes.'
# What scenes are that the server has no item for, or none of their own: for people, before a number. Those that
# say most come first.
KINDS: Mapping[str, str] = {
    "path": "At another path there",
    "outside": "In none of the searched libraries",
    "unknown": "Not known under their path",
    "scan": "Not scanned yet",
    "name": "Never shown because of their name",
    "refused": "With several items",
    "shared": "Sharing another scene's item",
    "no file": "Without a file in Stash",
}


@dataclass(frozen=True, slots=True)
class Missing:
    """A scene that the server doesn't have."""

    scene: Scene
    where: tuple[Place, ...]
    elsewhere: tuple[str, ...] = ()  # the server's other paths of files with its name
    never: str = ""  # why the server will never have it, for the end of a sentence

    @property
    def looked_for(self) -> str:
        """Its first path on the server, for a sentence."""
        place = self.where[0]
        return place.server if place.server == place.stash else f"{place.server} (in Stash {place.stash})"


@dataclass(frozen=True, slots=True)
class Change:
    """A rule for the path map."""

    rule: Rule
    instead: Rule | None  # an existing rule that would win over it, so it is replaced


@dataclass(frozen=True, slots=True)
class Findings:
    """What was found out about the missing scenes."""

    examples: Mapping[str, str] = field(default_factory=dict)  # kind of reason → one example of it, a sentence
    counts: Mapping[str, int] = field(default_factory=dict)  # kind of reason → how many of the scenes
    fix: Fix | None = None  # the rule that helps most
    advice: str = ""  # that rule in a sentence


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
        examples.setdefault(kind, f"Scene {one.scene.id}: {why}.")
    if change is None:
        return Findings(examples, counts)
    return Findings(examples, counts, *_fix(path_map, change))


def scenes_step(
    name: str,
    findings: Findings,
    refusals: Mapping[str, str],
    others: Mapping[str, int],
    *,
    found: int,
    skips: bool,
) -> Step:
    """The test's step about scenes: how many of them the server has, why others are missing, what to do.

    Args:
        name: the server's.
        findings: about those that are missing.
        refusals: kind of other trouble → one example of it, in sentences.
        others: other kind → how many of the scenes.
        found: how many the server has.
        skips: what it doesn't have is skipped.
    """
    counts = {**others, **findings.counts}
    total = found + sum(counts.values())
    more = [ALL_SCENES] if total > 1 else []
    text = " ".join([f"{found} of {total} scenes found.", *_counted(counts)])
    step = Step("scenes", "warn" if found else "fail", text, report=total > 1)
    if found == total:
        return replace(step, status="ok", text=" ".join([text, *more]))
    step = replace(step, examples=_shown({**findings.examples, **refusals}))
    if found and skips and not refusals and "path" not in findings.examples:
        return replace(step, status="ok", text=" ".join([text, f"What {name} doesn't have is skipped.", *more]))
    if findings.fix is not None:
        return replace(step, field="path_map", text=f"{text} {findings.advice}", fix=findings.fix)
    if findings.examples.keys() & {"path", "outside"}:
        more.insert(0, f'Correct "Path map", or add their folder to a library of {name}.')
        step = replace(step, field="path_map")
    elif "scan" in findings.examples:
        more.insert(0, f"Have {name} scan its libraries.")
    if found and findings.counts.keys() & LACKING:
        step = replace(step, fix=Fix(f"Skip scenes that {name} doesn't have", {"absent": "skip"}))
    return replace(step, text=" ".join([text, *more]))


def _counted(counts: Mapping[str, int]) -> list[str]:
    """How many scenes are of each kind, in sentences."""
    return [f"{said}: {counts[kind]}." for kind, said in KINDS.items() if counts.get(kind)]


def _shown(examples: Mapping[str, str]) -> tuple[str, ...]:
    """The examples that say most."""
    order = [*KINDS, *(kind for kind in examples if kind not in KINDS)]
    return tuple(examples[kind] for kind in order if kind in examples)[:EXAMPLES]


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
    """The kind of reason, and what an example of it says."""
    if one.never:
        return "name", f"{one.where[0].server} is never shown: {one.never}"
    if one.elsewhere:
        files = " and ".join(one.elsewhere)
        return "path", f"not at {one.looked_for}, but a file of that name is at {files}"
    if none_holds(one.where, libraries):
        folders = dict.fromkeys(where for where, _ in _of_folders(one, libraries))
        known = " and ".join(folders) or f"these are {described(libraries)}"
        return "outside", f"{one.looked_for} is in no library; {known}"
    library = holder([place.server for place in one.where], libraries)
    if library is None:
        return "unknown", f"not known as {one.looked_for}"
    return "scan", f"{one.looked_for} is in the library {library.name}, which has not scanned it yet"


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


def _fix(path_map: PathMap, change: Change) -> tuple[Fix, str]:
    """The fix, and what it does in a sentence."""
    rule = " => ".join(change.rule)
    kept = path_map.with_rule(change.rule, change.instead)
    replaced = [" => ".join(one) for one in path_map.rules if one not in kept.rules]
    instead = f" in place of {replaced[0]}" if replaced else ""
    fix = Fix(f"Use this path: {rule}", {"path_map": kept.lines()})
    return fix, f'The rule {rule} in "Path map"{instead} would lead there.'


def _is_at(path: str, paths: Iterable[str]) -> bool:
    return any(same_path(path, one) for one in paths)


def _part_to(name: str, path: str) -> str:
    """The beginning of the path up to a folder of this name; "" if there is none."""
    components = path.replace("\\", "/").split("/")[:-1]
    return path[: len("/".join(components[: components.index(name) + 1]))] if name in components else ""
