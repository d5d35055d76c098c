"""What «Test destinations» says of a media server: the frame that all of them share.

Asks through what it is given, and changes nothing. What matters most to the owner is the path: where it isn't
known, the server's own paths are shown beside ours, with the rule that would make them meet.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from stash_courier.queue.failures import DeliveryFailed
from stash_courier.queue.jobs import Scene
from stash_courier.worker.destinations import CheckReport
from stash_courier.worker.destinations.media.libraries import Library, none_holds
from stash_courier.worker.destinations.media.state import (
    Place,
    all_places,
    file_name,
    is_named,
    no_file,
    places,
    rule_between,
    same_path,
)
from stash_courier.worker.paths import PathMap
from stash_courier.worker.settings import label

NAMESAKES = 3  # files of the same name that are shown


@dataclass(frozen=True, slots=True)
class Check:
    """One server under test. What it is given may raise ``DeliveryFailed``."""

    name: str  # the server's
    path_map: PathMap
    introduce: Callable[[], Iterator[str]]  # sentences: who answers, which libraries there are
    look_up: Callable[[Scene, Sequence[Place]], list[str] | None]  # what a delivery would do; None: not known
    libraries: Callable[[], Sequence[Library]]
    files_named: Callable[[str], Iterable[str]]  # paths of files that may have that name

    def run(self, scene: Scene | None) -> CheckReport:
        """Says who answers, and what a delivery of this scene would do."""
        lines: list[str] = []
        try:
            lines.extend(self.introduce())  # those before a failure stay
            ok = self._try(scene, lines)
        except DeliveryFailed as failed:
            said = (f"It said: {failed.answer[:200]}",) if failed.answer else ()
            return CheckReport(False, (*lines, failed.message, *said))
        return CheckReport(ok, tuple(lines))

    def _try(self, scene: Scene | None, lines: list[str]) -> bool:
        """Looks the scene up and says what came of it."""
        if scene is None:
            lines.append("Stash holds no scene, so no path was looked up.")
            return True
        where = places(None, scene, self.path_map)
        if not where:
            raise no_file(self.name, scene.id)
        found = self.look_up(scene, where)
        if found is not None:
            lines.extend(found)
            return True
        lines.append(f"Scene {scene.id} is not known under {all_places(where)}.")
        lines.extend(self._why_not(where))
        return False

    def _why_not(self, where: Sequence[Place]) -> list[str]:
        """What the server calls its own paths; that a scan is pending only if it has no such file elsewhere."""
        libraries = self.libraries()
        nowhere = none_holds(where, libraries)
        lines = [nowhere] if nowhere else []
        namesakes = [line for place in where for line in self._namesakes(place)]
        if namesakes:
            return [*lines, *dict.fromkeys(namesakes)]
        if nowhere:
            return [*lines, *(line for place in where for line in _folders_alike(place, libraries))]
        holder = next((one for one in libraries if any(one.holds(place.server) for place in where)), None)
        return [f"That is in the library {holder}, which has not scanned it yet."] if holder else []

    def _namesakes(self, place: Place) -> Iterator[str]:
        name = file_name(place.server)
        found = (
            path for path in self.files_named(name) if is_named(path, name) and not same_path(path, place.server)
        )
        for path in itertools.islice(dict.fromkeys(found), NAMESAKES):
            yield f"It has a file of that name at {path}: {_would_help(place, place.stash, path)}."


def _folders_alike(place: Place, libraries: Sequence[Library]) -> Iterator[str]:
    """Folders of libraries that are called like one of the path's."""
    for library in libraries:
        for folder in library.folders:
            if above := _part_to(file_name(folder), place.stash):
                yield (
                    f"Its library {library.name} has a folder of that name at {folder}: "
                    f"{_would_help(place, above, folder)}."
                )


def _part_to(name: str, path: str) -> str:
    """The part of the path that ends in a folder of that name, "" if there is none."""
    components = path.replace("\\", "/").split("/")[:-1]
    return path[: len("/".join(components[: components.index(name) + 1]))] if name in components else ""


def _would_help(place: Place, ours: str, theirs: str) -> str:
    rule = rule_between(ours, theirs)
    # The longest prefix wins, so a rule that isn't longer than the one in use has to take its place.
    replaces = place.rule is not None and len(rule.partition(" => ")[0]) <= len(place.rule[0])
    instead = f", in place of {place.rule[0]} => {place.rule[1]}," if place.rule and replaces else ""
    return f"the rule {rule} in {label('path_map')}{instead} would make the two meet"
