"""The only module that talks to Stash: settings, scenes and ids, over its GraphQL API.

It reads and never changes anything in Stash. It doesn't wait and doesn't retry over time: when
Stash can't be asked now, it says so (StashUnavailable), and the worker decides when to come back.
What is asked and how answers read is in stash_queries.py, how Stash is reached in stash_wire.py.
"""

from __future__ import annotations

import datetime
import functools
import itertools
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from stash_courier.queue.files import CONNECTION
from stash_courier.queue.jobs import Scene
from stash_courier.worker.stash import queries
from stash_courier.worker.stash.queries import PluginState, SweepQuestion, WrongShape
from stash_courier.worker.stash.wire import Connection, LoginRefused, StashUnavailable, UnusableAnswer, Wire

__all__ = [
    "Connection",
    "FetchedScenes",
    "Listed",
    "PluginState",
    "ScenePage",
    "Stash",
    "StashUnavailable",
    "SweepPage",
    "SweepQuestion",
    "UnusableAnswer",
]

TITLES_AT_ONCE = 40  # scenes a request of titles(); each costs Stash some ten small queries
ZONES_SECONDS = 12 * 3600  # how far a server's clock text can lie behind UTC (UTC-12)


@dataclass(frozen=True, slots=True)
class FetchedScenes:
    """The scenes of one call, each id in exactly one of the two, and the state seen with them."""

    scenes: Mapping[int, Scene | None]  # None: Stash doesn't have it any more
    broken: Mapping[int, str]  # Stash fails on this one while it answers for others; a sentence
    state: PluginState


@dataclass(frozen=True, slots=True)
class ScenePage:
    """Some of the ids asked for, ascending, and how far the listing is."""

    ids: tuple[int, ...]
    examined: int  # scenes looked at so far, this page included
    total: int  # scenes to look at in all; with ``changed_since`` some of them don't qualify


@dataclass(frozen=True, slots=True)
class Listed:
    """A scene as a sweep lists it."""

    id: int
    updated_at: str  # Stash's own text
    moment: int  # the second it means, unix time
    zone: int  # seconds east of UTC in which it is written


@dataclass(frozen=True, slots=True)
class SweepPage:
    """Some scenes of a sweep, and the state seen with them."""

    scenes: tuple[Listed, ...]  # ids ascending
    last: bool  # nothing follows
    known: int | None  # scenes up to the id that was asked for; None if it wasn't
    zone: int | None  # Stash's own, seconds east of UTC, if it was asked and could be told
    state: PluginState
    asked_at: float  # wall time before it was asked, unix seconds


T = TypeVar("T")


