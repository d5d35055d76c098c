"""What the button "Test destinations" reports about a Jellyfin server."""

from __future__ import annotations

import copy

import pytest

from tests.standin.jellyfin import StandInJellyfin
from tests.support.jellyfin import jellyfin
from tests.support.media_samples import DISTINCT, delivery, scene

pytestmark = pytest.mark.timeout(60)


def test_the_check_shows_what_would_change(server: StandInJellyfin) -> None:
    """The check names server, version, libraries, the item and each field that would change."""
    item_id = server.add("/media/movies/one.mkv", **DISTINCT)
    before = copy.deepcopy(server.items)
    with jellyfin(server) as ours:
        report = ours.check(scene())
    said = "\n".join(report.lines)
    assert report.ok
    for part in (
        "Jellyfin Server 10.10.7",
        "stand-in",
        "Movies (/media/movies)",
        item_id,
        "/media/movies/one.mkv",
    ):
        assert part in said
    assert 'title: "one" would become "A Title"' in said
    assert 'tags: "by hand" would become "calm, loud"' in said
    assert "The whole item is locked in Jellyfin" in said
    assert server.items == before
    assert all(route.startswith("GET") for route in server.counts)


def test_the_check_says_that_nothing_would_change(server: StandInJellyfin) -> None:
    """The check of an item that is up to date says so."""
    server.add("/media/movies/one.mkv")
    one = scene()
    with jellyfin(server) as ours:
        ours.deliver(delivery("jellyfin", one), one)
        assert ours.check(one).lines[-1] == "Nothing would change."


@pytest.mark.parametrize(
    ("there", "words"),
    [
        (["/media/movies/one.mkv"], ["/media/movies/one.mkv", "the rule /data => /media"]),
        ([], ["Movies has a folder of that name at /media/movies", "the rule /data => /media"]),
    ],
)
def test_the_check_shows_the_missing_rule(server: StandInJellyfin, there: list[str], words: list[str]) -> None:
    """If no path_map rule applies, the check shows both paths and the missing rule."""
    for path in there:
        server.add(path)
    with jellyfin(server, path_map="") as ours:
        report = ours.check(scene())
    said = "\n".join(report.lines)
    assert not report.ok
    assert '/data/movies/one.mkv; no rule of "Path map" fits it' in said
    for part in words:
        assert part in said
    assert server.notified == []


def test_the_check_of_a_file_that_is_not_scanned(server: StandInJellyfin) -> None:
    """An unknown path inside a library is a pending scan."""
    with jellyfin(server) as ours:
        report = ours.check(scene())
    assert not report.ok
    assert "which has not scanned it yet" in report.lines[-1]


def test_the_check_shows_a_wrong_rule(server: StandInJellyfin) -> None:
    """A file elsewhere in the same library means a wrong rule, not a pending scan."""
    server.libraries = {"All": ["/media"]}
    server.add("/media/films/movies/one.mkv")
    with jellyfin(server) as ours:
        report = ours.check(scene())
    assert not report.ok
    assert report.lines[-1] == (
        'It has a file of that name at /media/films/movies/one.mkv: the rule /data => /media/films in "Path map", '
        "in place of /data => /media, would map one to the other."
    )
    assert "not scanned" not in "\n".join(report.lines)


def test_the_check_shows_windows_paths(server: StandInJellyfin) -> None:
    """The server's path is shown with its own spelling."""
    server.add("D:\\Movies\\One.mkv")
    with jellyfin(server, path_map="") as ours:
        report = ours.check(scene())
    assert 'at D:\\Movies\\One.mkv: the rule /data => D: in "Path map"' in report.lines[-1]


def test_the_check_of_a_wrong_key(server: StandInJellyfin) -> None:
    """The check of a wrong key names the setting; without a scene it passes, without a file it fails."""
    with jellyfin(server, key="f" * 32) as ours:
        report = ours.check(scene())
    assert not report.ok
    assert '"API key"' in report.lines[0]
    with jellyfin(server) as ours:
        assert ours.check(None).ok
        assert "no file" in ours.check(scene(files=())).lines[-1]
