"""The steps of a test of a Jellyfin connection."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from pathlib import Path

import pytest

from stash_courier.queue.jobs import Scene
from stash_courier.worker.destinations import Step
from stash_courier.worker.stash.covers import no_cover
from tests.standin.jellyfin import StandInJellyfin
from tests.standin.receivers import Receiver, Reply
from tests.support.intercept import HTML
from tests.support.jellyfin import jellyfin
from tests.support.media_samples import DISTINCT, scene

pytestmark = pytest.mark.timeout(60)


def steps_of(server: StandInJellyfin | str, scenes: Iterable[Scene], **values: object) -> dict[str, Step]:
    """The steps of a test, by name."""
    with jellyfin(server, no_cover, **values) as ours:
        steps = list(ours.test(list(scenes)))
    assert len({step.name for step in steps}) == len(steps)
    return {step.name: step for step in steps}


def films(count: int, folder: str = "/data/movies") -> list[Scene]:
    """Scenes with a file each."""
    return [scene(f"{folder}/Film {n}.mkv", id=n) for n in range(1, count + 1)]


def test_each_step_passes(server: StandInJellyfin) -> None:
    """Server, version, key, libraries, the scenes found and what would change are reported; nothing is written."""
    item_id = server.add("/media/movies/one.mkv", **{**DISTINCT, "LockData": False})
    before = copy.deepcopy(server.items)
    steps = steps_of(server, [scene()])
    assert list(steps) == ["reached", "key", "libraries", "scenes", "example"]
    assert {step.status for step in steps.values()} == {"ok"}
    assert steps["reached"].text.endswith('is Jellyfin Server 10.10.7 ("stand-in").')
    assert steps["key"].text == 'It accepts "API key".'
    assert steps["libraries"].text == "Libraries: Movies (/media/movies)."
    assert steps["scenes"].text == "1 of 1 scenes found."
    said = steps["example"].text
    assert item_id in said
    assert 'title: "one" would become "A Title"' in said
    assert 'tags: "by hand" would become "calm, loud"' in said
    assert "locked" not in said
    assert server.items == before
    assert all(route.startswith("GET") for route in server.counts)


def test_each_kind_of_missing_scene_is_counted(server: StandInJellyfin) -> None:
    """The step says how many scenes are missing for which reason, and where the whole library is compared."""
    paths = [
        *("movies/here.mkv", "movies/new 1.mkv", "movies/new 2.mkv", "movies/new 3.mkv"),
        *("movies/x-trailer.mkv", "movies/y-trailer.mkv", "elsewhere/z.mkv"),
    ]
    scenes = [scene(f"/data/{path}", id=n) for n, path in enumerate(paths, 1)]
    server.add("/media/movies/here.mkv")
    step = steps_of(server, [*scenes, scene(id=98, files=()), scene(id=99, files=())])["scenes"]
    assert step.text == (
        "1 of 9 scenes found. In none of the searched libraries: 1. Not scanned yet: 3. "
        "Never shown because of their name: 2. Without a file in Stash: 2. "
        'Correct "Path map", or add their folder to a library of Jellyfin. "Library report" compares all scenes.'
    )
    outside, scan = step.examples
    assert outside == (
        "Scene 7: /media/elsewhere/z.mkv (in Stash /data/elsewhere/z.mkv) is in no library; these are Movies "
        "(/media/movies)."
    )
    assert scan.startswith("Scene 2: /media/movies/new 1.mkv ")


def test_a_server_with_a_part_of_the_scenes(server: StandInJellyfin) -> None:
    """If the rest is in none of its libraries, one click has it skipped; time would not change that."""
    scenes = [*films(2), scene("/elsewhere/x.mkv", id=3)]
    for one in scenes[:2]:
        server.add(one.files[0].path.replace("/data", "/media"))
    step = steps_of(server, scenes)["scenes"]
    assert step.status == "warn"
    assert step.fix is not None
    assert step.fix.label == "Skip scenes that Jellyfin doesn't have"
    assert steps_of(server, scenes, **step.fix.values)["scenes"].status == "ok"


@pytest.mark.parametrize(
    ("rules", "instead"),
    [
        ("", ""),
        ("/films => /other", ""),
        ("/data => /mnt", " in place of /data => /mnt"),
        ("/data/movies => /mnt", " in place of /data/movies => /mnt"),
    ],
)
def test_a_missing_rule_is_one_fix_away(server: StandInJellyfin, rules: str, instead: str) -> None:
    """If the path map is wrong, the fix is one rule, and with it the next test finds every scene."""
    scenes = films(20)
    for one in scenes:
        server.add(one.files[0].path.replace("/data", "/media"))
    step = steps_of(server, scenes, path_map=rules)["scenes"]
    assert (step.status, step.field) == ("fail", "path_map")
    assert step.text == (
        "0 of 20 scenes found. At another path there: 20. "
        f'The rule /data => /media in "Path map"{instead} would lead there.'
    )
    (example,) = step.examples
    assert example.endswith(", but a file of that name is at /media/movies/Film 1.mkv.")
    assert step.fix is not None
    assert step.fix.label == "Use this path: /data => /media"
    if rules.startswith("/films"):
        assert step.fix.values == {"path_map": ["/films => /other", "/data => /media"]}
    again = steps_of(server, scenes, **step.fix.values)["scenes"]
    assert (again.status, again.text) == ("ok", '20 of 20 scenes found. "Library report" compares all scenes.')


def test_the_rule_for_one_folder_leaves_the_others(server: StandInJellyfin) -> None:
    """If only one folder is elsewhere, the fix is a rule for it, and what was found stays found."""
    server.libraries = {"All": ["/media", "/nas"]}
    here = [scene(f"/data/here/{n}.mkv", id=n) for n in range(5)]
    there = [scene(f"/data/there/{n + 10}.mkv", id=n + 10) for n in range(5)]
    for one in here:
        server.add(one.files[0].path.replace("/data", "/media"))
    for one in there:
        server.add(one.files[0].path.replace("/data", "/nas"))
    step = steps_of(server, [*here, *there])["scenes"]
    assert step.status == "warn"
    assert step.fix is not None
    assert step.fix.label == "Use this path: /data/there => /nas/there"
    text = steps_of(server, [*here, *there], **step.fix.values)["scenes"].text
    assert text.startswith("10 of 10 scenes found.")


def test_a_file_of_the_same_name_elsewhere_doesnt_mislead(server: StandInJellyfin) -> None:
    """The rule that finds most scenes is offered, not that of a file which only has the same name."""
    server.libraries = {"All": ["/media"]}
    scenes = films(9)
    server.add("/media/backup/old/Film 1.mkv")
    for one in scenes:
        server.add(one.files[0].path.replace("/data", "/media/videos"))
    step = steps_of(server, scenes)["scenes"]
    assert step.fix is not None
    assert step.fix.label == "Use this path: /data => /media/videos"
    assert steps_of(server, scenes, **step.fix.values)["scenes"].status == "ok"


def test_a_folder_of_the_same_name(server: StandInJellyfin) -> None:
    """Before the first scan a library's folder shows the missing rule."""
    step = steps_of(server, films(2), path_map="")["scenes"]
    assert step.status == "fail"
    assert 'The rule /data => /media in "Path map" would lead there.' in step.text
    assert "is in no library; Movies has a folder of that name at /media/movies." in step.examples[0]
    assert step.fix is not None
    assert step.fix.values == {"path_map": ["/data => /media"]}


