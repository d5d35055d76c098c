"""GraphQL queries for Stash and decoders for its answers.

No request is made here (client.py does that). tests/unit/test_stash_queries.py validates every query against
Stash's schema.
"""

from __future__ import annotations

import datetime
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar
from urllib.parse import urlsplit, urlunsplit

from stash_courier.queue.jobs import Named, Scene, SceneFile, StashId

SWEEP_SCENES = 1000  # per page: ids and times only
HIGHEST_ID = 2**31 - 2  # filters take 32-bit numbers, and "up to" is written as "less than the next"
WATERMARK_MARGIN = datetime.timedelta(hours=26)  # see changed_after
PLUGIN_ID = "stash_plugin"  # the manifest's file name without its extension

# Every state includes the API key and the user name, so that a new or changed key is known without
# another request.
_STATE = """
  configuration { general { apiKey username } plugins(include: ["stash_plugin"]) }
  plugins { id enabled }
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


def changed_after(moment: float) -> str:
    """A text that sorts before the ``updated_at`` of every change since a moment.

    Stash stores ``updated_at`` in the server's time zone and compares it as text, that is by local time.
    Local time is at most 12 hours behind UTC, in which this text is written, so 26 hours are always enough,
    also when the clocks change or Stash moves to another zone.

    Args:
        moment: wall time, unix seconds.
    """
    watermark = datetime.datetime.fromtimestamp(int(moment), datetime.UTC) - WATERMARK_MARGIN
    return watermark.strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True, slots=True)
class SweepQuestion:
    """Which scenes a page of a sweep lists, by ascending id."""

    after: int = 0  # the last id of the previous page
    scenes: int = SWEEP_SCENES  # at most
    up_to: int | None = None  # the highest id wanted
    changed_since: float | None = None  # only what changed since this wall time (and some of what changed before)
    added_after: int = 0  # … or has a higher id than this
    known_up_to: int | None = None  # also counts the scenes up to this id
    newest: bool = False  # in descending order

    def variables(self) -> dict[str, object]:
        """The variables of ``sweep_page``. A filter of Stash takes one AND or one OR, so they are nested."""
        where: dict[str, object] = {"id": _above(self.after)}
        if self.changed_since is not None:
            changed = {"value": changed_after(self.changed_since), "modifier": "GREATER_THAN"}
            where["AND"] = {"updated_at": changed, "OR": {"id": _above(self.added_after)}}
        elif self.up_to is not None:
            where["AND"] = {"id": _up_to(self.up_to)}
        how = {"per_page": self.scenes, "sort": "id", "direction": "DESC" if self.newest else "ASC"}
        known = {} if self.known_up_to is None else {"known": {"id": _up_to(self.known_up_to)}}
        return {"where": where, "how": how, **known}


def _above(scene_id: int) -> dict[str, object]:
    return {"value": scene_id, "modifier": "GREATER_THAN"}


def _up_to(scene_id: int) -> dict[str, object]:
    return {"value": scene_id + 1, "modifier": "LESS_THAN"}


class WrongShape(ValueError):
    """An answer doesn't match Stash's schema; the message says where."""


@dataclass(frozen=True, slots=True)
class PluginState:
    """What Stash knows about this plugin."""

    settings: Mapping[str, object]  # as stored; settings without a value are absent
    enabled: bool  # also False if Stash hasn't loaded the plugin


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
    configuration = _object(data.get("configuration"), "configuration")
    settings = _object(configuration.get("plugins"), "configuration.plugins").get(PLUGIN_ID)
    # null: Stash has loaded no plugins
    loaded = [] if _is_null(data, "plugins", "answer") else _list(data["plugins"], "plugins")
    plugins = [_object(plugin, "plugins") for plugin in loaded]
    enabled = [plugin.get("enabled") is True for plugin in plugins if plugin.get("id") == PLUGIN_ID]
    return PluginState(
        {} if settings is None else _object(settings, f"configuration.plugins.{PLUGIN_ID}"),
        any(enabled),
    )


def read_login(data: Mapping[str, object]) -> Login:
    """The credentials to use from now on, from an answer with ``_STATE``."""
    configuration = _object(data.get("configuration"), "configuration")
    general = _object(configuration.get("general"), "configuration.general")
    return Login(
        api_key=_text(general, "apiKey", "configuration.general"),
        needed=_text(general, "username", "configuration.general") != "",
    )


def read_found(data: Mapping[str, object]) -> Sequence[object]:
    """The scenes of a ``findScenes``, not yet decoded."""
    return _list(_object(data.get("findScenes"), "findScenes").get("scenes"), "findScenes.scenes")


def read_count(data: Mapping[str, object]) -> int | None:
    """How many scenes match the filter of a ``findScenes``; None if that wasn't asked."""
    found = _object(data.get("findScenes"), "findScenes")
    return _int(found, "count", "findScenes") if "count" in found else None


def read_known(data: Mapping[str, object]) -> int:
    """How many scenes a ``sweep_page`` counted."""
    return _int(_object(data.get("known"), "known"), "count", "known")


def read_listed(data: Mapping[str, object], after: int) -> tuple[Listed, ...]:
    """The scenes of a page of ``scene_ids`` or ``sweep_page``.

    Args:
        data: the answer.
        after: the last id of the previous page. Ids that don't ascend from it are WrongShape: a listing
            would skip scenes or never end.
    """
    scenes = tuple(_listed(scene) for scene in read_found(data))
    if any(one >= other for one, other in itertools.pairwise([after, *(scene.id for scene in scenes)])):
        raise WrongShape("the scenes aren't sorted by ascending id")
    return scenes


