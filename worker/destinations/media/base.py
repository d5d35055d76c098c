"""What the destinations for media servers share: the frame of a delivery, covers, the test, the library report.

Test and report change nothing. Why scenes are missing is found out in missing.py.
"""

from __future__ import annotations

import abc
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from stash_courier.queue.failures import DeliveryFailed, Failure
from stash_courier.queue.jobs import Delivery, Scene
from stash_courier.worker.connections.model import Connection
from stash_courier.worker.destinations import NO_RECORDS, Delivered, Step, failed_step
from stash_courier.worker.destinations.media.api import MediaApi
from stash_courier.worker.destinations.media.libraries import Cached, Library, described, holder, none_holds
from stash_courier.worker.destinations.media.missing import (
    Findings,
    Missing,
    Rules,
    find_out,
    never_shown,
    never_there,
    not_there_yet,
    scenes_step,
    with_namesakes,
)
from stash_courier.worker.destinations.media.places import Place, file_name, places
from stash_courier.worker.destinations.media.record import Record
from stash_courier.worker.destinations.media.report import LibraryReport, Shown, Survey
from stash_courier.worker.destinations.media.settings import Server
from stash_courier.worker.destinations.media.state import COVER, FieldChange, value_lines
from stash_courier.worker.fields import Fix
from stash_courier.worker.http import container
from stash_courier.worker.stash.covers import Cover, cover_digest, image_type, may_have_changed

DENIED = (401, 403)
ABSENT = (Failure.NOT_THERE_YET, Failure.NEVER_THERE)
PROGRESS_FILES = 500


class Pictured(NamedTuple):
    """What became of an item's cover."""

    record: Record  # what the item has from us now
    sent: bool = False
    left: bool = False  # the owner locked it


class Known(NamedTuple):
    """Whether a server has an item for a scene."""

    found: bool
    groups: str = ""  # sentences, if it shows several files as one item; not found: the item is another scene's


