"""What "Test destinations" reports about a media server. Changes nothing.

The usual mistake is a missing rule in path_map. So if the scene's path isn't known, the report shows the server's
own paths beside ours, with the rule that would map one to the other.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from stash_courier.queue.failures import DeliveryFailed
from stash_courier.queue.jobs import Scene
from stash_courier.worker.destinations import CheckReport
from stash_courier.worker.destinations.media.errors import no_file
from stash_courier.worker.destinations.media.libraries import Library, none_holds
from stash_courier.worker.destinations.media.places import (
    Place,
    all_places,
    file_name,
    is_named,
    places,
    rule_between,
    same_path,
)
from stash_courier.worker.paths import PathMap
from stash_courier.worker.settings import label

NAMESAKES = 3  # files with the same name that are shown


class Checkable(Protocol):
    """What each media server's destination implements for the check. Every method may raise ``DeliveryFailed``."""

    def introduce(self) -> Iterator[str]:
        """Sentences: which server answers, and which libraries it has."""

    def preview(self, scene: Scene, where: Sequence[Place]) -> list[str] | None:
        """Sentences: what a delivery would do. None if the server doesn't know the item."""

    def libraries(self) -> Sequence[Library]:
        """The libraries that are searched."""

    def files_named(self, name: str) -> Iterable[str]:
        """The server's paths of files that may have this name."""


def check_server(server: Checkable, name: str, path_map: PathMap, scene: Scene | None) -> CheckReport:
    """Reports which server answers, and what a delivery of the scene would do.

    Args:
        server: the destination.
        name: the server's name for the owner.
        path_map: the setting.
        scene: a real scene; None if Stash has none.
    """
    lines: list[str] = []
    try:
        lines.extend(server.introduce())  # the lines before a failure are kept
        if scene is None:
            return CheckReport(True, (*lines, "Stash has no scene, so no path was looked up."))
        where = places(None, scene, path_map)
        if not where:
            raise no_file(name, scene.id)
        found = server.preview(scene, where)
        if found is not None:
            return CheckReport(True, (*lines, *found))
        lines.append(f"Scene {scene.id} is not known under {all_places(where)}.")
        lines.extend(_why_unknown(server, where))
    except DeliveryFailed as failed:
        said = (f"It said: {failed.answer[:200]}",) if failed.answer else ()
        lines += (failed.message, *said)
    return CheckReport(False, tuple(lines))


def _why_unknown(server: Checkable, where: Sequence[Place]) -> list[str]:
    """Files or folders with the same names elsewhere on the server. Without any, a scan may be pending."""
    libraries = server.libraries()
    outside = none_holds(where, libraries)
    lines = [outside] if outside else []
    if namesakes := [line for place in where for line in _namesakes(server, place)]:
        return [*lines, *dict.fromkeys(namesakes)]
    if outside:
        return [*lines, *(line for place in where for line in _folders_alike(place, libraries))]
    holder = next((one for one in libraries if any(one.holds(place.server) for place in where)), None)
    return [f"That folder is in the library {holder}, which has not scanned it yet."] if holder else []


def _namesakes(server: Checkable, place: Place) -> Iterator[str]:
    """Files with the same name at other paths."""
    name = file_name(place.server)
    others = (
        path for path in server.files_named(name) if is_named(path, name) and not same_path(path, place.server)
    )
    for path in itertools.islice(dict.fromkeys(others), NAMESAKES):
        yield f"It has a file of that name at {path}: {_would_help(place, place.stash, path)}."


def _folders_alike(place: Place, libraries: Sequence[Library]) -> Iterator[str]:
    """Folders of libraries with the name of a folder in the path."""
    for library in libraries:
        for folder in library.folders or ():
            if above := _part_to(file_name(folder), place.stash):
                yield (
                    f"Its library {library.name} has a folder of that name at {folder}: "
                    f"{_would_help(place, above, folder)}."
                )


def _part_to(name: str, path: str) -> str:
    """The beginning of the path up to a folder of this name; "" if there is none."""
    components = path.replace("\\", "/").split("/")[:-1]
    return path[: len("/".join(components[: components.index(name) + 1]))] if name in components else ""


def _would_help(place: Place, ours: str, theirs: str) -> str:
    """The rule that maps our path to theirs. The longest prefix wins, so it has to replace a longer rule."""
    rule = rule_between(ours, theirs)
    replaces = place.rule is not None and len(rule.partition(" => ")[0]) <= len(place.rule[0])
    instead = f", in place of {place.rule[0]} => {place.rule[1]}," if place.rule and replaces else ""
    return f"the rule {rule} in {label('path_map')}{instead} would map one to the other"
