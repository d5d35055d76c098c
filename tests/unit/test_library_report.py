"""The library report's groups: what a server has of a scene, why it lacks it, and which rule would help."""

from __future__ import annotations

import pytest

from stash_courier.worker.destinations.jellyfin.listing import stack
from stash_courier.worker.destinations.media.libraries import Library
from stash_courier.worker.destinations.media.missing import Rules
from stash_courier.worker.destinations.media.report import (
    EXAMPLES,
    GROUPS,
    TEXTS,
    Group,
    LibraryReport,
    Shown,
    Survey,
)
from stash_courier.worker.paths import PathMap, path_map
from tests.support.media_samples import scene

FILMS = Library("Films", ("/films",))
MAP = path_map([("/data/films", "/films"), ("/data/other", "/elsewhere")])
RULES = Rules(
    never=lambda path: "it ends with -trailer" if path.endswith("-trailer.mp4") else "",
    not_searched=lambda path: "in the library Series" if path.startswith("/series/") else "",
    stack=stack,
)


def survey(*paths: str, shown: tuple[Shown, ...] = (), rules: PathMap = MAP) -> LibraryReport:
    """The report on scenes with one file each, numbered from 1."""
    made = Survey(rules, [FILMS], RULES)
    for number, path in enumerate(paths, 1):
        made.add(scene(path, id=number))
    for one in shown:
        made.saw(one)
    return made.result()


@pytest.mark.parametrize(
    ("path", "shown", "group"),
    [
        ("/data/films/a.mp4", [Shown("/films/a.mp4", "own")], "own"),
        ("/data/films/a.mp4", [Shown("/films/a.mp4", "version")], "version"),
        ("/data/films/a.mp4", [Shown("/films/a.mp4", "part")], "part"),
        ("/data/films/a.mp4", [Shown("/films/a.mp4", "part"), Shown("/films/a.mp4", "version")], "version"),
        ("/data/films/a.mp4", [Shown("/films/a.mp4", "version"), Shown("/films/a.mp4", "own")], "own"),
        ("/data/films/a.mp4", [Shown("/films/b.mp4", "own")], "not_scanned"),
        ("/data/films/a-trailer.mp4", [], "never"),
        ("/data/films/a-trailer.mp4", [Shown("/films/a-trailer.mp4", "own")], "own"),  # the server knows better
        ("/data/other/a.mp4", [], "outside"),
        ("/media/a.mp4", [], "no_rule"),
        ("/films/a.mp4", [], "not_scanned"),  # needs no rule
        ("/series/a.mp4", [], "not_searched"),
        ("/series/a.mp4", [Shown("/series/a.mp4", "own")], "own"),
    ],
)
def test_a_scene_is_in_one_group(path: str, shown: list[Shown], group: Group) -> None:
    """What the server shows counts first, then where the file is, then its name."""
    found = survey(path, shown=tuple(shown))
    assert found.counts == {**dict.fromkeys(GROUPS, 0), group: 1}
    assert [one.stash for one in found.examples[group]] == [path]


def test_the_second_part_counts_although_the_server_doesnt_show_it() -> None:
    """Jellyfin 12 shows only the first part of an item; files with the numbers of its parts belong to it."""
    first = Shown("/films/x/Long part1.mp4", "own", stack("/films/x/Long part1.mp4"))
    paths = [f"/data/films/{name}.mp4" for name in ("x/Long part1", "x/long Part2", "x/Long", "y/Long part2")]
    found = survey(*paths, shown=(first,))
    assert {group: n for group, n in found.counts.items() if n} == {"own": 1, "part": 1, "not_scanned": 2}


def test_a_scene_with_several_files_counts_once() -> None:
    """A file with an item of its own decides, as when the scene is delivered; no file is a group of its own."""
    made = Survey(MAP, [FILMS], RULES)
    made.add(scene("/data/other/a.mp4", "/data/films/b.mp4", "/data/films/c.mp4", id=1))
    made.add(scene("/data/films/a-trailer.mp4", "/data/films/x.mp4", id=2))
    made.add(scene(id=3, files=()))
    made.saw(Shown("/films/c.mp4", "own"))
    made.saw(Shown("/films/b.mp4", "version"))
    found = made.result()
    assert {group: n for group, n in found.counts.items() if n} == {"own": 1, "not_scanned": 1, "no_file": 1}
    assert found.total == 3


def test_there_are_ten_examples_with_reasons() -> None:
    """Each group has up to ten examples, with the path on both sides and more about it if there is more."""
    found = survey(*(f"/data/films/{n}-trailer.mp4" for n in range(30)), *["/data/films/a.mp4"] * 2)
    assert len(found.examples["never"]) == EXAMPLES
    one, *_ = found.examples["never"]
    assert (one.scene_id, one.stash, one.server) == (1, "/data/films/0-trailer.mp4", "/films/0-trailer.mp4")
    assert one.why == "it ends with -trailer"
    assert [one.why for one in found.examples["not_scanned"]] == ["in the library Films"] * 2


def test_every_group_says_what_to_do() -> None:
    """Only scenes with an item of their own need nothing."""
    assert {group for group, (_, advice) in TEXTS.items() if not advice} == {"own"}
    assert TEXTS.keys() == set(GROUPS)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("/a/Film part1.mp4", "/a/film PART2.mkv", True),
        ("/a/Film-cd1.mp4", "/a/Film-cd2.mp4", True),
        ("/a/Film (disc a).mp4", "/a/Film (disc b).mp4", True),
        ("/a/Film part1.mp4", "/b/Film part2.mp4", False),
        ("/a/Film part1.mp4", "/a/Film cd2.mp4", False),
    ],
)
def test_names_of_parts(one: str, other: str, same: bool) -> None:
    """Files of one folder whose names differ only in the number of the part belong together."""
    assert stack(one)
    assert (stack(one) == stack(other)) == same


@pytest.mark.parametrize(
    "path", ["/a/Film.mp4", "/a/Film 2.mp4", "/a/part.mp4", "/a/Film department.mp4", "/part1/a.mp4"]
)
def test_names_of_no_parts(path: str) -> None:
    """Most names have no number of a part."""
    assert stack(path) == ""