class MediaDestination(abc.ABC):
    """One media server.

    Args:
        api: is closed with the destination.
        libraries: those that are searched.
        cover: fetches covers; None if none are sent.
    """

    libraries_field = ""  # the connection's field that names libraries

    def __init__(
        self,
        connection: Connection,
        server: Server,
        api: MediaApi,
        libraries: Cached[Sequence[Library]],
        cover: Cover | None = None,
    ) -> None:
        self.id = connection.id
        self.fingerprint = connection.fingerprint
        self.root = container.ROOT
        self._server = server
        self._name = server.name
        self._path_map = connection.path_map
        self._policy = connection.policy
        self._libraries = libraries
        self._names_libraries = bool(connection.entry.values.get(self.libraries_field))
        self._cover = cover
        self.close = api.close

    def deliver(self, delivery: Delivery, scene: Scene | None, record: bytes = b"") -> Delivered:
        """Updates the scene's item, or reports that its file is gone.

        Raises:
            DeliveryFailed: NOT_THERE_YET while the server has no item with the scene's path; ITEM_REFUSED if
                several items have it.
        """
        if scene is not None:
            known = Record.decode(record)
            try:
                return self._update(delivery, scene, self._places(scene), known)
            except DeliveryFailed as failed:
                if record and failed.failure in ABSENT:
                    # The item may come back as it was, with our locks, or be a new one without cover and lists.
                    failed.record = Record(fields=known.fields).encode()
                raise
        if where := places(delivery, None, self._path_map):  # else its last path is unknown
            self._delete(where)
        return Delivered()

    def test(
        self,
        scenes: Sequence[Scene],
        *,
        show_scene: bool = False,  # noqa: ARG002
        records: Mapping[int, bytes] = NO_RECORDS,
    ) -> Iterator[Step]:
        """Reports which server answers, whether it accepts the key, its libraries, and which scenes it has."""
        try:
            about = self._about()
        except DeliveryFailed as failed:
            if failed.status in DENIED:
                yield Step("reached", "ok", f"{self._server.host} answers.")
                yield failed_step("key", failed, "key")
            else:
                advice = container.hint(self._server.url, failed, self._name, self.root)
                yield failed_step("reached", failed, "url", advice)
            return
        yield Step("reached", "ok", f"{self._server.host} is {about}.")
        yield Step("key", "ok", f"It accepts {self._server.key_label}.")
        try:
            self._libraries.forget()
            libraries = self._libraries.get()
        except DeliveryFailed as failed:
            denied = failed.status in DENIED
            wrong = self._names_libraries and failed.status is None and failed.failure is Failure.DESTINATION
            fix = Fix("Search all libraries", {self.libraries_field: ""}) if wrong else None
            yield replace(failed_step("libraries", failed, "key" if denied else self.libraries_field), fix=fix)
            return
        if libraries:
            warnings = self._warnings(libraries)
            text = " ".join([self._listed(libraries), *warnings])
            yield Step("libraries", "warn" if warnings else "ok", text)
        else:
            yield Step("libraries", "warn", "It has no library, so it can't have any scene.")
        try:
            yield from self._test_scenes(scenes, records)
        except DeliveryFailed as failed:
            yield failed_step("scenes", failed)

    def preview(self, delivery: Delivery, scene: Scene | None) -> str:
        """The item, by its file, and the values that it would get."""
        where = places(delivery, scene, self._path_map)
        if not where:
            return f"Scene {delivery.scene_id} has no file in Stash, so {self._name} gets nothing."
        files = " or ".join(place.server for place in where)
        if scene is None:
            return f"{self._name} is told that {files} is gone."
        return "\n".join([f"file: {files}", *self._values(scene)])

    def library_report(self, scenes: Iterable[Scene], progress: Callable[[int], None]) -> LibraryReport:
        """What the server has of these scenes. Changes nothing.

        ``progress`` is told now and then how many files of the server were read.

        Raises:
            DeliveryFailed: the server can't be asked.
        """
        survey = Survey(self._path_map, self._libraries.get(), self._report_rules())
        for scene in scenes:
            survey.add(scene)
        for count, shown in enumerate(self._shown(), 1):
            survey.saw(shown)
            if count % PROGRESS_FILES == 0:
                progress(count)
        return survey.result()

    # What each server does. Every method may raise DeliveryFailed.

    @abc.abstractmethod
    def _update(self, delivery: Delivery, scene: Scene, where: Sequence[Place], record: Record) -> Delivered:
        """Updates the scene's item. ``record`` is what the last delivery knew of it."""

    @abc.abstractmethod
    def _delete(self, where: Sequence[Place]) -> None:
        """Reports that a scene's files are gone."""

    @abc.abstractmethod
    def _about(self) -> str:
        """Product, version and name of the server, for a sentence. Needs the key."""

    def _listed(self, libraries: Sequence[Library]) -> str:
        """Sentences: which libraries are searched."""
        return f"Libraries: {described(libraries)}."

    def _warnings(self, libraries: Sequence[Library]) -> list[str]:  # noqa: ARG002
        """Sentences: what the owner must know of these libraries."""
        return []

    def _look_ahead(self, where: Sequence[Place]) -> None:  # noqa: B027  # most need nothing
        """Prepares for ``_knows`` of all these places."""

    @abc.abstractmethod
    def _knows(self, scene: Scene, where: Sequence[Place]) -> Known:
        """Whether the server has an item for the scene, and whether that has other files too."""

    @abc.abstractmethod
    def _announce(self, where: Sequence[Place]) -> float | None:
        """Has the server look for files that it doesn't have.

        Returns seconds until it makes sense to look for them again, as ``Scans.ask``; None if it can't be asked.
        """

    def _why_never(self, path: str) -> str:  # noqa: ARG002
        """Why the server never makes an item of a file with this path, and what to do, for the end of a sentence.

        "" if it may, or if nothing certain is known. See names.py of the server.
        """
        return ""

    def _not_searched(self, path: str) -> str:  # noqa: ARG002
        """In which library that isn't searched a file is, and why that is so, in words; "" if it is in none."""
        return ""

    @abc.abstractmethod
    def _preview(self, scene: Scene, where: Sequence[Place], record: Record) -> list[str]:
        """Sentences: what a delivery would do to the scene's item, which the server has."""

    @abc.abstractmethod
    def _values(self, scene: Scene) -> list[str]:
        """What the scene's item would get, in lines; nothing is asked."""

    @abc.abstractmethod
    def _files_named(self, names: Collection[str]) -> Iterable[str]:
        """The server's paths of files that may have one of these names."""

    def _file_rules(self) -> Rules:
        """What this server does with the files of its libraries."""
        return Rules(self._why_never, self._not_searched)

    def _report_rules(self) -> Rules:
        """The same, with what the library report needs besides."""
        return self._file_rules()

    @abc.abstractmethod
    def _shown(self) -> Iterator[Shown]:
        """All files that the server shows, read page by page."""

    # Shared steps

    def _places(self, scene: Scene) -> tuple[Place, ...]:
        where = places(None, scene, self._path_map)
        if not where:
            raise DeliveryFailed(
                Failure.ITEM_REFUSED,
                f"Scene {scene.id} has no file in Stash, so it can't be found in {self._name}. Assign a file, or "
                "delete the scene.",
            )
        return where

    def _absent(self, delivery: Delivery, scene: Scene, where: Sequence[Place]) -> DeliveryFailed:
        """The failure if the server has no item at these places, which are announced to it if it is waited for."""
        never = never_shown(where, self._file_rules())
        possible = [place for place in where if place not in never]
        if not possible:
            return never_there(self._name, scene.id, never)
        waits = self._policy.waits_for(scene, time.time())
        again_in = self._announce(possible) if waits else None
        if again_in is not None:  # the longer it is unknown, the more rarely it is looked for
            again_in = max(again_in, delivery.not_found / 2)
        try:
            outside = none_holds(where, self._libraries.get())
        except DeliveryFailed:
            outside = ""
        return not_there_yet(self._name, scene.id, where, outside, again_in=again_in, waits=waits)

    def _may_send_cover(self, delivery: Delivery, scene: Scene) -> bool:
        return self._cover is not None and bool(scene.cover_url) and may_have_changed(delivery)

    def _send_cover(
        self, delivery: Delivery, scene: Scene, item: str, record: Record, send: Callable[[bytes, str], bool]
    ) -> Pictured:
        """Sends the cover and its media type, unless the item has it from us. ``send``: False if it was there."""
        if self._cover is None or not self._may_send_cover(delivery, scene):
            return Pictured(record)
        image = self._cover(scene.cover_url)
        media_type = image_type(image)
        if media_type is None:
            return Pictured(record)
        digest = cover_digest(self._server.url, item, image)
        sent = digest != record.cover and send(image, media_type)
        return Pictured(replace(record, cover=digest), sent)

    def _lines(self, scene: Scene, values: Iterable[FieldChange]) -> list[str]:
        """These values and the cover, in lines."""
        cover = [COVER] if self._cover is not None and scene.cover_url else []
        return value_lines([*values, *cover])

    # The test's steps about scenes

    def _test_scenes(self, scenes: Sequence[Scene], records: Mapping[int, bytes]) -> Iterator[Step]:
        if not scenes:
            yield Step("scenes", "ok", "Stash has no scene, so no path was looked up.")
            return
        self._look_ahead([place for scene in scenes for place in places(None, scene, self._path_map)])
        found: list[tuple[Scene, tuple[Place, ...]]] = []
        missing: list[Missing] = []
        grouped: list[tuple[str, Sequence[Place]]] = []
        refusals: dict[str, str] = {}  # one example of each kind
        counts: Counter[str] = Counter()  # of the others, by kind
        for scene in scenes:
            try:
                where = self._places(scene)
                known = self._knows(scene, where)
                if known.groups:
                    grouped.append((known.groups, where))
                if known.found:
                    found.append((scene, where))
                elif known.groups:
                    counts["shared"] += 1
                else:
                    missing.append(Missing(scene, where))
            except DeliveryFailed as failed:
                if failed.failure is not Failure.ITEM_REFUSED:
                    raise
                kind = "refused" if scene.files else "no file"
                refusals.setdefault(kind, failed.message)
                counts[kind] += 1
        kept = [place for _, where in found for place in where]
        yield self._counted(missing, kept, refusals, counts, found=len(found))
        if grouped:
            yield self._grouping(grouped, counts["shared"])
        if found:
            try:
                scene, where = found[0]
                record = Record.decode(records.get(scene.id, b""))
                yield Step("example", "ok", " ".join(self._preview(scene, where, record)))
            except DeliveryFailed as failed:
                yield failed_step("example", failed)

    def _grouping(self, grouped: Sequence[tuple[str, Sequence[Place]]], shared: int) -> Step:
        """The step that warns of items with several files. ``shared``: of how many scenes it is another's."""
        libraries = [holder((place.server for place in where), self._libraries.get()) for _, where in grouped]
        names = dict.fromkeys(library.name for library in libraries if library is not None)
        texts = [
            f"Scenes whose file shares another item: {shared}." if shared else "",
            f"Items with several files: {more}." if (more := len(grouped) - shared) else "",
            f"In: {', '.join(names)}." if names else "",
            grouped[0][0],
        ]
        return Step("shared", "warn", " ".join(filter(None, texts)), report=True)

    def _counted(
        self,
        missing: Sequence[Missing],
        kept: Sequence[Place],
        refusals: dict[str, str],
        others: Counter[str],  # kinds that missing.py doesn't find out
        *,
        found: int,
    ) -> Step:
        """The step that says how many scenes the server has, and why others are missing."""
        findings = Findings()
        if missing:
            try:
                findings = self._found_out(missing, kept)
            except DeliveryFailed as failed:
                refusals["no listing"] = failed.message
                findings = find_out(missing, kept, self._libraries.get(), self._path_map, self._file_rules())
        skips = self._policy.absent == "skip"
        return scenes_step(self._name, findings, refusals, others, found=found, skips=skips)

    def _found_out(self, missing: Sequence[Missing], kept: Sequence[Place]) -> Findings:
        """Why scenes are missing. ``kept``: places of scenes that the server has."""
        rules = self._file_rules()
        looked_for = (one.where for one in missing if len(never_shown(one.where, rules)) < len(one.where))
        names = {file_name(place.server) for where in looked_for for place in where}
        named = with_namesakes(missing, self._files_named(names) if names else ())
        return find_out(named, kept, self._libraries.get(), self._path_map, rules)