class Stash:
    """Stash as the worker and the task buttons see it.

    May be used from several threads; requests go out one at a time, since Stash answers from one
    SQLite file and each answer renews the session's only cookie.

    Every method may raise StashUnavailable.
    """

    def __init__(self, data_dir: Path, *, timeout: float = 30.0, clock: Callable[[], float] = time.time) -> None:
        """Reads nothing yet.

        Args:
            data_dir: the folder with ``connection.json``.
            timeout: wall seconds that one request may take in all.
            clock: the wall time, unix seconds.
        """
        self._path = data_dir / CONNECTION
        self._timeout = timeout
        self._clock = clock
        self._lock = threading.Lock()
        self._wire: Wire | None = None
        self._told: Connection | None = None  # what connection.json said last
        self._login_needed = False
        self._asked_at: float | None = None  # wall time of the last request

    @property
    def folder(self) -> Path:
        """The data folder."""
        return self._path.parent

    def plugin_state(self) -> PluginState:
        """This plugin's settings and whether it is enabled."""
        return self._ask(queries.PLUGIN_STATE, {}, queries.read_state)

    def scenes(self, ids: Collection[int]) -> FetchedScenes:
        """The scenes as they are now and the plugin's state, in one request.

        Where Stash answers with errors it is asked again in halves, so that one broken scene
        stops no other; what comes beside errors is thrown away.
        """
        wanted = sorted(set(ids))
        try:
            batch = self._batch(wanted)
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
        """Titles, or file names without ending, for people; what Stash can't give is absent."""
        wanted = sorted(set(ids))
        found: dict[int, str] = {}
        for start in range(0, len(wanted), TITLES_AT_ONCE):
            batch = self.scenes(wanted[start : start + TITLES_AT_ONCE])
            found.update((i, scene.title_or_stem()) for i, scene in batch.scenes.items() if scene)
        return found

    def newest_scene(self) -> Scene | None:
        """The scene that was added last; None in an empty library."""
        return self._first_scene({}, "DESC")

    def newest_scenes(self, page_size: int = 25) -> Iterator[Scene]:
        """The scenes, those that were added last first; asked for page by page, as far as they are taken."""
        where: dict[str, object] = {}
        while True:
            found = self._some_scenes(where, "DESC", page_size)
            yield from found
            if len(found) < page_size:
                return
            where = {"id": {"value": found[-1].id, "modifier": "LESS_THAN"}}

    def cover(self, path: str) -> bytes:
        """A scene's cover; b"" if it has none (some versions give a drawing in SVG then).

        Args:
            path: path and query of the scene's ``cover_url``; it is asked of Stash alone, whatever host
                stood before it, since the key goes with it.
        """
        with self._lock:
            wire = self._current_wire()
            self._asked_at = self._clock()
            return self._with_credentials(wire, lambda: wire.cover(path))

    def scene_ids(self, *, changed_since: float | None = None, page_size: int = 1000) -> Iterator[ScenePage]:
        """The ids of all scenes, or of those changed at or after a time, page by page, ascending.

        Pages go by ``id > last``: a scene that is deleted or changed meanwhile makes none be
        skipped or come twice.

        Args:
            changed_since: wall time, unix seconds; Stash knows changes to the second. Stash
                compares ``updated_at`` as text in its own zone, so it is asked for 12 hours more
                (enough for every zone), and what is older is left out here.
            page_size: scenes a request.
        """
        where: dict[str, object] = {}
        if changed_since is not None:
            where["updated_at"] = {
                "value": _utc_text(int(changed_since) - ZONES_SECONDS - 1),
                "modifier": "GREATER_THAN",
            }
        last, examined, total = 0, 0, 0
        while True:
            variables = {
                "where": {**where, "id": {"value": last, "modifier": "GREATER_THAN"}},
                "how": {"per_page": page_size, "sort": "id", "direction": "ASC"},
            }
            found, count = self._ask(
                queries.scene_ids(count=examined == 0), variables, functools.partial(_read_page, last)
            )
            examined += len(found)
            total = max(total if count is None else count, examined)
            yield ScenePage(
                tuple(i for i, at in found if changed_since is None or at >= int(changed_since)),
                examined,
                total,
            )
            if len(found) < page_size:
                return
            last = found[-1][0]

    def sweep_page(self, question: SweepQuestion) -> SweepPage:
        """The next scenes of a sweep by id, in one request."""
        asked_at = self._clock()

        def read(data: Mapping[str, object]) -> SweepPage:
            found = tuple(_listed(*queries.read_listed(scene)) for scene in queries.read_found(data))
            _check_ascending(question.after, (scene.id for scene in found))
            return SweepPage(
                found,
                len(found) < question.scenes,
                queries.read_known(data),
                min((_zone(_time(text)) for text in queries.read_times(data)), default=None),
                queries.read_state(data),
                asked_at,
            )

        counts = question.known_up_to is not None
        text = queries.sweep_page(count=counts, times=question.times)
        return self._ask(text, question.variables(), read)

    def keep_alive_in(self) -> float | None:
        """Seconds until Stash must be asked something, so that the session is renewed; 0.0 if it must now.

        Each answer carries a fresh cookie (Stash's pkg/session).
        None with an API key, where Stash has no login, where its sessions don't expire, and
        before it answered for the first time. Counts from the last request, answered or not, so
        that a caller who pings whenever it is due doesn't hammer a Stash that is down.
        """
        wire = self._wire  # without the lock, which a question holds as long as it waits
        if wire is None or wire.api_key or not self._login_needed:
            return None
        if wire.max_age is None or self._asked_at is None:
            return None
        # A third: after one lost ping there is time for another. A clock that was set back tells
        # nothing about the session's age, so then it is due.
        waited = self._clock() - self._asked_at
        return max(0.0, wire.max_age / 3 - waited) if waited >= 0 else 0.0

    def close(self) -> None:
        """Lets go of the connection; a question under way ends at once, a later one connects anew."""
        wire, self._wire = self._wire, None  # without the lock, which that question holds
        if wire is not None:
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
            return FetchedScenes(scenes, broken, queries.read_state(data))

        return self._ask(queries.scenes_by_id(len(ids)), variables, read)

    def _in_halves(self, ids: Sequence[int]) -> FetchedScenes:
        """One request a half, down to the scenes that fail alone."""
        scenes: dict[int, Scene | None] = {}
        broken: dict[int, str] = {}
        state: PluginState | None = None
        parts = [list(ids)]
        while parts:
            part = parts.pop()
            try:
                batch = self._batch(part)
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
        """Whether Stash can give a scene beside these, so that the fault lies with them; None: it has none.

        The state alone would prove too little: it comes from Stash's configuration file, also
        when its database can't be read. Two neighbours are asked because one may be broken too.
        """
        answers = None
        for edge, modifier, direction in (
            (failed[0], "LESS_THAN", "DESC"),
            (failed[-1], "GREATER_THAN", "ASC"),
        ):
            try:
                if self._first_scene({"id": {"value": edge, "modifier": modifier}}, direction):
                    return True
            except UnusableAnswer:
                answers = False
        return answers

    def _first_scene(self, where: Mapping[str, object], direction: str) -> Scene | None:
        return next(iter(self._some_scenes(where, direction, 1)), None)

    def _some_scenes(self, where: Mapping[str, object], direction: str, count: int) -> list[Scene]:
        variables = {"where": where, "how": {"per_page": count, "sort": "id", "direction": direction}}
        fetched_at = self._clock()

        def read(data: Mapping[str, object]) -> list[Scene]:
            return [queries.read_scene(scene, fetched_at) for scene in queries.read_found(data)]

        return self._ask(queries.FIRST_SCENE, variables, read)

    # Asking

    def _ask(self, query: str, variables: Mapping[str, object], read: Callable[[Mapping[str, object]], T]) -> T:
        with self._lock:
            wire = self._current_wire()
            self._asked_at = self._clock()
            data = self._with_credentials(wire, lambda: wire.ask(query, variables))
            try:
                if "configuration" in data:
                    login = queries.read_login(data)
                    wire.api_key, self._login_needed = login.api_key, login.needed
                return read(data)
            except WrongShape as error:
                raise wire.wrong_shape(str(error)) from None

    def _current_wire(self) -> Wire:
        """The connection to where connection.json says that Stash is now."""
        try:
            told = Connection.read(self._path)
        except StashUnavailable:
            if self._wire is None:
                raise
            return self._wire  # the file went away or is being replaced; Stash needn't be
        if self._wire is None or self._told is None or told.url != self._told.url:
            if self._wire is not None:
                self._wire.close()
            self._wire = Wire(told, self._timeout)
        self._told = told
        return self._wire

    def _with_credentials(self, wire: Wire, ask: Callable[[], T]) -> T:
        """Asks with the credentials in use, and once more with others if those are refused."""
        try:
            return ask()
        except LoginRefused:
            if not self._change_credentials(wire):
                raise
            return ask()

    def _change_credentials(self, wire: Wire) -> bool:
        """Drops the key and takes the hook's cookie; False if that changes nothing.

        As long as the session in use is accepted it is kept: it is renewed by each answer, while
        the one in connection.json ages.
        """
        cookie = "" if self._told is None else self._told.cookie
        if not wire.api_key and wire.cookie == cookie:
            return False
        wire.api_key, wire.cookie = "", cookie
        return True


