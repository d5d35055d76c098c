"""The stand-in's scenes: immutable records in memory, which change in transactions.

Nothing here knows GraphQL, except that ``edited`` takes the fields of scene inputs.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any, Literal

Kind = Literal["performer", "tag", "studio", "group"]
_TEXTS = ("title", "code", "details", "director")
_DATA_URL = re.compile(r"data:.+/(.+);base64,(.*)", re.DOTALL)


class StashError(Exception):
    """The message of a GraphQL error in Stash's answer."""


@dataclass(frozen=True, slots=True)
class VideoFile:
    """A file of a scene. It need not exist on disk."""

    id: int
    path: str
    size: int  # bytes
    fingerprints: tuple[tuple[str, str], ...]  # (type, value)
    duration: float = 60.0  # seconds
    width: int = 1920
    height: int = 1080

    def fingerprint(self, kind: str) -> str:
        """The value of one kind of fingerprint, "" if it was never computed."""
        return dict(self.fingerprints).get(kind, "")


@dataclass(frozen=True, slots=True)
class Scene:
    """The state of a scene after a transaction. Texts are Go strings in Stash, so they are "" and never None."""

    id: int
    created_at: str  # RFC 3339 to the second, in this machine's zone, as Stash stores it
    updated_at: str
    title: str = ""
    code: str = ""
    details: str = ""
    director: str = ""
    date: str | None = None
    rating100: int | None = None
    organized: bool = False
    urls: tuple[str, ...] = ()
    files: tuple[VideoFile, ...] = ()  # the primary file first
    performers: tuple[int, ...] = ()
    tags: tuple[int, ...] = ()
    studio: int | None = None
    groups: tuple[tuple[int, int | None], ...] = ()  # (group, index of the scene in it)
    stash_ids: tuple[()] = ()
    cover: bytes = b""

    @property
    def path(self) -> str:
        """The primary file's path, "" for a scene without files."""
        return self.files[0].path if self.files else ""


class Library:
    """Scenes and the names they refer to.

    Args:
        clock: gives wall time in unix seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.RLock()
        self._scenes: dict[int, Scene] = {}
        self._names: dict[Kind, dict[int, str]] = {"performer": {}, "tag": {}, "studio": {}, "group": {}}
        self.portraits: dict[int, bytes] = {}  # images of performers, by id
        self._last_scene = 0
        self._last_file = 0

    def now(self) -> str:
        """The time as Stash writes it: RFC 3339, to the second, in this machine's zone, Z for UTC."""
        moment = datetime.fromtimestamp(self._clock(), UTC).astimezone()
        return moment.isoformat("T", "seconds").replace("+00:00", "Z")

    def named(self, kind: Kind, name: str) -> int:
        """The id of the performer, tag, studio or group of this name; it is made if there is none."""
        with self._lock:
            names = self._names[kind]
            found = next((i for i, n in names.items() if n == name), None)
            if found is None:
                found = len(names) + 1
                names[found] = name
            return found

    def name(self, kind: Kind, identity: int) -> str:
        """The name behind an id.

        Raises:
            StashError: there is none; Stash's database refuses such an id.
        """
        try:
            return self._names[kind][identity]
        except KeyError:
            raise StashError("FOREIGN KEY constraint failed") from None

    def count(self, kind: Kind) -> int:
        """How many performers, tags, studios or groups there are."""
        return len(self._names[kind])

    def video(self, path: str, size: int = 1_000_000, duration: float = 60.0) -> VideoFile:
        """A new file record for a path; its fingerprint is derived from path and size."""
        with self._lock:
            self._last_file += 1
            number = self._last_file
        oshash = hashlib.blake2b(f"{path}|{size}".encode(), digest_size=8).hexdigest()
        return VideoFile(number, path, size, (("oshash", oshash),), duration)

    def new_scene(self, files: Iterable[VideoFile] = ()) -> Scene:
        """A scene with a fresh id, not yet in the library."""
        with self._lock:
            self._last_scene += 1
            now = self.now()
            return Scene(self._last_scene, now, now, files=tuple(files))

    def commit(self, scenes: Iterable[Scene]) -> None:
        """Stores scenes in one step."""
        with self._lock:
            self._scenes.update((scene.id, scene) for scene in scenes)

    def change(self, steps: Iterable[tuple[int, Callable[[Scene], Scene]]]) -> list[Scene]:
        """Applies edits to scenes, all of them or, if one raises, none. Bumps ``updated_at``."""
        with self._lock:
            stamp = self.now()
            changed: dict[int, Scene] = {}
            for scene_id, edit in steps:
                scene = changed.get(scene_id) or self.get(scene_id)
                changed[scene_id] = replace(edit(scene), updated_at=stamp)
            self.commit(changed.values())
            return list(changed.values())

    def remove(self, scene_ids: Iterable[int]) -> list[Scene]:
        """Takes scenes out, all of them or, if one isn't there, none."""
        with self._lock:
            gone = [self.get(scene_id) for scene_id in scene_ids]
            for scene in gone:
                self._scenes.pop(scene.id, None)
            return gone

    def find(self, scene_id: int) -> Scene | None:
        """One scene, None if it is gone."""
        return self._scenes.get(scene_id)

    def get(self, scene_id: int) -> Scene:
        """One scene.

        Raises:
            StashError: it is gone.
        """
        scene = self.find(scene_id)
        if scene is None:
            raise StashError(f"scene with id {scene_id} not found")
        return scene

    def by_path(self, path: str) -> Scene | None:
        """The scene that a file belongs to."""
        return next((s for s in self.all() if any(f.path == path for f in s.files)), None)

    def all(self) -> list[Scene]:
        """All scenes, oldest id first."""
        with self._lock:
            return list(self._scenes.values())

    def fill(self, count: int) -> None:
        """Makes a library of ``count`` different scenes, the same every time."""
        actors = [self.named("performer", n) for n in ("Ada Example", "Bo Example", "Cy Example")]
        tags = [self.named("tag", n) for n in ("Outdoor", "Interview", "4K")]
        studio = self.named("studio", "Example Studio")
        group = self.named("group", "Example Series")
        scenes = []
        for number in range(1, count + 1):
            folder = PurePosixPath("/media/films") / f"{number % 10}"
            video = self.video(str(folder / f"Film {number}.mp4"), 1_000_000 + number, 60.0 + number % 60)
            scenes.append(
                replace(
                    self.new_scene([video]),
                    title=f"Film {number}",
                    details=f"The {number}. film.",
                    date=f"2024-{number % 12 + 1:02}-{number % 28 + 1:02}",
                    rating100=number % 100 + 1,
                    urls=(f"https://example.org/films/{number}",),
                    performers=tuple(actors[: number % 4]),
                    tags=tuple(tags[: number % 3 + 1]),
                    studio=studio,
                    groups=((group, number),) if number % 2 else (),
                )
            )
        self.commit(scenes)


