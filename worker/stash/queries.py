"""GraphQL queries for Stash and decoders for its answers.

No request is made here (client.py does that). tests/unit/test_stash_queries.py validates every query against
Stash's schema.
"""

from __future__ import annotations

import datetime
import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar
from urllib.parse import urlsplit, urlunsplit

from stash_courier.queue.jobs import Named, Scene, SceneFile, StashId
from stash_courier.worker.paths import is_windows
from stash_courier.worker.stash.answers import NULL, STATE, PluginState, WrongShape, read, read_list, read_text

T_co = TypeVar("T_co", covariant=True)


class HasId(Protocol):
    """A scene of any kind."""

    @property
    def id(self) -> int: ...


SceneT = TypeVar("SceneT", bound=HasId)

LONGEST = 1e12  # seconds of a file
HIGHEST_ID = 2**31 - 2  # filters take 32-bit numbers, and "up to" is written as "less than the next"
# paths.stream is left out because it contains the API key.
_SCENE = """
fragment SceneFields on Scene {
  id title code details director date rating100 organized urls created_at updated_at
  files { path size duration width height fingerprints { type value } }
  performers { id name }
  tags { id name }
  studio { id name }
  groups { group { id name } }
  stash_ids { endpoint stash_id }
  paths { screenshot }
}
"""

# The first scenes in a given order, with the state.
FIRST_SCENES = f"""
query FirstScenes($where: SceneFilterType, $how: FindFilterType) {{{STATE}
  findScenes(scene_filter: $where, filter: $how) {{ scenes {{ ...SceneFields }} }}
}}
{_SCENE}"""


LISTED = "id updated_at"


def listing(fields: str, *, count: bool) -> str:
    """The query for one page of scenes; ``count`` adds the number of all matching scenes, which costs a query."""
    return f"""
query SceneList($where: SceneFilterType, $how: FindFilterType) {{
  findScenes(scene_filter: $where, filter: $how) {{ {"count" if count else ""} scenes {{ {fields} }} }}
}}
"""


def sweep_page(*, count: bool) -> str:
    """The query for one page of a sweep; ``count`` adds the number of scenes that match ``$known``."""
    # Stash counts apart from the listing, so an empty page is enough for the count.
    counted = "  known: findScenes(scene_filter: $known, filter: { per_page: 0 }) { count }\n" if count else ""
    return f"""
query Sweep($where: SceneFilterType, $how: FindFilterType{", $known: SceneFilterType" if count else ""}) {{{STATE}
  findScenes(scene_filter: $where, filter: $how) {{ scenes {{ {LISTED} }} }}
{counted}}}
"""


def scenes_by_id(count: int) -> str:
    """The query for ``count`` scenes and the plugin's state in one request.

    The ids are variables (``$s0``, ``$s1`` …) and the scenes come back as ``s0``, ``s1`` …, so that all
    batches of one size share one text: Stash keeps the last 1,000 parsed queries in memory.
    ``findScenes(ids:)`` would fail as a whole if one scene is gone.
    """
    names = [f"s{n}" for n in range(count)]
    variables = ", ".join(f"${name}: ID!" for name in names)
    scenes = "\n".join(f"  {name}: findScene(id: ${name}) {{ ...SceneFields }}" for name in names)
    return f"query Scenes({variables}) {{{STATE}{scenes}\n}}\n{_SCENE}"


LIBRARY_FOLDERS = """
query LibraryFolders { configuration { general { apiKey username stashes { path excludeVideo } } } }"""


def in_folder(folder: str) -> dict[str, object]:
    """Stash's filter for scenes in a folder and below. It finds others too.

    Stash looks for the text anywhere in the path. Without quotes, each of its words is looked for.
    """
    separator = "\\" if is_windows(folder) and "/" not in folder else "/"
    return {"path": {"value": f'"{folder.rstrip(separator)}{separator}"', "modifier": "INCLUDES"}}


def any_order(count: int) -> dict[str, object]:
    """Stash's filter for ``count`` scenes in an order without a system, always the same."""
    return {"per_page": count, "sort": "random_20260105", "direction": "ASC"}


