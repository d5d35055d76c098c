"""The library report: what a media server has of Stash's scenes, in each group, without changing it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stash_courier.queue.inbox import files
from stash_courier.worker.connections.model import Entry
from tests.standin import emby, plex
from tests.standin.jellyfin import KEY, StandInJellyfin
from tests.standin.stash import StandInStash
from tests.support import connections
from tests.support.big_stash import big_stash
from tests.support.buttons import Buttons
from tests.support.durable import HOOK
from tests.support.press import press, reach, refusal

pytestmark = pytest.mark.timeout(180)

RULE = "/media/films => /films"
MANY = 50_000
# Runs a command, and writes its largest memory in KiB, which only it and no other child of this process had.
MEASURED = """
import resource, subprocess, sys
ended = subprocess.run(sys.argv[1:], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.stdout.flush()
sys.stdout.buffer.write(ended.stdout)
"""


def entry(kind: str, url: str, **values: object) -> Entry:
    """A connection to a media server."""
    return Entry(f"{kind}-1", "Living room", kind, values={"url": url, "path_map": RULE, **values})


def groups(found: dict[str, Any]) -> dict[str, int]:
    """The sizes of the groups that have scenes."""
    return {group["group"]: group["scenes"] for group in found["groups"]}


@pytest.fixture
def stash(tmp_path: Path) -> Iterator[StandInStash]:
    """A Stash with a scene for each group."""
    with StandInStash(0, config_dir=tmp_path / "stash config") as server:
        for name in (
            "films/Anna/one.mp4",
            "films/Zoe/Zoe - Beach.mp4",
            "films/Zoe/Zoe - City.mp4",
            "films/Long/Long part1.mp4",
            "films/Long/Long part2.mp4",
            "films/Anna/late.mp4",
            "films/Anna/one-scene.mp4",
            "elsewhere/a.mp4",
        ):
            server.add_scene(f"/media/{name}")
        yield server


@pytest.fixture
def buttons(tmp_path: Path, stash: StandInStash) -> Buttons:
    """A plugin whose modes know where Stash is."""
    made = Buttons(tmp_path, stash.config.port)
    reach(made.folder, made.port)
    return made


@pytest.mark.parametrize("version", ["10.10.7", "12.0.0"])
def test_each_scene_is_in_the_group_that_the_server_gives_it(
    stash: StandInStash, buttons: Buttons, version: str
) -> None:
    """Items of their own, versions, parts and what is missing are told apart; nothing is changed anywhere."""
    with StandInJellyfin(version=version, libraries={"Films": ["/films"]}) as server:
        paths = [scene.path.replace("/media/films", "/films") for scene in stash.library.all()]
        server.put(*(path for path in paths if path.startswith("/films/") and "late" not in path))
        server.scan()
        connections.store(buttons.folder, entry("jellyfin", server.url, key=KEY))
        called = press(buttons.folder, "library_report")
        assert (server.posted, server.notified) == ([], [])
        assert {route.split()[0] for route in server.counts} == {"GET"}
    (found,) = called["connections"]
    assert groups(found) == {"own": 3, "version": 1, "part": 1, "never": 1, "not_scanned": 1, "no_rule": 1}
    examples = {group["group"]: [one["path"] for one in group["examples"]] for group in found["groups"]}
    assert examples["version"] == ["/media/films/Zoe/Zoe - City.mp4"]
    assert examples["part"] == ["/media/films/Long/Long part2.mp4"]
    assert examples["not_scanned"] == ["/media/films/Anna/late.mp4"]
    assert examples["never"] == ["/media/films/Anna/one-scene.mp4"]
    assert examples["no_rule"] == ["/media/elsewhere/a.mp4"]
    assert called["ok"] is True
    assert not (buttons.folder / files.QUEUE_DB).exists()
    by_group = {group["group"]: group for group in found["groups"]}
    assert by_group["never"]["advice"] == "Rename or move these files."
    assert by_group["never"]["examples"][0]["why"].startswith(
        'Jellyfin takes a file whose name ends with "-scene"'
    )
    assert by_group["not_scanned"]["examples"][0]["why"] == "in the library Films"
    assert 'library of type "Home videos and photos"' in by_group["version"]["advice"]


@pytest.mark.parametrize("path_map", [RULE, "/media/films => //nas/films"])
def test_a_server_that_shows_network_paths(stash: StandInStash, buttons: Buttons, path_map: str) -> None:
    """The path map may lead to the real paths, or to those that the server's answers show."""
    with StandInJellyfin(version="12.0.0", libraries={"Films": ["/films"]}) as server:
        server.substitutions = {"/films": "//nas/films"}
        server.put(*(scene.path.replace("/media/films", "/films") for scene in stash.library.all()[:5]))
        server.scan()
        connections.store(buttons.folder, entry("jellyfin", server.url, key=KEY, path_map=path_map))
        (found,) = press(buttons.folder, "library_report")["connections"]
    assert groups(found) == {"own": 3, "version": 1, "part": 1, "never": 1, "not_scanned": 1, "no_rule": 1}


def test_scenes_that_filters_leave_out_are_only_counted(stash: StandInStash, buttons: Buttons) -> None:
    """What a connection doesn't send is missing there by the owner's will."""
    with StandInJellyfin(libraries={"Films": ["/films"]}) as server:
        connections.store(
            buttons.folder, entry("jellyfin", server.url, key=KEY, folders=["/media/films/Anna"], absent="skip")
        )
        called = press(buttons.folder, "library_report")
    (found,) = called["connections"]
    assert (found["scenes"], found["left_out"]) == (3, 5)
    assert groups(found) == {"never": 1, "not_scanned": 2}


def test_plex_gives_versions_and_parts(stash: StandInStash, buttons: Buttons) -> None:
    """An item of Plex may have several files; the first one counts as the item's."""
    films = plex.Library("1", "Films", ("/films",))
    with plex.Plex(films) as server:
        server.add(films, "/films/Anna/one.mp4")
        server.add(films, "/films/Zoe/Zoe - Beach.mp4", "/films/Zoe/Zoe - City.mp4")
        connections.store(buttons.folder, entry("plex", server.url, key=plex.TOKEN))
        called = press(buttons.folder, "library_report")
        assert not server.requests("PUT")
        assert server.scans == []
    (found,) = called["connections"]
    assert groups(found) == {"own": 2, "version": 1, "not_scanned": 4, "no_rule": 1}
    (versions,) = [group for group in found["groups"] if group["group"] == "version"]
    assert '"Split Apart"' in versions["advice"]


def test_plex_names_libraries_that_are_not_searched(stash: StandInStash, buttons: Buttons) -> None:
    """A file in a library of another type, or in one that the owner left out, is not outside all libraries."""
    libraries = (
        plex.Library("1", "Films", ("/films/Anna",)),
        plex.Library("2", "Private", ("/films/Zoe",)),
        plex.Library("3", "Series", ("/films/Long",), "show"),
    )
    with plex.Plex(*libraries) as server:
        connections.store(buttons.folder, entry("plex", server.url, key=plex.TOKEN, libraries="Films"))
        called = press(buttons.folder, "library_report")
    (found,) = called["connections"]
    assert groups(found) == {"not_scanned": 3, "not_searched": 4, "no_rule": 1}
    (group,) = [group for group in found["groups"] if group["group"] == "not_searched"]
    reasons = {example["server_path"]: example["why"] for example in group["examples"]}
    assert reasons["/films/Zoe/Zoe - Beach.mp4"] == 'in the library Private, which is not named in "Libraries"'
    supported = "in the library Series of the type TV shows, which is not supported"
    assert reasons["/films/Long/Long part1.mp4"] == supported


def test_emby_gives_what_it_lists(stash: StandInStash, buttons: Buttons) -> None:
    """Emby's listing says which files it has."""
    with emby.Emby(emby.Item("1", "/films/Anna/one.mp4"), libraries={"Films": ("/films",)}) as server:
        connections.store(buttons.folder, entry("emby", server.url, key=emby.KEY))
        (found,) = press(buttons.folder, "library_report")["connections"]
        assert server.notices == []
    assert groups(found) == {"own": 1, "not_scanned": 6, "no_rule": 1}


def test_one_server_can_be_chosen(stash: StandInStash, buttons: Buttons) -> None:
    """A caller may name a connection, also a paused one; an unknown one is answered with the known ones."""
    with StandInJellyfin(libraries={"Films": ["/films"]}) as server:
        first = entry("jellyfin", server.url, key=KEY)
        paused = Entry("jellyfin-2", "Attic", "jellyfin", "paused", first.values)
        connections.store(buttons.folder, first, paused)
        found = press(buttons.folder, "library_report", connection="jellyfin-2")["connections"]
        assert [one["id"] for one in found] == ["jellyfin-2"]
        assert len(press(buttons.folder, "library_report")["connections"]) == 2
        assert "Media servers: jellyfin-1, jellyfin-2." in refusal(
            buttons.folder, "library_report", connection="plex"
        )


def test_a_server_that_is_down_spoils_no_other_report(stash: StandInStash, buttons: Buttons) -> None:
    """The report says which server couldn't be asked, and why."""
    with StandInJellyfin(libraries={"Films": ["/films"]}) as server:
        gone = Entry("plex-1", "Attic", "plex", values={"url": "http://127.0.0.1:9", "key": plex.TOKEN})
        connections.store(buttons.folder, entry("jellyfin", server.url, key=KEY), gone)
        called = press(buttons.folder, "library_report")
    by_id = {one["id"]: one for one in called["connections"]}
    assert (by_id["jellyfin-1"]["error"], called["ok"]) == (None, False)
    assert "127.0.0.1:9" in by_id["plex-1"]["error"]


@pytest.mark.check
def test_fifty_thousand_scenes_take_few_requests_and_little_memory(tmp_path: Path) -> None:
    """At most 60 requests to the server per 10,000 scenes, and less than 100 MiB; a fifth of them are versions."""

    def path(scene: int) -> str:
        folder = f"/media/films/A studio with a long name/A performer with a long name {scene // 5}"
        return f"{folder}/A performer with a long name - A title of the usual length {scene}.mp4"

    with (
        big_stash(MANY, path) as stash,
        StandInJellyfin(version="12.0.0", libraries={"Films": ["/films"]}) as server,
    ):
        for scene in range(1, MANY + 1, 5):
            ids = [server.add(path(n).replace("/media", "")) for n in range(scene, scene + 5)]
            server.versions[ids[0]] = ids[1:2]
        buttons = Buttons(tmp_path, stash.port)
        buttons.folder.mkdir()
        connections.store(buttons.folder, entry("jellyfin", server.url, key=KEY, timeout_seconds=60))
        given = json.dumps(buttons.request("library_report")).encode()
        ended = subprocess.run(
            [sys.executable, "-c", MEASURED, *HOOK],
            input=given,
            stdout=subprocess.PIPE,
            check=True,
            timeout=170,
        )
        asked = sum(server.counts.values())
    kib, answer = ended.stdout.split(b"\n", 1)
    (found,) = json.loads(answer)["output"]["connections"]
    assert groups(found) == {"own": MANY * 4 // 5, "version": MANY // 5}
    assert asked <= 60 * MANY / 10_000
    assert int(kib) < 100 * 1024
