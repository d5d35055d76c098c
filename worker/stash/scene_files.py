"""The whole library with its files and what filters look at, page by page, for the library report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from stash_courier.queue.checks import DAMAGE, text, typed
from stash_courier.queue.jobs import Named, Scene, SceneFile
from stash_courier.worker.stash import queries
from stash_courier.worker.stash.client import Stash

PAGE_SCENES = 500  # in one request


@dataclass(frozen=True, slots=True)
class FilesPage:
    """Some scenes, by ascending id, with nothing but the paths of their files and what filters look at."""

    scenes: tuple[Scene, ...]
    examined: int  # with those of earlier pages
    total: int


def query(*, count: bool) -> str:
    """The query for one page; ``count`` adds the number of all scenes."""
    return f"""
query SceneFiles($where: SceneFilterType, $how: FindFilterType) {{
  findScenes(scene_filter: $where, filter: $how) {{ {"count" if count else ""}
    scenes {{ id organized files {{ path }} tags {{ id name }} studio {{ id name }} }}
  }}
}}
"""


def all_files(stash: Stash, page_size: int = PAGE_SCENES) -> Iterator[FilesPage]:
    """All scenes. Pages follow each other by ``id > last``, so none is skipped when others are deleted.

    Raises:
        StashUnavailable: Stash can't be asked.
    """
    last = examined = total = 0

    def read(data: Mapping[str, object]) -> tuple[tuple[Scene, ...], int]:
        return _read(data, last), total if examined else queries.read_count(data, "findScenes")

    while True:
        variables = {"where": {"id": queries.above(last)}, "how": queries.by_id(page_size)}
        scenes, total = stash.ask(query(count=examined == 0), variables, read)
        examined += len(scenes)
        total = max(total, examined)
        yield FilesPage(scenes, examined, total)
        if len(scenes) < page_size:
            return
        last = scenes[-1].id


def _read(data: Mapping[str, Any], after: int) -> tuple[Scene, ...]:
    """The scenes of a page. Ids that don't ascend are WrongShape: the listing would never end."""
    try:
        scenes = tuple(map(_scene, typed(list, data["findScenes"]["scenes"])))
    except DAMAGE as error:
        raise queries.WrongShape(f"a scene can't be read ({type(error).__name__})") from None
    if any(scene.id <= after for scene in scenes):
        raise queries.WrongShape("the scenes aren't sorted by ascending id")
    return scenes


def _scene(raw: Mapping[str, Any]) -> Scene:
    studio = raw["studio"]
    return Scene(
        id=int(text(raw["id"])),
        title="",
        code="",
        details="",
        director="",
        date="",
        rating100=None,
        organized=typed(bool, raw["organized"]),
        urls=(),
        created_at="",
        updated_at="",
        files=tuple(SceneFile(text(file["path"]), 0, 0.0, 0, 0) for file in raw["files"]),
        performers=(),
        tags=tuple(map(_named, raw["tags"])),
        studio=None if studio is None else _named(studio),
        groups=(),
        stash_ids=(),
        cover_url="",
        fetched_at=0.0,
    )


def _named(raw: Mapping[str, Any]) -> Named:
    return Named(text(raw["id"]), text(raw["name"]))