def changed_after(moment: float) -> str:
    """A text that sorts before the ``updated_at`` of every change since a moment (wall time, unix seconds).

    Stash compares ``updated_at`` as text, in the server's time zone. Local time is at most 12 hours behind UTC, in
    which this text is written, so 26 hours are always enough, also when the clocks or Stash's zone change.
    """
    watermark = datetime.datetime.fromtimestamp(int(moment), datetime.UTC) - datetime.timedelta(hours=26)
    return watermark.strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True, slots=True)
class SweepQuestion:
    """Which scenes a page of a sweep lists, by ascending id."""

    after: int = 0  # the last id of the previous page
    scenes: int = 1000  # at most
    up_to: int | None = None  # the highest id wanted
    changed_since: float | None = None  # only what changed since this wall time (and some of what changed before)
    added_after: int = 0  # … or has a higher id than this
    known_up_to: int | None = None  # also counts the scenes up to this id
    newest: bool = False  # in descending order

    def variables(self) -> dict[str, object]:
        """The variables of ``sweep_page``. A filter of Stash takes one AND or one OR, so they are nested."""
        where: dict[str, object] = {"id": above(self.after)}
        if self.changed_since is not None:
            changed = above(changed_after(self.changed_since))
            where["AND"] = {"updated_at": changed, "OR": {"id": above(self.added_after)}}
        elif self.up_to is not None:
            where["AND"] = {"id": below(self.up_to + 1)}
        known = {} if self.known_up_to is None else {"known": {"id": below(self.known_up_to + 1)}}
        return {"where": where, "how": by_id(self.scenes, descending=self.newest), **known}


def above(value: int | str) -> dict[str, object]:
    """Stash's criterion for ids or times greater than this."""
    return {"value": value, "modifier": "GREATER_THAN"}


def below(value: int) -> dict[str, object]:
    """Stash's criterion for ids less than this."""
    return {"value": value, "modifier": "LESS_THAN"}


def by_id(count: int, *, descending: bool = False) -> dict[str, object]:
    """Stash's filter for the first ``count`` scenes in the order of their ids."""
    return {"per_page": count, "sort": "id", "direction": "DESC" if descending else "ASC"}


@dataclass(frozen=True, slots=True)
class Listed:
    """A scene in a listing."""

    id: int
    updated_at: str  # Stash's own text
    moment: int  # the same, unix seconds


@dataclass(frozen=True, slots=True)
class FetchedScenes:
    """The scenes of one call, and the state read with them. Ask again for an id that is in neither mapping."""

    scenes: Mapping[int, Scene | None]  # None: Stash no longer has it
    broken: Mapping[int, str]  # Stash fails on this scene but not on others; a sentence
    state: PluginState


@dataclass(frozen=True, slots=True)
class Page(Generic[T_co]):
    """What a listing gives of some scenes, by ascending id, and its progress."""

    items: tuple[T_co, ...]
    examined: int  # scenes looked at so far, including this page
    total: int  # scenes to look at


@dataclass(frozen=True, slots=True)
class SweepPage:
    """Some scenes of a sweep, and the state read with them."""

    scenes: tuple[Listed, ...]  # ids ascending
    last: bool  # no page follows
    known: int | None  # number of scenes up to the given id; None if that wasn't asked
    state: PluginState
    asked_at: float  # wall time before the request, unix seconds


def read_count(data: Mapping[str, object], name: str) -> int:
    """The number of scenes that match the filter of a ``findScenes`` in an answer."""
    return int(read(data, f"{name}.count", int))


def read_page(data: Mapping[str, object], after: int, read_item: Callable[[object], SceneT]) -> tuple[SceneT, ...]:
    """The scenes of a page of a listing.

    Ids that don't ascend from ``after``, the last id of the previous page, are WrongShape: a listing would skip
    scenes or never end.
    """
    scenes = read_list(data, "findScenes.scenes", read_item)
    if any(one >= other for one, other in itertools.pairwise([after, *(scene.id for scene in scenes)])):
        raise WrongShape("the scenes aren't sorted by ascending id")
    return scenes