def test_a_wrong_key(server: StandInJellyfin) -> None:
    """A refused key fails at its own step and names the field; without a scene the test passes."""
    steps = steps_of(server, [scene()], key="f" * 32)
    assert list(steps) == ["reached", "key"]
    assert steps["reached"].status == "ok"
    assert (steps["key"].status, steps["key"].field) == ("fail", "key")
    assert 'it rejects "API key"' in steps["key"].text
    assert steps_of(server, [])["scenes"].text == "Stash has no scene, so no path was looked up."


def test_another_program_at_the_address() -> None:
    """A web page, or nothing at all, fails at the first step, with the address to change."""
    with Receiver(Reply(200, HTML, b"<html>Hello</html>")) as other:
        steps = steps_of(other.url.rstrip("/"), [scene()])
    assert list(steps) == ["reached"]
    assert (steps["reached"].status, steps["reached"].field) == ("fail", "url")
    assert "another program or a proxy's login page" in steps["reached"].text


MOUNTS = "501 500 8:1 /var/lib/docker/containers/ab12/hostname /etc/hostname rw - ext4 /dev/sda1 rw\n"


@pytest.mark.parametrize(
    ("file", "content"),
    [
        (".dockerenv", ""),
        ("run/.containerenv", ""),
        ("proc/self/cgroup", "12:devices:/docker/0123456789abcdef0123\n"),
        ("proc/self/cgroup", "0::/kubepods/besteffort/pod1\n"),
        ("proc/self/mountinfo", MOUNTS),
    ],
)
def test_localhost_in_a_container(tmp_path: Path, file: str, content: str) -> None:
    """If nothing answers at localhost and we are in a container, the step says what to enter."""
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).write_text(content)
    with Receiver() as down:
        port = down.port
    with jellyfin(f"http://localhost:{port}") as ours:
        ours.root = tmp_path
        (step,) = ours.test([])
        assert step.status == "fail"
        assert (
            "Stash runs in a container, and localhost is that container itself. Enter the address of the machine "
            "in your network, such as 192.168.1.5, or host.docker.internal, or the name of the container of "
            "Jellyfin."
        ) in step.text
