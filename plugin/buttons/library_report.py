"""The library report: what each media server has of Stash's scenes, and what would fix the rest.

It changes nothing, and needs neither queue nor worker. Stopping it costs nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from stash_courier.plugin import log
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

STASH_SHARE = 0.3  # of a connection's progress: reading Stash's scenes, which goes first


@dataclass(slots=True)
class _Scenes:
    """The scenes that a connection sends, read from Stash page by page; and how many there are."""

    stash: Stash
    connection: Connection
    begin: float  # progress before, and the share of one connection
    share: float
    sent: int = 0
    left_out: int = 0  # by filters

    def __iter__(self) -> Iterator[Scene]:
        for page in all_files(self.stash):
            for scene in page.items:
                wanted = passes(scene, self.connection.shared)
                self.sent += wanted
                self.left_out += not wanted
                if wanted:
                    yield scene
            part = page.examined / page.total if page.total else 1.0
            log.progress(self.begin + self.share * STASH_SHARE * part)

    def compared(self, files: int) -> None:
        """Moves the progress when the server has shown so many files. Most servers have about as many as Stash."""
        part = min(1.0, files / max(self.sent, 1))
        log.progress(self.begin + self.share * (STASH_SHARE + (1 - STASH_SHARE) * part))


def library_report(context: Context, arguments: Arguments) -> dict[str, object]:
    """Compares Stash's scenes with every media server, or with the one that the caller names."""
    with context.setup() as setup:
        problems = context.warn_of_settings(setup.problems)
        found = _media_servers(setup)
        chosen = _chosen(setup, sorted(found), arguments.connection)
        share = 1 / max(len(chosen), 1)
        try:
            results = [
                _compare(context, found[name], setup.loaded.connections[name], n * share, share)
                for n, name in enumerate(chosen)
            ]
        finally:
            for name, destination in found.items():
                if name not in setup.loaded.destinations:
                    destination.close()
    log.progress(1.0)
    return {"ok": all(result["error"] is None for result in results), "connections": results, "problems": problems}


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


def _compare(
    context: Context, destination: MediaDestination, connection: Connection, begin: float, share: float
) -> dict[str, object]:
    """What one server has."""
    scenes = _Scenes(context.stash, connection, begin, share)
    about = {"id": connection.id, "name": connection.entry.name}
    try:
        found = destination.library_report(scenes, scenes.compared)
    except DeliveryFailed as failed:
        return {**about, "error": failed.message, "groups": []}
    groups = [_group(found, group, connection) for group in GROUPS if found.counts[group]]
    return {**about, "error": None, "scenes": found.total, "left_out": scenes.left_out, "groups": groups}


def _group(found: LibraryReport, group: Group, connection: Connection) -> dict[str, object]:
    """One group of scenes, with what to do about it."""
    what, how = TEXTS[group]
    kind = destinations.kinds()[connection.entry.kind]
    advice = how.replace("{server}", kind.NAME.partition(" (")[0])
    advice = advice.replace("{versions}", destinations.versions_advice(connection.entry.kind))
    return {
        "group": group,
        "scenes": found.counts[group],
        "text": what,
        "advice": advice,
        "examples": [
            {"scene": one.scene_id, "path": one.stash, "server_path": one.server, "why": one.why}
            for one in found.examples[group]
        ],
    }
