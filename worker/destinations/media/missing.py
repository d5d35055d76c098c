"""Why a media server doesn't have a scene, for deliveries, the test and the library report. Pure.

Also the rule of the path map that would help: the usual mistake is a missing one. So the server's own paths are
compared with ours: those of files with the same name, or else its libraries' folders with the name of a folder in
ours.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from stash_courier.queue.failures import DeliveryFailed, Failure
from stash_courier.queue.jobs import Scene
from stash_courier.worker.destinations import Step
from stash_courier.worker.destinations.media.libraries import Library, described, holder, none_holds
from stash_courier.worker.destinations.media.notes import NEVER_BY_NAME
from stash_courier.worker.destinations.media.places import (
    Place,
    file_name,
    is_named,
    rules_between,
    same_path,
)
from stash_courier.worker.fields import Fix
from stash_courier.worker.paths import PathMap, Rule

# Why a server doesn't have a scene's files; what comes first counts if several are true.
Reason = Literal["never", "not_searched", "outside", "no_rule", "unknown", "not_scanned"]
NAMESAKES = 3  # files with the same name that are compared
EXAMPLES = 2  # that are shown
LACKING = {"never", "not_searched", "outside", "unknown"}  # reasons that time doesn't change
ALL_SCENES = '"Library report" compares all scenes.'
# What scenes are that the server has no item for, or none of their own: for people, before a number. Those that
# say most come first.
KINDS: Mapping[str, str] = {
    "path": "At another path there",
    "outside": "In none of the searched libraries",
    "not_searched": "In a library that is not searched",
    "unknown": "Not known under their path",
    "not_scanned": "Not scanned yet",
    "never": "Never shown because of their name",
    "refused": "With several items",
    "shared": "Sharing another scene's item",
    "no file": "Without a file in Stash",
}


def _nothing(_: str) -> str:
    return ""


def _same(path: str) -> str:
    return path


@dataclass(frozen=True, slots=True)
class Rules:
    """What a kind of server does with the files of its libraries, by their paths."""

    never: Callable[[str], str] = _nothing  # why it will never show the file, in words; "" if it may
    # In which library that isn't searched the file is, and why that is so, in words; "" if it is in none.
    not_searched: Callable[[str], str] = _nothing
    stack: Callable[[str], str] = _nothing  # equal for the files that may be parts of one item; "" for others
    real: Callable[[str], str] = _same  # what the server itself calls a file that its answers call otherwise


NO_RULES = Rules()


def never_shown(where: Iterable[Place], rules: Rules) -> dict[Place, str]:
    """The places whose names the server never makes an item of, and why, for the end of a sentence."""
    reasons = {place: rules.never(place.server) for place in where}
    return {place: why for place, why in reasons.items() if why}


def why_missing(where: Sequence[Place], libraries: Sequence[Library], rules: Rules) -> tuple[Reason, str]:
    """Why the server doesn't have a scene with these files, and more about it in words, if there is more."""
    never, paths = never_shown(where, rules), [rules.real(place.server) for place in where]
    if len(never) == len(where):
        return "never", "; ".join(dict.fromkeys(never.values()))
    if not any(library.may_hold(path) for library in libraries for path in paths):
        if elsewhere := next(filter(None, map(rules.not_searched, paths)), ""):
            return "not_searched", elsewhere
        return ("outside" if any(place.rule for place in where) else "no_rule"), ""
    library = holder(paths, libraries)
    return ("not_scanned", f"in the library {library.name}") if library else ("unknown", "")


