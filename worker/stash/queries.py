"""GraphQL queries for Stash and decoders for its answers.

No request is made here (client.py does that). tests/unit/test_stash_queries.py validates every query against
Stash's schema.
"""

from __future__ import annotations

import datetime
import functools
import itertools
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

from stash_courier.queue.checks import DAMAGE, number, optional, text, typed
from stash_courier.queue.jobs import Named, Scene, SceneFile, StashId
from stash_courier.worker import package
from stash_courier.worker.paths import is_windows

# The plugin's own settings, and those of a copy by hand, which apply while its own are empty.
SETTINGS_OF = [*dict.fromkeys((package.ID, package.CHECKOUT))]
HIGHEST_ID = 2**31 - 2  # filters take 32-bit numbers, and "up to" is written as "less than the next"

# Every state includes the API key and the user name, so that a new or changed key is known without
# another request.
_STATE = f"""
  configuration {{ general {{ apiKey username }} plugins(include: {json.dumps(SETTINGS_OF)}) }}
  plugins {{ id name enabled }}
"""

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

PLUGIN_STATE = f"query PluginState {{{_STATE}}}"

SAVE_SETTINGS = (
    "mutation SaveSettings($id: ID!, $settings: Map!) { configurePlugin(plugin_id: $id, input: $settings) }"
)