def read_listed(raw: object) -> Listed:
    """A scene of ``LISTED``."""
    updated_at = read(raw, "updated_at", str)
    try:
        return Listed(read_id(raw), updated_at, moment_of(updated_at))
    except WrongShape:
        raise
    except ValueError:
        raise WrongShape("updated_at is no time") from None


def moment_of(text: str) -> int:
    """A time as Stash writes it, in unix seconds. Raises ValueError if it is none."""
    when = datetime.datetime.fromisoformat(text)
    if when.tzinfo is None:
        raise ValueError("no time zone")
    return int(when.timestamp())


def read_scenes(data: Mapping[str, object], fetched_at: float) -> tuple[Scene, ...]:
    """The scenes of ``FIRST_SCENES``."""
    return read_list(data, "findScenes.scenes", lambda raw: read_scene(raw, fetched_at))


def read_folders(data: Mapping[str, object]) -> tuple[str, ...]:
    """The folders with videos in an answer to ``LIBRARY_FOLDERS``."""

    def folder(raw: object) -> str:
        return "" if read(raw, "excludeVideo", bool) else read_text(raw, "path")

    return tuple(filter(None, read_list(data, "configuration.general.stashes", folder)))


def read_scene(raw: object, fetched_at: float) -> Scene:
    """Decodes ``SceneFields``.

    What Stash may leave empty becomes "" or None. A promised field that is missing or has another type is
    WrongShape: an incomplete scene is never delivered.
    """
    return Scene(
        id=read_id(raw),
        title=read_text(raw, "title"),
        code=read_text(raw, "code"),
        details=read_text(raw, "details"),
        director=read_text(raw, "director"),
        date=read_text(raw, "date"),
        rating100=read(raw, "rating100", int, NULL),
        organized=read(raw, "organized", bool),
        urls=read_list(raw, "urls", _text),
        created_at=read(raw, "created_at", str),
        updated_at=read(raw, "updated_at", str),
        files=read_list(raw, "files", _file),  # Stash puts the primary file first
        performers=read_list(raw, "performers", read_named),
        tags=read_list(raw, "tags", read_named),
        studio=read_studio(raw),
        groups=read_list(raw, "groups", lambda row: read_named(read(row, "group", dict))),
        stash_ids=read_list(raw, "stash_ids", _stash_id),
        cover_url=_cover_url(read_text(raw, "paths.screenshot")),
        fetched_at=fetched_at,
    )


def _cover_url(url: str) -> str:
    """The cover's URL without credentials, because it is sent to other systems.

    ``t``, the time of the scene's last change, is kept so that caches notice a new cover. A URL that is not
    absolute http(s), as when Stash's external host is set without a scheme, is useless to others and becomes "".
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        raise WrongShape("paths.screenshot is no URL") from None
    if parts.scheme not in ("http", "https") or not parts.netloc:
        return ""
    kept = [p for p in parts.query.split("&") if p.partition("=")[0].lower() != "apikey"]
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "&".join(kept), parts.fragment))


def read_id(owner: object) -> int:
    """An object's id. GraphQL sends it as text; in Stash it is a row id of SQLite."""
    digits = str(read(owner, "id", str, int))
    if not (digits.isascii() and digits.isdigit() and len(digits) < 19):
        raise WrongShape("id is no number")
    return int(digits)


def read_named(raw: object) -> Named:
    """A performer, tag, studio or group."""
    return Named(str(read_id(raw)), read_text(raw, "name"))


def read_studio(raw: object) -> Named | None:
    """A scene's studio."""
    studio = read(raw, "studio", dict, NULL)
    return None if studio is None else read_named(studio)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise WrongShape("an item is no text")
    return value


def _file(raw: object) -> SceneFile:
    duration = read(raw, "duration", int, float)
    if not abs(duration) <= LONGEST:  # also if it isn't a number
        raise WrongShape("duration is no finite number")
    size, width, height = (read(raw, name, int) for name in ("size", "width", "height"))
    fingerprints = read_list(raw, "fingerprints", lambda row: (read(row, "type", str), read(row, "value", str)))
    return SceneFile(read(raw, "path", str), size, float(duration), width, height, fingerprints)


def _stash_id(raw: object) -> StashId:
    return StashId(read(raw, "endpoint", str), read(raw, "stash_id", str))