def _listed(raw: object) -> Listed:
    scene = _object(raw, "findScenes.scenes")
    text = _text(scene, "updated_at", "scene")
    try:
        when = datetime.datetime.fromisoformat(text)
    except ValueError as error:
        raise WrongShape("updated_at is not a time") from error
    if when.tzinfo is None:
        raise WrongShape("updated_at has no time zone")
    return Listed(_id(scene, "scene"), text, int(when.timestamp()))


def read_scene(raw: object, fetched_at: float) -> Scene:
    """Decodes ``SceneFields``.

    What Stash may leave empty becomes "" or None. A promised field that is missing or has another type is
    WrongShape: an incomplete scene is never delivered.
    """
    scene = _object(raw, "scene")
    scene_id = _id(scene, "scene")
    at = f"scene {scene_id}"
    organized = scene.get("organized")
    if not isinstance(organized, bool):
        raise WrongShape(f"{at}: organized is {_kind(organized)}")
    groups = _each(scene, "groups", at, lambda item, where: _named(item.get("group"), where))
    return Scene(
        id=scene_id,
        title=_text(scene, "title", at),
        code=_text(scene, "code", at),
        details=_text(scene, "details", at),
        director=_text(scene, "director", at),
        date=_text(scene, "date", at),
        rating100=None if _is_null(scene, "rating100", at) else _int(scene, "rating100", at),
        organized=organized,
        urls=_texts(scene, "urls", at),
        created_at=_required_text(scene, "created_at", at),
        updated_at=_required_text(scene, "updated_at", at),
        files=_each(scene, "files", at, _file),  # Stash puts the primary file first
        performers=_each(scene, "performers", at, _named),
        tags=_each(scene, "tags", at, _named),
        studio=None if _is_null(scene, "studio", at) else _named(scene["studio"], f"{at}: studio"),
        groups=groups,
        stash_ids=_each(scene, "stash_ids", at, _stash_id),
        cover_url=_cover_url(_text(_object(scene.get("paths"), f"{at}: paths"), "screenshot", at), at),
        fetched_at=fetched_at,
    )


def _file(item: Mapping[str, object], where: str) -> SceneFile:
    duration = item.get("duration")
    if isinstance(duration, bool) or not isinstance(duration, int | float) or not math.isfinite(duration):
        raise WrongShape(f"{where}.duration is {_kind(duration)}")
    return SceneFile(
        path=_required_text(item, "path", where),
        size=_int(item, "size", where),
        duration=float(duration),
        width=_int(item, "width", where),
        height=_int(item, "height", where),
        fingerprints=_each(
            item,
            "fingerprints",
            where,
            lambda found, at: (_required_text(found, "type", at), _required_text(found, "value", at)),
        ),
    )


def _stash_id(item: Mapping[str, object], where: str) -> StashId:
    return StashId(_required_text(item, "endpoint", where), _required_text(item, "stash_id", where))


def _named(item: object, where: str) -> Named:
    named = _object(item, where)
    return Named(str(_id(named, where)), _text(named, "name", where))


def _cover_url(url: str, where: str) -> str:
    """The cover's URL without credentials, because it is sent to other systems.

    ``t``, the time of the scene's last change, is kept so that caches notice a new cover. A URL that is not
    absolute http(s) is useless to others and becomes "". That happens when the external host is set in
    Stash without a scheme.
    """
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise WrongShape(f"{where}: paths.screenshot is not a URL") from error
    if parts.scheme not in ("http", "https") or not parts.netloc:
        return ""
    kept = [p for p in parts.query.split("&") if p.partition("=")[0].lower() != "apikey"]
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "&".join(kept), parts.fragment))


T = TypeVar("T")


def _each(
    owner: Mapping[str, object], key: str, where: str, read: Callable[[Mapping[str, object], str], T]
) -> tuple[T, ...]:
    at = f"{where}: {key}"
    return tuple(read(_object(item, at), at) for item in _list(owner.get(key), at))


def _texts(owner: Mapping[str, object], key: str, where: str) -> tuple[str, ...]:
    found = _list(owner.get(key), f"{where}: {key}")
    texts = tuple(text for text in found if isinstance(text, str))
    if len(texts) != len(found):
        raise WrongShape(f"{where}: {key} has an item that is not text")
    return texts


def _object(value: object, where: str) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise WrongShape(f"{where} is {_kind(value)}")
    return value


def _list(value: object, where: str) -> Sequence[object]:
    if not isinstance(value, list):
        raise WrongShape(f"{where} is {_kind(value)}")
    return value


def _required_text(owner: Mapping[str, object], key: str, where: str) -> str:
    value = owner.get(key)
    if not isinstance(value, str):
        raise WrongShape(f"{where}: {key} is {_kind(value)}")
    return value


def _text(owner: Mapping[str, object], key: str, where: str) -> str:
    return "" if _is_null(owner, key, where) else _required_text(owner, key, where)


def _is_null(owner: Mapping[str, object], key: str, where: str) -> bool:
    """Whether the value is null; a missing key is WrongShape, not null."""
    if key not in owner:
        raise WrongShape(f"{where}: {key} is missing")
    return owner[key] is None


def _int(owner: Mapping[str, object], key: str, where: str) -> int:
    value = owner.get(key)
    if isinstance(value, bool) or not isinstance(value, int):
        raise WrongShape(f"{where}: {key} is {_kind(value)}")
    return value


def _id(owner: Mapping[str, object], where: str) -> int:
    """An id. GraphQL sends it as text; in Stash it is a row id of SQLite."""
    text = str(owner.get("id"))
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise WrongShape(f"{where}: id is {_kind(owner.get('id'))}")
    return int(text)


def _kind(value: object) -> str:
    """What was found instead, without its content, which may be a secret."""
    return "missing or null" if value is None else f"of type {type(value).__name__}"
