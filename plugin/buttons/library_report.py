"""The mode of the library report: what each media server has of Stash's scenes, and what would fix the rest.

It changes nothing, and needs neither queue nor worker.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from stash_courier.plugin.arguments import Arguments
from stash_courier.plugin.context import Context, Setup
from stash_courier.plugin.errors import BadInputError
from stash_courier.plugin.text.words import flat, to_correct
from stash_courier.queue.failures import DeliveryFailed
from stash_courier.queue.jobs import Scene
from stash_courier.worker import destinations
from stash_courier.worker.connections.model import Connection
from stash_courier.worker.destinations.media.base import MediaDestination
from stash_courier.worker.destinations.media.report import GROUPS, TEXTS, Group, LibraryReport
from stash_courier.worker.filters import passes
from stash_courier.worker.stash.client import Stash
from stash_courier.worker.stash.scene_files import all_files


@dataclass(slots=True)
class _Scenes:
    """The scenes that a connection sends, read from Stash page by page."""

    stash: Stash
    connection: Connection
    left_out: int = 0  # by filters

    def __iter__(self) -> Iterator[Scene]:
        for page in all_files(self.stash):
            for scene in page.items:
                if passes(scene, self.connection.shared):
                    yield scene
                else:
                    self.left_out += 1


def library_report(context: Context, arguments: Arguments) -> dict[str, object]:
    """Compares Stash's scenes with every media server, or with the one that the caller names."""
    with context.setup() as setup:
        servers = _media_servers(setup)
        try:
            results = [
                _compare(context, servers[name], setup.loaded.connections[name])
                for name in _chosen(setup, sorted(servers), arguments.connection)
            ]
        finally:
            for name, destination in servers.items():
                if name not in setup.loaded.destinations:
                    destination.close()
    return {"ok": all(result["error"] is None for result in results), "connections": results}


def _media_servers(setup: Setup) -> dict[str, MediaDestination]:
    """The media servers that can be asked, by id; also those of connections that are paused or off."""
    found = {}
    for name, connection in setup.loaded.connections.items():
        destination = setup.loaded.destinations.get(name) or destinations.make(connection)
        if isinstance(destination, MediaDestination):
            found[name] = destination
        elif name not in setup.loaded.destinations:
            destination.close()
    return found


def _chosen(setup: Setup, names: list[str], wanted: str | None) -> list[str]:
    if wanted is None:
        return names
    if wanted in setup.loaded.unusable:
        raise BadInputError(f"{wanted} can't be used. {to_correct(setup.loaded.unusable[wanted])}")
    if wanted not in names:
        known = ", ".join(names) or "none"
        raise BadInputError(f"There is no media server {flat(wanted)!r}. Media servers: {known}.")
    return [wanted]


def _compare(context: Context, destination: MediaDestination, connection: Connection) -> dict[str, object]:
    """Compares one server, and returns the facts."""
    scenes = _Scenes(context.stash, connection)
    known = {"id": connection.id, "name": connection.entry.name}
    try:
        report = destination.library_report(scenes, lambda _: None)
    except DeliveryFailed as failed:
        return {**known, "error": failed.message, "groups": []}
    groups = [_group(report, group, connection) for group in GROUPS if report.counts[group]]
    return {**known, "error": None, "scenes": report.total, "left_out": scenes.left_out, "groups": groups}


def _group(report: LibraryReport, group: Group, connection: Connection) -> dict[str, object]:
    """The facts of one group."""
    what, how = TEXTS[group]
    kind = destinations.kinds()[connection.entry.kind]
    advice = how.replace("{server}", kind.NAME.partition(" (")[0])
    advice = advice.replace("{versions}", destinations.versions_advice(connection.entry.kind))
    return {
        "group": group,
        "scenes": report.counts[group],
        "text": what,
        "advice": advice,
        "examples": [
            {"scene": one.scene_id, "path": one.stash, "server_path": one.server, "why": one.why}
            for one in report.examples[group]
        ],
    }