# The first scenes in a given order, with the state.
FIRST_SCENES = f"""
query FirstScenes($where: SceneFilterType, $how: FindFilterType) {{{_STATE}
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
query Sweep($where: SceneFilterType, $how: FindFilterType{", $known: SceneFilterType" if count else ""}) {{{_STATE}
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
    return f"query Scenes({variables}) {{{_STATE}{scenes}\n}}\n{_SCENE}"


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


class WrongShape(ValueError):
    """An answer doesn't match Stash's schema; the message says where."""


@dataclass(frozen=True, slots=True)
class PluginState:
    """What Stash knows about this plugin."""

    settings: Mapping[str, object]  # as stored; settings without a value are absent
    enabled: bool  # also False if Stash hasn't loaded the plugin
    borrowed: bool = False  # the settings are those of a copy by hand, because its own are empty
    copies: tuple[str, ...] = ()  # ids of other enabled plugins with this plugin's name


@dataclass(frozen=True, slots=True)
class Login:
    """What Stash requires of its clients."""

    api_key: str = field(repr=False)  # "" if there is none
    needed: bool  # False: Stash has no user name, so it asks for no credentials


@dataclass(frozen=True, slots=True)
class Listed:
    """A scene in a listing."""

    id: int
    updated_at: str  # Stash's own text
    moment: int  # the same, unix seconds


def read_state(data: Mapping[str, object]) -> PluginState:
    """The plugin's state from an answer with ``_STATE``; WrongShape if it isn't complete."""
    stored = _field(data, "configuration.plugins", _object)
    found = {one: _checked(one, stored[one], _object) for one in SETTINGS_OF if stored.get(one)}
    used = next(iter(found), package.ID)
    # null: Stash has loaded no plugins
    plugins = _field(data, "plugins", optional(_all(_object))) or ()
    enabled = [plugin for plugin in plugins if plugin.get("enabled") is True]
    copies = [str(one["id"]) for one in enabled if one.get("name") == package.NAME and one["id"] != package.ID]
    itself = any(plugin.get("id") == package.ID for plugin in enabled)
    return PluginState(found.get(used, {}), itself, used != package.ID, tuple(sorted(copies)))


def read_login(data: Mapping[str, object]) -> Login:
    """The credentials to use from now on, from an answer with ``_STATE``."""
    key, user = (_field(data, f"configuration.general.{name}", _text) for name in ("apiKey", "username"))
    return Login(key, needed=user != "")


def read_count(data: Mapping[str, object], name: str) -> int:
    """The number of scenes that match the filter of a ``findScenes`` in an answer."""
    return _field(data, f"{name}.count", _int)


def read_listed(data: Mapping[str, object], after: int) -> tuple[Listed, ...]:
    """The scenes of a page of ``scene_ids`` or ``sweep_page``.

    Ids that don't ascend from ``after``, the last id of the previous page, are WrongShape: a listing would skip
    scenes or never end.
    """
    scenes = _field(data, "findScenes.scenes", _all(_listed))
    if any(one >= other for one, other in itertools.pairwise([after, *(scene.id for scene in scenes)])):
        raise WrongShape("the scenes aren't sorted by ascending id")
    return scenes


def _listed(scene: object) -> Listed:
    updated_at, moment = _field(scene, "updated_at", lambda value: (text(value), _moment(text(value))))
    return Listed(_field(scene, "id", _id), updated_at, moment)


def _moment(value: str) -> int:
    when = datetime.datetime.fromisoformat(value)
    if when.tzinfo is None:
        raise ValueError("no time zone")
    return int(when.timestamp())


def read_scenes(data: Mapping[str, object], fetched_at: float) -> tuple[Scene, ...]:
    """The scenes of ``FIRST_SCENES``."""
    return _field(data, "findScenes.scenes", _all(lambda raw: read_scene(raw, fetched_at)))


def read_folders(data: Mapping[str, object]) -> tuple[str, ...]:
    """The folders with videos in an answer to ``LIBRARY_FOLDERS``."""

    def folder(row: object) -> str:
        excluded = _field(row, "excludeVideo", functools.partial(typed, bool))
        return "" if excluded else _field(row, "path", text)

    return tuple(filter(None, _field(data, "configuration.general.stashes", _all(folder))))


def read_scene(raw: object, fetched_at: float) -> Scene:
    """Decodes ``SceneFields``.

    What Stash may leave empty becomes "" or None. A promised field that is missing or has another type is
    WrongShape: an incomplete scene is never delivered.
    """
    scene_id = _checked("scene", raw, lambda scene: _field(scene, "id", _id))
    values = _checked(f"scene {scene_id}", raw, _scene_fields)
    return Scene(*(*values, fetched_at))


def _cover_url(value: object) -> str:
    """The cover's URL without credentials, because it is sent to other systems.

    ``t``, the time of the scene's last change, is kept so that caches notice a new cover. A URL that is not
    absolute http(s), as when Stash's external host is set without a scheme, is useless to others and becomes "".
    """
    parts = urlsplit(_text(value))
    if parts.scheme not in ("http", "https") or not parts.netloc:
        return ""
    kept = [p for p in parts.query.split("&") if p.partition("=")[0].lower() != "apikey"]
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "&".join(kept), parts.fragment))


def _text(value: object) -> str:
    return "" if value is None else text(value)


_int = functools.partial(typed, int)
_object = functools.partial(typed, dict)


def _id(value: object) -> int:
    """An id. GraphQL sends it as text; in Stash it is a row id of SQLite."""
    digits = str(value)
    if not (digits.isascii() and digits.isdigit() and len(digits) < 19):
        raise ValueError("not an id")
    return int(digits)


T = TypeVar("T")


def _all(check: Callable[[object], T]) -> Callable[[object], tuple[T, ...]]:
    def check_all(value: object) -> tuple[T, ...]:
        found = typed(list, value)
        try:
            return tuple(map(check, found))
        except (WrongShape, *DAMAGE):
            return tuple(_checked("item", item, check) for item in found)  # again, for the sentence

    return check_all


def _field(owner: object, path: str, check: Callable[[object], T]) -> T:
    """The value at a path of keys, like ``paths.screenshot``. A missing key is WrongShape, not null."""
    key, _, rest = path.partition(".")
    found = _object(owner)
    if key not in found:
        raise WrongShape(f"{key} is missing")
    return _checked(key, found[key], (lambda inner: _field(inner, rest, check)) if rest else check)


def _checked(name: str, value: object, check: Callable[[object], T]) -> T:
    """A value that passes a check. The error has only its type, because the value may be a secret."""
    try:
        return check(value)
    except WrongShape as error:
        raise WrongShape(f"{name}: {error}") from None
    except DAMAGE:
        raise WrongShape(f"{name} is {'null' if value is None else f'of type {type(value).__name__}'}") from None


def _fields(**checks: Callable[[object], object]) -> Callable[[object], list[Any]]:
    """A check of an object that has these fields, each of which passes its own; it returns their values."""
    fields = tuple(checks.items())

    def check(owner: object) -> list[Any]:
        found = _object(owner)
        try:
            return [field_check(found[key]) for key, field_check in fields]
        except (WrongShape, *DAMAGE):
            # Again, for the sentence. Without a frame for each field it takes a third of the time.
            for key, field_check in fields:
                _field(found, key, field_check)
            raise

    return check


def _made_of(make: Callable[..., T], **checks: Callable[[object], object]) -> Callable[[object], T]:
    """A check of an object with these fields, which returns what is made of their values, in this order."""
    read = _fields(**checks)
    return lambda value: make(*read(value))


_named = _made_of(Named, id=lambda value: str(_id(value)), name=_text)
_file = _made_of(
    SceneFile,
    path=text,
    size=_int,
    duration=number,
    width=_int,
    height=_int,
    fingerprints=_all(_made_of(lambda kind, value: (kind, value), type=text, value=text)),
)
# In the order of the fields of Scene.
_scene_fields = _fields(
    id=_id,
    title=_text,
    code=_text,
    details=_text,
    director=_text,
    date=_text,
    rating100=optional(_int),
    organized=functools.partial(typed, bool),
    urls=_all(text),
    created_at=text,
    updated_at=text,
    files=_all(_file),  # Stash puts the primary file first
    performers=_all(_named),
    tags=_all(_named),
    studio=optional(_named),
    groups=_all(_made_of(lambda named: named, group=_named)),
    stash_ids=_all(_made_of(StashId, endpoint=text, stash_id=text)),
    paths=_made_of(lambda url: url, screenshot=_cover_url),
)
