"""Applies the fields of Stash's scene inputs to a scene. Pure, except that it looks up names."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from tests.standin.stash.library import Kind, Library, Scene, StashError, StashId, identities, identity

_TEXTS = ("title", "code", "details", "director")
_DATE = re.compile(r"\d{4}(-\d{2}(-\d{2})?)?")
_DATA_URL = re.compile(r"data:.+/(.+);base64,(.*)", re.DOTALL)


def apply(library: Library, scene: Scene, fields: Mapping[str, Any]) -> Scene:
    """The scene after an edit: SceneCreateInput, SceneUpdateInput or BulkSceneUpdateInput.

    Args:
        fields: what the client sent; missing fields stay unchanged.

    Raises:
        StashError: Stash would refuse a value.
    """
    values: dict[str, Any] = {k: (fields[k] or "").strip() for k in _TEXTS if k in fields}
    if values.get("title") == "" and not scene.files:
        raise StashError("title must be set if scene has no files")
    if "date" in fields:
        values["date"] = _date(fields["date"])
    if "rating100" in fields:
        values["rating100"] = fields["rating100"]
    if "organized" in fields:
        values["organized"] = bool(fields["organized"])
    if "urls" in fields:
        values["urls"] = tuple(u.strip() for u in _merged(scene.urls, fields["urls"], "values"))
    if "studio_id" in fields:
        values["studio"] = _studio(library, fields["studio_id"])
    for field, kind, target in (("performer_ids", "performer", "performers"), ("tag_ids", "tag", "tags")):
        if field in fields:
            old = [str(i) for i in getattr(scene, target)]
            values[target] = _known(library, kind, _merged(old, fields[field], "ids"))  # type: ignore[arg-type]
    groups = _groups(library, scene, fields)
    if groups is not None:
        values["groups"] = groups
    if "stash_ids" in fields:
        values["stash_ids"] = tuple(StashId(g["endpoint"], g["stash_id"]) for g in fields["stash_ids"] or ())
    if fields.get("cover_image"):
        values["cover"] = _cover(fields["cover_image"])
    if fields.get("primary_file_id"):
        values["files"] = _primary_first(scene, identity(fields["primary_file_id"]))
    return replace(scene, **values)


def _date(text: str | None) -> str | None:
    if not text:
        return None
    if not _DATE.fullmatch(text):
        raise StashError(f'converting date: failed to parse date "{text}"')
    return text


def _merged(old: Iterable[str], value: Any, key: str) -> list[str]:
    """A plain list replaces the old one; a bulk input has a mode: SET, ADD or REMOVE."""
    if not isinstance(value, Mapping):
        return list(value or ())
    given = list(value.get(key) or ())
    if value["mode"] == "SET":
        return given
    if value["mode"] == "REMOVE":
        return [o for o in old if o not in given]
    return list(dict.fromkeys([*old, *given]))


def _known(library: Library, kind: Kind, texts: Iterable[str]) -> tuple[int, ...]:
    ids = identities(texts)
    for one in ids:
        library.name(kind, one)
    return tuple(ids)


def _studio(library: Library, text: str | None) -> int | None:
    return None if text is None else _known(library, "studio", [text])[0]


def _groups(
    library: Library, scene: Scene, fields: Mapping[str, Any]
) -> tuple[tuple[int, int | None], ...] | None:
    """Groups from an input; None if the client sent none."""
    if "group_ids" in fields:
        old = dict(scene.groups)
        chosen = _known(library, "group", _merged([str(i) for i in old], fields["group_ids"], "ids"))
        return tuple((i, old.get(i)) for i in chosen)
    if "groups" not in fields:
        return None
    given = fields["groups"] or ()
    return tuple((_known(library, "group", [g["group_id"]])[0], g.get("scene_index")) for g in given)


def _cover(text: str) -> bytes:
    """The image in a data URL. Stash fetches any other URL, the stand-in doesn't."""
    match = _DATA_URL.fullmatch(text)
    if match is None:
        raise StashError("processing cover image: the stand-in fetches no URLs")
    try:
        return base64.b64decode(match[2], validate=True)
    except binascii.Error as error:
        raise StashError(f"processing cover image: {error}") from None


def _primary_first(scene: Scene, file_id: int) -> tuple[Any, ...]:
    first = [f for f in scene.files if f.id == file_id]
    if not first:
        raise StashError(f"file with id {file_id} not associated with scene")
    return (*first, *(f for f in scene.files if f.id != file_id))