def identities(texts: Iterable[str]) -> list[int]:
    """Ids as numbers.

    Raises:
        StashError: one isn't a number, in Stash's words.
    """
    return [identity(text) for text in texts]


def identity(text: str) -> int:
    """One id as a number; raises as ``identities`` does."""
    try:
        return int(text)
    except ValueError:
        raise StashError(f'strconv.Atoi: parsing "{text}": invalid syntax') from None


def edited(library: Library, scene: Scene, fields: Mapping[str, Any]) -> Scene:
    """The scene after an edit: SceneUpdateInput or BulkSceneUpdateInput.

    Args:
        fields: what the client sent; missing fields stay unchanged.

    Raises:
        StashError: Stash would refuse a value.
    """
    values: dict[str, Any] = {k: (fields[k] or "").strip() for k in _TEXTS if k in fields}
    if "date" in fields:
        values["date"] = fields["date"] or None
    if "rating100" in fields:
        values["rating100"] = fields["rating100"]
    if "organized" in fields:
        values["organized"] = bool(fields["organized"])
    if "urls" in fields:
        values["urls"] = tuple(u.strip() for u in _merged(scene.urls, fields["urls"], "values"))
    if "studio_id" in fields:
        chosen = fields["studio_id"]
        values["studio"] = None if chosen is None else _known(library, "studio", [chosen])[0]
    for field, kind, target in (("performer_ids", "performer", "performers"), ("tag_ids", "tag", "tags")):
        if field in fields:
            old = [str(i) for i in getattr(scene, target)]
            values[target] = _known(library, kind, _merged(old, fields[field], "ids"))  # type: ignore[arg-type]
    if fields.get("cover_image"):
        values["cover"] = _cover(fields["cover_image"])
    return replace(scene, **values)


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


def _cover(text: str) -> bytes:
    """The image in a data URL. Stash fetches any other URL, the stand-in doesn't."""
    match = _DATA_URL.fullmatch(text)
    if match is None:
        raise StashError("processing cover image: the stand-in fetches no URLs")
    try:
        return base64.b64decode(match[2], validate=True)
    except binascii.Error as error:
        raise StashError(f"processing cover image: {error}") from None
