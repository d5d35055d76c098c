"""worker/paths.py: which paths are in a folder, and what destinations call them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stash_courier.worker.connections.model import Shared
from stash_courier.worker.fields import parse
from stash_courier.worker.paths import PathMap, is_windows, matches_prefix


@pytest.mark.parametrize(
    ("path", "windows"),
    [
        (r"D:\Media", True),
        ("d:/Media", True),
        ("D:", True),
        (r"\\nas\video", True),
        ("/d:/media", False),
        ("1:/media", False),
        ("D:media", False),
        ("//nas/video", False),
        (r"a\b", False),
        ("", False),
    ],
)
def test_windows_paths_are_recognized(path: str, windows: bool) -> None:
    """A path is compared as Windows does if it begins with a drive or two backslashes, and only then."""
    assert is_windows(path) is windows


@pytest.mark.parametrize(
    ("path", "prefix", "matches"),
    [
        ("/media/a/x.mp4", "/media/a", True),
        ("/media/a/x.mp4", "/media/a/", True),
        ("/media/a", "/media/a/", True),
        ("/media/ab/x.mp4", "/media/a", False),
        ("/media/A/x.mp4", "/media/a", False),
        ("/media/a/x.mp4", "/", True),
        ("/media/a/x.mp4", "", False),
        ("", "/", False),
        ("/media/a\\b/x.mp4", "/media/a", False),
        ("/media/a\\b/x.mp4", "/media/a\\b", True),
        (r"D:\Media\a\x.mp4", r"d:\media", True),
        (r"D:\Media\a\x.mp4", "D:/media/", True),
        (r"D:\Media\a\x.mp4", "D:\\", True),
        (r"D:\Media\a\x.mp4", "D:", True),
        (r"D:\Mediathek\x.mp4", r"D:\Media", False),
        (r"D:\Media\x.mp4", r"E:\Media", False),
        (r"D:\Media\x.mp4", "/", False),
        (r"\\NAS\Video\x.mp4", r"\\nas\video", True),
        (r"\\NAS\Video\x.mp4", "//nas/video", True),
        (r"\\NAS\Videos\x.mp4", r"\\nas\video", False),
        ("C:\\İ\\x.mp4", "c:\\İ", True),
    ],
)
def test_prefix_ends_at_a_component(path: str, prefix: str, matches: bool) -> None:
    """A folder matches what is in it, not everything that begins with the same letters."""
    assert matches_prefix(path, prefix) is matches


@pytest.mark.parametrize(
    ("rules", "path", "mapped"),
    [
        ("/data => /mnt/media", "/data/a b/x.mp4", "/mnt/media/a b/x.mp4"),
        ("/data/ => /mnt/media", "/data/x.mp4", "/mnt/media/x.mp4"),
        ("/data => /mnt/media/", "/data/x.mp4", "/mnt/media/x.mp4"),
        ("/data => /mnt/media", "/database/x.mp4", "/database/x.mp4"),
        ("/data => /mnt/media", "/other/x.mp4", "/other/x.mp4"),
        ("/data => /mnt/media", "/data", "/mnt/media"),
        ("/data => /mnt/media", "", ""),
        ("/data => /a; /data/deep => /b", "/data/deep/x.mp4", "/b/x.mp4"),
        ("/data/deep => /b; /data => /a", "/data/deeper/x.mp4", "/a/deeper/x.mp4"),
        ("/ => /mnt/", "/data/x.mp4", "/mnt/data/x.mp4"),
        ("/mnt => /", "/mnt/x.mp4", "/x.mp4"),
        (r"D:\Media => /mnt/m", r"d:\media\A\x.mp4", "/mnt/m/A/x.mp4"),
        ("D:\\ => /mnt/d", r"D:\A\x.mp4", "/mnt/d/A/x.mp4"),
        (r"\\nas\v => Z:", r"\\NAS\v\A\x.mp4", r"Z:\A\x.mp4"),
        ("//nas/v/ => /v", r"\\nas\v\A\x.mp4", "/v/A/x.mp4"),
        ("D:/Media => E:/m", r"D:\Media\A\x.mp4", "E:/m/A/x.mp4"),
        (r"/data => \\nas\v", "/data/A/x.mp4", r"\\nas\v\A\x.mp4"),
        ("/data => D:\\", "/data/A/x.mp4", r"D:\A\x.mp4"),
        ("/data => smb://nas/v", "/data/A/x.mp4", "smb://nas/v/A/x.mp4"),
        ("/data => /mnt", "/data/a\\b.mp4", "/mnt/a\\b.mp4"),
    ],
)
def test_path_map(rules: str, path: str, mapped: str) -> None:
    """Destinations get paths as they know them: by the longest rule, with the target's separators."""
    shared, problems = parse(Shared, {"path_map": rules})
    assert problems == []
    assert shared.path_map.apply(path) == mapped


def test_rule_for_names_the_rule_that_was_used() -> None:
    """A message can show the rule that mapped a path, or that none did."""
    path_map = PathMap((("/data/a", "/x"), ("/data", "/y")))
    assert path_map.rule_for("/data/a/f") == ("/data/a", "/x")
    assert path_map.rule_for("/data/b/f") == ("/data", "/y")
    assert path_map.rule_for("/elsewhere") is None


@given(st.text(alphabet="/\\abC:\u0130ß"), st.text(alphabet="/\\abC:\u0130ß"))
def test_only_paths_below_the_prefix_are_mapped(path: str, prefix: str) -> None:
    """The path map and the path filter agree on what is in a folder."""
    rule = (prefix, "/mapped")
    if matches_prefix(path, prefix):
        mapped = PathMap((rule,)).apply(path)
        assert mapped == "/mapped" or mapped.startswith("/mapped/")
    else:
        assert PathMap((rule,)).apply(path) == path
