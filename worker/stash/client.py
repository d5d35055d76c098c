"""The only module that asks Stash: for settings, scenes and ids, through its GraphQL API.

It changes nothing in Stash but the plugin's settings, and those only for a button. It doesn't wait or retry: if
Stash can't be asked now it raises StashUnavailable, and the worker decides when to try again. queries.py has the
queries and decoders, wire.py the transport.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

from stash_courier.queue.inbox.files import STASH
from stash_courier.queue.jobs import Scene
from stash_courier.worker.stash import answers, queries
from stash_courier.worker.stash.address import KEY, NamedStash, StashAddress, StashUnavailable
from stash_courier.worker.stash.answers import PluginState, WrongShape
from stash_courier.worker.stash.pace import Pace
from stash_courier.worker.stash.queries import FetchedScenes, Page, SceneT, SweepPage, SweepQuestion
from stash_courier.worker.stash.wire import LoginRefused, TimedOut, UnusableAnswer, Wire

__all__ = ["FetchedScenes", "PluginState", "Stash", "StashUnavailable", "SweepPage"]

EVERYTHING: Mapping[str, object] = MappingProxyType({})
SCENES_PER_REQUEST = 40  # each costs Stash about ten small database queries


T = TypeVar("T")


class Stash:
    """A client for the worker and the task buttons.

    Safe to use from several threads. Queries go out one at a time, because Stash answers from one SQLite file
    and each answer renews the session's only cookie. Covers don't wait for them, nor for each other. Every method
    may raise StashUnavailable.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        timeout: float = 30.0,
        clock: Callable[[], float] = time.time,
        named: NamedStash | None = None,
    ) -> None:
        """Does no I/O.

        Args:
            data_dir: the folder with ``stash.json``.
            timeout: seconds for one request, up to the last byte of the answer.
            clock: wall time, unix seconds.
            named: what the environment names in place of ``stash.json``.
        """
        self.pace = Pace()
        self._named = named or NamedStash()
        self._path = data_dir / STASH
        self._timeout = timeout
        self._clock = clock
        self._lock = threading.Lock()
        self._address: StashAddress | None = None  # as stash.json named it last
        self._wire: Wire | None = None  # for queries
        self._covers_lock = threading.Lock()
        self._cover_wires: set[Wire] = set()  # in use
        self._login_needed = False
        self._asked_at: float | None = None  # wall time of the last request
        self._written_at = 0  # of stash.json at the last request: mtime in nanoseconds

    def plugin_state(self) -> PluginState:
        """This plugin's settings and whether it is enabled."""
        began = time.monotonic()
        found = self.ask(answers.PLUGIN_STATE, {}, answers.read_state)
        self.pace.answered((), time.monotonic() - began)
        return found

    def scenes(self, ids: Collection[int]) -> FetchedScenes:
        """The scenes as they are now and the plugin's state. Give at most ``pace.scenes`` ids.

        If Stash answers with errors, it is asked again for half of the scenes at a time, so that one broken
        scene doesn't stop the others. Data that comes with errors is not used. If Stash doesn't answer in time but
        gives the state, it is slow or hangs at one scene: all are left for later calls, in smaller parts.
        """
        wanted = self.pace.choose(sorted(set(ids)))
        try:
            batch = self._batch(wanted)
        except TimedOut:
            batch = self._late(wanted)
        except UnusableAnswer as error:
            if self._answers_for_another(wanted) is False:
                raise _outage(error.reason) from None
            batch = self._in_halves(wanted)
        if batch.broken and not batch.scenes:
            answers = self._answers_for_another(wanted)
            if answers is False or (answers is None and len(wanted) > 1):
                raise _outage(next(iter(batch.broken.values())))
        return batch

    def titles(self, ids: Collection[int]) -> Mapping[int, str]:
        """Titles for people, or file names without extension. Scenes that Stash can't give soon are absent."""
        return {scene.id: scene.title_or_stem() for scene in self.available(sorted(set(ids)))}

    def available(self, ids: Sequence[int]) -> list[Scene]:
        """Of these scenes, in this order, those that Stash can give soon."""
        found: dict[int, Scene | None] = {}
        left = list(ids)
        while left:
            part = left[: min(SCENES_PER_REQUEST, self.pace.scenes)]
            batch = self.scenes(part)
            found |= batch.scenes
            if len(batch.scenes) + len(batch.broken) < len(part):
                break
            left = left[len(part) :]
        return [scene for i in ids if (scene := found.get(i)) is not None]

    def newest_scenes(self, page_size: int = 25) -> Iterator[Scene]:
        """All scenes, newest first. A page is requested when the iteration reaches it."""
        where: dict[str, object] = {}
        while True:
            found = self._some_scenes(where, page_size, descending=True)
            yield from found
            if len(found) < page_size:
                return
            where = {"id": queries.below(found[-1].id)}

    def cover(self, path: str) -> bytes:
        """A scene's cover; b"" if it has none (for which some versions of Stash send an SVG placeholder).

        ``path`` is the path and query of the scene's ``cover_url``. The host is always Stash's own, because the
        request carries the API key. It carries the credentials of the queries, but the cookie in its answer is not
        used: the one that the queries renew stays valid, and there is only one place that replaces it.
        """
        address = self._read_address()
        wire = Wire(address, self._timeout)  # of its own, so one that hangs delays no other
        queries_wire = self._wire  # without the lock, which is held while a query waits for its answer
        if queries_wire is not None and queries_wire.base_url == wire.base_url:
            wire.api_key, wire.cookie = queries_wire.api_key, queries_wire.cookie
        with self._covers_lock:
            self._cover_wires.add(wire)
        try:
            return _with_login(wire, address, lambda wire: wire.cover(path))
        finally:
            with self._covers_lock:
                self._cover_wires.discard(wire)
            wire.close()

    def scene_ids(self, *, changed_since: float | None = None, page_size: int = 1000) -> Iterator[Page[int]]:
        """The ids of all scenes, or of those changed at or after a time (unix seconds).

        Of ``changed_since`` whole seconds count; what Stash lists from before it is left out.
        """
        where: dict[str, object] = {}
        if changed_since is not None:
            where["updated_at"] = queries.above(queries.changed_after(changed_since))
        for page in self.pages(queries.LISTED, queries.read_listed, page_size, where):
            ids = (s.id for s in page.items if changed_since is None or s.moment >= int(changed_since))
            yield Page(tuple(ids), page.examined, page.total)

    def pages(
        self,
        fields: str,
        read_item: Callable[[object], SceneT],
        page_size: int,
        where: Mapping[str, object] = EVERYTHING,
    ) -> Iterator[Page[SceneT]]:
        """All scenes that match a filter, with these fields, by ascending id.

        Pages follow each other by ``id > last``, so no scene is skipped or listed twice when others are deleted or
        changed meanwhile.
        """
        last = examined = total = 0

        def read(data: Mapping[str, object]) -> tuple[tuple[SceneT, ...], int]:
            found = queries.read_page(data, last, read_item)
            return found, total if examined else queries.read_count(data, "findScenes")

        while True:
            variables = {"where": {**where, "id": queries.above(last)}, "how": queries.by_id(page_size)}
            found, total = self.ask(queries.listing(fields, count=examined == 0), variables, read)
            examined += len(found)
            total = max(total, examined)
            yield Page(found, examined, total)
            if len(found) < page_size:
                return
            last = found[-1].id

    def sweep_page(self, question: SweepQuestion) -> SweepPage:
        """The next page of a sweep, in one request."""
        asked_at = self._clock()
        counts = question.known_up_to is not None

        def read(data: Mapping[str, object]) -> SweepPage:
            scenes = queries.read_page(data, question.after, queries.read_listed)
            known = queries.read_count(data, "known") if counts else None
            return SweepPage(scenes, len(scenes) < question.scenes, known, answers.read_state(data), asked_at)

        return self.ask(queries.sweep_page(count=counts), question.variables(), read)

    def keep_alive_in(self) -> float | None:
        """Seconds until Stash must be asked something to renew the session; 0.0 if it is due.

        Each answer carries a fresh cookie (Stash's pkg/session). Counts from the last request, answered or
        not, so that pings don't hammer a Stash that is down. None if there is nothing to renew: an API key is in
        use, Stash has no login, its sessions don't expire, or it hasn't answered yet.
        """
        wire = self._wire  # without the lock, which is held while a request waits for its answer
        if (
            wire is None
            or wire.api_key
            or wire.max_age is None
            or self._asked_at is None
            or not self._login_needed
        ):
            return None
        # A third of the session: after a lost ping there is time for another. After the clock was set back
        # the age of the session is unknown, so a ping is due.
        waited = self._clock() - self._asked_at
        return max(0.0, wire.max_age / 3 - waited) if waited >= 0 else 0.0

    def has_new_address(self) -> bool:
        """Whether stash.json was written since the last request, so that there may be a fresh session."""
        return self._written() != self._written_at

    def close(self) -> None:
        """Closes the connections. Requests in progress end at once; later ones connect again."""
        wire, self._wire = self._wire, None  # without the lock, which that request holds
        if wire is not None:
            wire.close()
        with self._covers_lock:
            covers = list(self._cover_wires)
        for wire in covers:
            wire.close()

    # Scenes

    def _batch(self, ids: Sequence[int]) -> FetchedScenes:
        if not ids:
            return FetchedScenes({}, {}, self.plugin_state())
        variables = {f"s{n}": str(scene_id) for n, scene_id in enumerate(ids)}
        fetched_at = self._clock()

        def read(data: Mapping[str, object]) -> FetchedScenes:
            scenes: dict[int, Scene | None] = {}
            broken: dict[int, str] = {}
            for n, scene_id in enumerate(ids):
                try:
                    scenes[scene_id] = _read_one(data, f"s{n}", scene_id, fetched_at)
                except WrongShape as error:
                    broken[scene_id] = f"Stash's answer for scene {scene_id} can't be used: {error}"
            return FetchedScenes(scenes, broken, answers.read_state(data))

        began = time.monotonic()
        batch = self.ask(queries.scenes_by_id(len(ids)), variables, read)
        self.pace.answered(ids, time.monotonic() - began)
        return batch

    def _late(self, ids: Sequence[int]) -> FetchedScenes:
        """What is known when Stash didn't answer for these scenes in time. Raises if it answers nothing at all."""
        self.pace.timed_out(ids, self._timeout)  # also if Stash is away: perhaps the request was too much for it
        state = self.plugin_state()
        broken = {}
        if len(ids) == 1:
            broken[ids[0]] = f"Stash doesn't answer for scene {ids[0]} within {self._timeout:g} s"
        return FetchedScenes({}, broken, state)

    def _in_halves(self, ids: Sequence[int]) -> FetchedScenes:
        """One request per half, down to the single scenes that fail."""
        scenes: dict[int, Scene | None] = {}
        broken: dict[int, str] = {}
        state: PluginState | None = None
        parts = [list(ids)]
        while parts:
            part = parts.pop()
            try:
                batch = self._batch(part)
            except TimedOut:
                self.pace.timed_out(part, self._timeout)
                break  # the rest is left for later calls
            except UnusableAnswer as error:
                if len(part) == 1:
                    broken[part[0]] = f"Stash can't give scene {part[0]}: {error.reason}"
                else:
                    middle = len(part) // 2
                    parts += [part[middle:], part[:middle]]
                continue
            scenes.update(batch.scenes)
            broken.update(batch.broken)
            state = batch.state
        return FetchedScenes(scenes, broken, state or self.plugin_state())

    def _answers_for_another(self, failed: Sequence[int]) -> bool | None:
        """Whether Stash can give a scene other than these, so that these are at fault; None: it has no other.

        A state would not prove that: it comes from Stash's configuration file, even when the database can't be
        read. Two neighbors are asked for, because one may be broken too.
        """
        answers = None
        for where, descending in ((queries.below(failed[0]), True), (queries.above(failed[-1]), False)):
            try:
                if self._some_scenes({"id": where}, 1, descending=descending):
                    return True
            except (TimedOut, UnusableAnswer):
                answers = False
        return answers

    def _some_scenes(self, where: Mapping[str, object], count: int, *, descending: bool) -> Sequence[Scene]:
        variables = {"where": where, "how": queries.by_id(count, descending=descending)}
        fetched_at = self._clock()
        return self.ask(queries.FIRST_SCENES, variables, lambda data: queries.read_scenes(data, fetched_at))

    # Asking

    def ask(self, query: str, variables: Mapping[str, object], read: Callable[[Mapping[str, object]], T]) -> T:
        """Asks on the one connection for queries. ``read`` decodes the answer, or raises WrongShape."""

        def ask(wire: Wire) -> T:
            data = wire.ask(query, variables)
            try:
                if "configuration" in data:
                    login = answers.read_login(data)
                    wire.api_key, self._login_needed = login.api_key, login.needed
                return read(data)
            except WrongShape as error:
                raise wire.wrong_shape(str(error)) from None

        with self._lock:
            self._written_at = self._written()
            address, wire = self._read_address(), self._wire
            if wire is None or wire.base_url != address.url:
                if wire is not None:
                    wire.close()
                self._wire = wire = Wire(address, self._timeout)
            self._asked_at = self._clock()
            return _with_login(wire, address, ask)

    def _written(self) -> int:
        try:
            return self._path.stat().st_mtime_ns
        except OSError:
            return 0

    def _read_address(self) -> StashAddress:
        """The address and cookie that stash.json names now; the last ones while it can't be read."""
        try:
            self._address = self._named.address(self._path)
        except StashUnavailable:
            if self._address is None:
                raise  # otherwise the file is gone or being replaced, but Stash may still be there
        return self._address