def _outage(reason: str) -> StashUnavailable:
    return StashUnavailable(
        f"Stash answers for none of its scenes ({reason}); deliveries wait until it does. Its own log may say more"
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


def _read_page(after: int, data: Mapping[str, object]) -> tuple[list[tuple[int, int]], int | None]:
    """Ids with the second of their last change, and the count if it was asked for."""
    found = [(i, int(_time(at).timestamp())) for i, at in map(queries.read_listed, queries.read_found(data))]
    _check_ascending(after, (i for i, _ in found))
    return found, queries.read_count(data)


def _check_ascending(after: int, ids: Iterable[int]) -> None:
    """Ids that don't ascend from the last page's would make a listing skip some or never end."""
    if any(one >= other for one, other in itertools.pairwise([after, *ids])):
        raise WrongShape("the scenes don't come by ascending id")


def _listed(scene_id: int, text: str) -> Listed:
    when = _time(text)
    return Listed(scene_id, text, int(when.timestamp()), _zone(when))


def _zone(when: datetime.datetime) -> int:
    offset = when.utcoffset()
    if offset is None:
        raise WrongShape("a time has no zone")
    return int(offset.total_seconds())


def _time(text: str) -> datetime.datetime:
    try:
        return datetime.datetime.fromisoformat(text)
    except ValueError as error:
        raise WrongShape("a time is none") from error


def _utc_text(seconds: int) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