@dataclass(frozen=True, slots=True)
class Missing:
    """A scene that the server doesn't have."""

    scene: Scene
    where: tuple[Place, ...]
    elsewhere: tuple[str, ...] = ()  # the server's other paths of files with its name

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
    missing: Sequence[Missing],
    found: Sequence[Place],
    libraries: Sequence[Library],
    path_map: PathMap,
    rules: Rules = NO_RULES,
) -> Findings:
    """Why scenes are missing, and which rule would help most.

    Args:
        missing: the scenes.
        found: places of scenes that the server has; a rule must not move them.
        libraries: those that are searched.
        path_map: the connection's.
        rules: the server's.
    """
    searched = [one for one in missing if len(never_shown(one.where, rules)) < len(one.where)]
    by_files = [change for one in searched for _, change in _of_files(one)]
    change = _best(by_files, missing, found, path_map, lambda one, path: _is_at(path, one.elsewhere))
    if not by_files:
        by_folders = [change for one in searched for _, change in _of_folders(one, libraries)]
        change = _best(by_folders, missing, found, path_map, lambda _, path: holder([path], libraries) is not None)
    examples: dict[str, str] = {}
    counts: Counter[str] = Counter()
    for one in missing:
        kind, why = _reason(one, libraries, rules)
        counts[kind] += 1
        examples.setdefault(kind, f"Scene {one.scene.id}: {why}.")
    if change is None:
        return Findings(examples, counts)
    return Findings(examples, counts, *_fix(path_map, change))


def all_places(where: Sequence[Place]) -> str:
    """Places as a list that follows the word "under"."""
    return "; nor under ".join(map(str, where))


def not_there_yet(
    name: str,
    scene_id: int,
    where: Sequence[Place],
    hint: str = "",
    *,
    again_in: float | None = None,
    waits: bool = True,
) -> DeliveryFailed:
    """The server doesn't know the item, or not yet.

    Args:
        name: the server's name.
        scene_id: Stash's id.
        where: all places that were looked up.
        hint: a sentence, such as that no library contains that folder.
        again_in: seconds until it makes sense to look again; None if the server wasn't asked to scan the file.
        waits: whether it is tried again.
    """
    cause = "the server has no item with its path"
    if hint:
        cause = "its folder is in none of the searched libraries"
        if not any(place.rule for place in where):
            cause += ', and no rule of "Path map" fits it'
    unknown = f"{name} does not know scene {scene_id} under {all_places(where)}"
    correct = f'correct "Path map" or add that folder to a library of {name}.{hint and " " + hint}'
    if not waits:
        return DeliveryFailed(Failure.NOT_THERE_YET, f"{unknown}. If it should, {correct}", cause=cause)
    request = "" if again_in is None else "it was asked to look for it, and "
    wait = f"{request}it has about 2 hours to show it. If it stays unknown, {correct}"
    return DeliveryFailed(Failure.NOT_THERE_YET, f"{unknown}: {wait}", again_in=again_in, cause=cause)


def never_there(name: str, scene_id: int, why: Mapping[Place, str]) -> DeliveryFailed:
    """The server will never know the scene's files, by their names. ``why``: see names.py of the server."""
    reasons = "; ".join(f"{place.server}: {reason}" for place, reason in why.items())
    return DeliveryFailed(
        Failure.NEVER_THERE,
        f"{name} has no item for scene {scene_id} and never will: {reasons}, then retry this dead letter.",
        notes=frozenset({NEVER_BY_NAME}),
        cause="its name, or the name of a folder above it",
    )


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
    elif "not_scanned" in findings.examples:
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


def _reason(one: Missing, libraries: Sequence[Library], rules: Rules) -> tuple[str, str]:
    """The kind of reason, and what an example of it says."""
    reason, more = why_missing(one.where, libraries, rules)
    if one.elsewhere and reason != "never":
        files = " and ".join(one.elsewhere)
        return "path", f"not at {one.looked_for}, but a file of that name is at {files}"
    if reason in {"outside", "no_rule"}:
        folders = dict.fromkeys(where for where, _ in _of_folders(one, libraries))
        known = " and ".join(folders) or f"these are {described(libraries)}"
        return "outside", f"{one.looked_for} is in no library; {known}"
    said = {
        "never": f"{one.where[0].server} is never shown: {more}",
        "not_searched": f"{one.looked_for} is {more}",
        "unknown": f"not known as {one.looked_for}",
        "not_scanned": f"{one.looked_for} is {more}, which has not scanned it yet",
    }
    return reason, said[reason]


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