def _with_login(wire: Wire, address: StashAddress, ask: Callable[[Wire], T]) -> T:
    """Asks with the credentials in use. If they are refused, asks once more with the hook's cookie.

    A session is used until it is refused: each answer renews it, while the one in stash.json ages.
    """
    try:
        return ask(wire)
    except LoginRefused:
        if (wire.api_key, wire.cookie) == (address.api_key, address.cookie):
            if wire.api_key:
                raise _key_refused(wire.base_url) from None
            raise
    wire.api_key, wire.cookie = address.api_key, address.cookie
    return ask(wire)


def _key_refused(url: str) -> LoginRefused:
    return LoginRefused(
        f"Stash at {url} refuses {KEY} (401); deliveries wait. Correct it and restart this worker; the key is in "
        "Stash at Settings > Security"
    )


def _outage(reason: str) -> StashUnavailable:
    return StashUnavailable(
        f"Stash can read none of its scenes ({reason}); deliveries wait until it can. Its own log may say more"
    )


def _read_one(data: Mapping[str, object], name: str, scene_id: int, fetched_at: float) -> Scene | None:
    if name not in data:
        raise WrongShape("it is missing")
    if data[name] is None:
        return None
    scene = queries.read_scene(data[name], fetched_at)
    if scene.id != scene_id:
        raise WrongShape(f"it is that of scene {scene.id}")
    return scene
