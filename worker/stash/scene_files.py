"""Scenes with nothing but their files and what filters look at: the whole library for the library report, page by
page, and a sample of it for tests."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from stash_courier.queue.jobs import Scene, SceneFile
from stash_courier.worker.paths import matches_prefix
from stash_courier.worker.stash import queries
from stash_courier.worker.stash.answers import read, read_list
from stash_courier.worker.stash.client import Stash
from stash_courier.worker.stash.queries import Page

PAGE_SCENES = 500  # in one request
SAMPLE_FOLDERS = 20  # of the library, in the request for a sample
FIELDS = "id organized files { path } tags { id name } studio { id name }"

T = TypeVar("T")


def all_files(stash: Stash) -> Iterator[Page[Scene]]:
    """All scenes, page by page.

    Raises:
        StashUnavailable: Stash can't be asked.
    """
    return stash.pages(FIELDS, _scene, PAGE_SCENES)


def sample_query(folders: int) -> str:
    """The query for scenes in each of several folders (``$w0`` …), which come back as ``f0``, ``f1`` …."""
    variables = ", ".join(f"$w{n}: SceneFilterType" for n in range(folders))
    scenes = f"{{ scenes {{ {FIELDS} }} }}"
    found = "\n".join(f"  f{n}: findScenes(scene_filter: $w{n}, filter: $how) {scenes}" for n in range(folders))
    return f"query ScenesIn({variables}, $how: FindFilterType) {{\n{found}\n}}"


def sample(stash: Stash, folders: Sequence[str] = ()) -> list[Scene]:
    """Some scenes with a file, always the same. The first ones are of as many folders as possible.

    Args:
        stash: is asked once or twice.
        folders: where to look; empty: in Stash's library folders.

    Raises:
        StashUnavailable: Stash can't be asked.
    """
    wanted = list(dict.fromkeys(folders or stash.ask(queries.LIBRARY_FOLDERS, {}, queries.read_folders)))
    wanted = wanted[:: max(1, -(-len(wanted) // SAMPLE_FOLDERS))]
    if not wanted:
        return []
    variables: dict[str, object] = {f"w{n}": queries.in_folder(folder) for n, folder in enumerate(wanted)}
    variables["how"] = queries.any_order(-(-PAGE_SCENES // len(wanted)))
    found = stash.ask(
        sample_query(len(wanted)),
        variables,
        lambda data: [read_list(data, f"f{n}.scenes", _scene) for n in range(len(wanted))],
    )
    by_library = [_in_turns(_by_folder(scenes, root)) for root, scenes in zip(wanted, found, strict=True)]
    return list({scene.id: scene for scene in _in_turns(by_library)}.values())


def _by_folder(scenes: Iterable[Scene], root: str) -> list[list[Scene]]:
    """The scenes with a file below a folder, by the folder that contains it. Stash finds others, too."""
    found: dict[str, list[Scene]] = {}
    for scene in scenes:
        path = next((file.path for file in scene.files if matches_prefix(file.path, root)), "")
        if path:
            found.setdefault(path.replace("\\", "/").rpartition("/")[0], []).append(scene)
    return list(found.values())


def _in_turns(groups: Iterable[Iterable[T]]) -> list[T]:
    """The first of each group, then the second of each, and so on."""
    rows = itertools.zip_longest(*groups)
    return [one for row in rows for one in row if one is not None]


def _scene(raw: object) -> Scene:
    """A scene with nothing but its files and what filters look at."""
    return Scene(
        id=queries.read_id(raw),
        title="",
        code="",
        details="",
        director="",
        date="",
        rating100=None,
        organized=read(raw, "organized", bool),
        urls=(),
        created_at="",
        updated_at="",
        files=read_list(raw, "files", lambda file: SceneFile(read(file, "path", str), 0, 0.0, 0, 0)),
        performers=(),
        tags=read_list(raw, "tags", queries.read_named),
        studio=queries.read_studio(raw),
        groups=(),
        stash_ids=(),
        cover_url="",
        fetched_at=0.0,
    )
