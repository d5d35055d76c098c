"""GraphQL queries for Stash and decoders for its answers.

No request is made here (client.py does that). tests/unit/test_stash_queries.py validates every query against
Stash's schema.
"""

from __future__ import annotations

import datetime
import functools
import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

from stash_courier.queue.checks import DAMAGE, number, optional, text, typed
from stash_courier.queue.jobs import Named, Scene, SceneFile, StashId
from stash_courier.worker.paths import is_windows
from stash_courier.worker.stash.state import (
    STATE,
    WrongShape,
    an_object,
    any_text,
    checked,
    field_at,
    list_of,
)

T = TypeVar("T")

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

SAVE_SETTINGS = (
    "mutation SaveSettings($id: ID!, $settings: Map!) { configurePlugin(plugin_id: $id, input: $settings) }"
)

# The first scenes in a given order, with the state.
FIRST_SCENES = f"""
query FirstScenes($where: SceneFilterType, $how: FindFilterType) {{{STATE}
  findScenes(scene_filter: $where, filter: $how) {{ scenes {{ ...SceneFields }} }}
}}
{_SCENE}"""


def scene_ids(*, count: bool) -> str:
    """The query for one page of ids; ``count`` adds the number of all matching scenes, which costs a query."""
    return f"""
query SceneIds($where: SceneFilterType, $how: FindFilterType) {{
  findScenes(scene_filter: $where, filter: $how) {{ {"count" if count else ""} scenes {{ id updated_at }} }}
}}
"""


def sweep_page(*, count: bool) -> str:
    """The query for one page of a sweep; ``count`` adds the number of scenes that match ``$known``."""
    # Stash counts apart from the listing, so an empty page is enough for the count.
    counted = "  known: findScenes(scene_filter: $known, filter: { per_page: 0 }) { count }\n" if count else ""
    return f"""
query Sweep($where: SceneFilterType, $how: FindFilterType{", $known: SceneFilterType" if count else ""}) {{{STATE}
  findScenes(scene_filter: $where, filter: $how) {{ scenes {{ id updated_at }} }}
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


def read_count(data: Mapping[str, object], name: str) -> int:
    """The number of scenes that match the filter of a ``findScenes`` in an answer."""
    return field_at(data, f"{name}.count", _int)


def read_listed(data: Mapping[str, object], after: int) -> tuple[Listed, ...]:
    """The scenes of a page of ``scene_ids`` or ``sweep_page``.

    Ids that don't ascend from ``after``, the last id of the previous page, are WrongShape: a listing would skip
    scenes or never end.
    """
    scenes = field_at(data, "findScenes.scenes", list_of(_listed))
    if any(one >= other for one, other in itertools.pairwise([after, *(scene.id for scene in scenes)])):
        raise WrongShape("the scenes aren't sorted by ascending id")
    return scenes


def _listed(scene: object) -> Listed:
    updated_at, moment = field_at(scene, "updated_at", lambda value: (text(value), moment_of(value)))
    return Listed(field_at(scene, "id", _id), updated_at, moment)


def moment_of(value: object) -> int:
    """A time as Stash writes it, in unix seconds.

    Raises:
        ValueError, TypeError: it is none.
    """
    when = datetime.datetime.fromisoformat(text(value))
    if when.tzinfo is None:
        raise ValueError("no time zone")
    return int(when.timestamp())


def read_scenes(data: Mapping[str, object], fetched_at: float) -> tuple[Scene, ...]:
    """The scenes of ``FIRST_SCENES``."""
    return field_at(data, "findScenes.scenes", list_of(lambda raw: read_scene(raw, fetched_at)))


def read_folders(data: Mapping[str, object]) -> tuple[str, ...]:
    """The folders with videos in an answer to ``LIBRARY_FOLDERS``."""

    def folder(row: object) -> str:
        excluded = field_at(row, "excludeVideo", functools.partial(typed, bool))
        return "" if excluded else field_at(row, "path", text)

    return tuple(filter(None, field_at(data, "configuration.general.stashes", list_of(folder))))


def read_scene(raw: object, fetched_at: float) -> Scene:
    """Decodes ``SceneFields``.

    What Stash may leave empty becomes "" or None. A promised field that is missing or has another type is
    WrongShape: an incomplete scene is never delivered.
    """
    scene_id = checked("scene", raw, lambda scene: field_at(scene, "id", _id))
    values = checked(f"scene {scene_id}", raw, _scene_fields)
    return Scene(*(*values, fetched_at))


def _cover_url(value: object) -> str:
    """The cover's URL without credentials, because it is sent to other systems.

    ``t``, the time of the scene's last change, is kept so that caches notice a new cover. A URL that is not
    absolute http(s), as when Stash's external host is set without a scheme, is useless to others and becomes "".
    """
    parts = urlsplit(any_text(value))
    if parts.scheme not in ("http", "https") or not parts.netloc:
        return ""
    kept = [p for p in parts.query.split("&") if p.partition("=")[0].lower() != "apikey"]
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "&".join(kept), parts.fragment))


_int = functools.partial(typed, int)


def _id(value: object) -> int:
    """An id. GraphQL sends it as text; in Stash it is a row id of SQLite."""
    digits = str(value)
    if not (digits.isascii() and digits.isdigit() and len(digits) < 19):
        raise ValueError("not an id")
    return int(digits)


def _fields(**checks: Callable[[object], object]) -> Callable[[object], list[Any]]:
    """A check of an object that has these fields, each of which passes its own; it returns their values."""
    fields = tuple(checks.items())

    def check(owner: object) -> list[Any]:
        found = an_object(owner)
        try:
            return [field_check(found[key]) for key, field_check in fields]
        except (WrongShape, *DAMAGE):
            # Again, for the sentence. Without a frame for each field it takes a third of the time.
            for key, field_check in fields:
                field_at(found, key, field_check)
            raise

    return check


def _made_of(make: Callable[..., T], **checks: Callable[[object], object]) -> Callable[[object], T]:
    """A check of an object with these fields, which returns what is made of their values, in this order."""
    read = _fields(**checks)
    return lambda value: make(*read(value))


_named = _made_of(Named, id=lambda value: str(_id(value)), name=any_text)
_file = _made_of(
    SceneFile,
    path=text,
    size=_int,
    duration=number,
    width=_int,
    height=_int,
    fingerprints=list_of(_made_of(lambda kind, value: (kind, value), type=text, value=text)),
)
# In the order of the fields of Scene.
_scene_fields = _fields(
    id=_id,
    title=any_text,
    code=any_text,
    details=any_text,
    director=any_text,
    date=any_text,
    rating100=optional(_int),
    organized=functools.partial(typed, bool),
    urls=list_of(text),
    created_at=text,
    updated_at=text,
    files=list_of(_file),  # Stash puts the primary file first
    performers=list_of(_named),
    tags=list_of(_named),
    studio=optional(_named),
    groups=list_of(_made_of(lambda named: named, group=_named)),
    stash_ids=list_of(_made_of(StashId, endpoint=text, stash_id=text)),
    paths=_made_of(lambda url: url, screenshot=_cover_url),
)
