"""worker/settings.py: what Stash's map means, and what is said about what can't be used."""

from __future__ import annotations

from dataclasses import fields

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from stash_courier.worker.settings import PathMap, Settings, matches_prefix, parse
from tests import ROOT

MANIFEST_KEYS = set(yaml.safe_load((ROOT / "stash_plugin.yml").read_text())["settings"])
KEYS = [field.name for field in fields(Settings)]
NUMBERS = {
    "delivery_concurrency": (1, 32),
    "delivery_max_attempts": (1, 100),
    "delivery_timeout_seconds": (1, 300),
    "delivery_settle_seconds": (0, 86400),
    "dead_letter_retention_days": (1, 3650),
    "sweep_minutes": (1, 1440),
}
TEXTS = ["delivery_retry_schedule", "filter_paths", "filter_skip_events", "filter_skip_tags", "path_map"]


def value_of(key: str, value: object) -> object:
    """The setting parsed alone, which must be no problem."""
    settings, problems = parse({key: value})
    assert problems == ()
    return getattr(settings, key)


def problem_of(key: str, value: object) -> tuple[object, str]:
    """What holds meanwhile, and the one sentence about it."""
    settings, problems = parse({key: value})
    assert [problem.setting for problem in problems] == [key]
    assert problems[0].message.startswith(f"{key} ")
    assert "until this is mended" in problems[0].message
    return getattr(settings, key), problems[0].message


def test_nothing_set_is_all_defaults() -> None:
    """A plugin whose settings page was never opened works with the documented defaults."""
    assert parse({}) == (Settings(), ())


@pytest.mark.parametrize("empty", ["", "  ", 0, 0.0, False, None])
@pytest.mark.parametrize("key", KEYS)
def test_empty_value_means_default(key: str, empty: object) -> None:
    """A field that is cleared on the page means the default again."""
    assert parse({key: empty}) == (Settings(), ())


def test_unknown_keys_are_no_problem() -> None:
    """Settings of an older version or of a destination stay in Stash without complaint."""
    assert parse({"webhook_url": "http://a", "old_key": 5}) == (Settings(), ())


@pytest.mark.parametrize("key", NUMBERS)
def test_numbers_within_the_range_hold(key: str) -> None:
    """Both ends of a number's range are usable, also where Stash hands over a float or text."""
    low, high = NUMBERS[key]
    assert value_of(key, high) == high
    assert value_of(key, float(high)) == high
    assert value_of(key, f" {high} ") == high
    if low:
        assert value_of(key, low) == low


@pytest.mark.parametrize("key", NUMBERS)
def test_numbers_outside_the_range_are_refused(key: str) -> None:
    """A number that can't be used leaves the default in force, and the range is named."""
    low, high = NUMBERS[key]
    for bad in (high + 1, -1, 1.5, "1.5", "many", "٣", "1e1", True, 10**5000, float("nan"), float("inf"), [5]):
        held, message = problem_of(key, bad)
        assert held == getattr(Settings(), key)
        assert f"from {low} to {high}" in message


def test_schedule_takes_units_spaces_and_commas() -> None:
    """A schedule is written as people write durations."""
    assert value_of("delivery_retry_schedule", "1s, 5m 2h,1d  7d") == (1.0, 300.0, 7200.0, 86400.0, 604800.0)
    assert value_of("delivery_retry_schedule", " , ") == Settings().delivery_retry_schedule
    assert value_of("delivery_retry_schedule", "1s " * 50) == (1.0,) * 50


@pytest.mark.parametrize("bad", ["5", "5x", "0s", "8d", "169h", "-5s", "1.5m", "5 m", "9999999s", "5s;5m"])
def test_schedule_with_a_bad_entry_is_not_used_in_part(bad: str) -> None:
    """A schedule with one unreadable entry is the default as a whole, and the entry's place is named."""
    held, message = problem_of("delivery_retry_schedule", f"10s {bad}")
    assert held == Settings().delivery_retry_schedule
    assert "entr" in message
    assert " 2" in message


def test_schedule_has_a_length_limit() -> None:
    """A schedule of more than 50 entries is refused."""
    assert "at most 50" in problem_of("delivery_retry_schedule", "1s " * 51)[1]


@pytest.mark.parametrize("key", ["filter_only_organized", "sweep_off"])
def test_switches(key: str) -> None:
    """A switch is on when Stash says so and off otherwise; anything else is named, and counts as off."""
    assert value_of(key, True) is True
    assert value_of(key, "True") is True
    assert value_of(key, "false") is False
    bads: tuple[object, ...] = ("maybe", "on", 1, 2.0, [], {})
    for bad in bads:
        held, message = problem_of(key, bad)
        assert held is False
        assert "on or off" in message


@pytest.mark.parametrize("key", TEXTS)
def test_text_that_is_no_text(key: str) -> None:
    """A value of another kind, which only a program can put there, leaves the default in force."""
    for bad in (5, 1.5, True, ["/data"], {"a": 1}, [], {}):
        held, message = problem_of(key, bad)
        assert held == getattr(Settings(), key)
        assert "must be text" in message


def test_filter_paths_may_hold_spaces() -> None:
    """Folders are parted by semicolons, so a name may hold spaces and commas."""
    held = value_of("filter_paths", r" /data/my clips ;; C:\Videos, old;\\nas\v ")
    assert held == ("/data/my clips", r"C:\Videos, old", r"\\nas\v")


def test_filter_path_without_root_keeps_the_filter_closed() -> None:
    """A mistyped folder never opens the filter: its scenes stay in, and the sentence says so."""
    held, message = problem_of("filter_paths", "data/clips")
    assert isinstance(held, tuple)
    assert held
    assert not any(matches_prefix(path, held[0]) for path in ("/data/clips/a.mp4", r"C:\data\clips\a.mp4"))
    assert "entry 1" in message
    assert "no scene is delivered" in message
    held, message = problem_of("filter_paths", "/data/a; data/b")
    assert isinstance(held, tuple)
    assert matches_prefix("/data/a/x.mp4", held[0])
    assert "entry 2" in message
    assert "below the other paths" in message


def test_filter_skip_events_takes_words() -> None:
    """Kinds of event are named in words, in any case and order."""
    assert value_of("filter_skip_events", "Update, destroy;create") == {"create", "update", "destroy"}
    assert value_of("filter_skip_events", "destroy") == {"destroy"}


def test_filter_skip_events_with_an_unknown_word() -> None:
    """A word that is no event is named by its place; the others still count."""
    held, message = problem_of("filter_skip_events", "update deleted")
    assert held == {"update"}
    assert "entry 2" in message
    assert "only the other words count" in message
    held, message = problem_of("filter_skip_events", "scene.update")
    assert held == frozenset()
    assert "no event is skipped" in message


def test_filter_skip_tags_ignores_case() -> None:
    """Tag names are compared whatever their case, and may hold spaces."""
    assert value_of("filter_skip_tags", "Work in Progress; STRASSE,straße,") == {"work in progress", "strasse"}


@pytest.mark.parametrize(
    ("path", "prefix", "fits"),
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
def test_prefix_ends_at_a_component(path: str, prefix: str, fits: bool) -> None:
    """A folder means what lies in it, not what merely begins with the same letters."""
    assert matches_prefix(path, prefix) is fits


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
    """Paths reach the destination as it knows them: the longest rule counts, separators are the target's."""
    path_map = value_of("path_map", rules)
    assert isinstance(path_map, PathMap)
    assert path_map.apply(path) == mapped


def test_rule_for_names_the_rule_that_was_used() -> None:
    """A dead letter can show the rule by which a path was mapped, or that there was none."""
    path_map = PathMap((("/data/a", "/x"), ("/data", "/y")))
    assert path_map.rule_for("/data/a/f") == ("/data/a", "/x")
    assert path_map.rule_for("/data/b/f") == ("/data", "/y")
    assert path_map.rule_for("/elsewhere") is None


@pytest.mark.parametrize(
    "bad", ["/data", "/data =>", "=> /mnt", "data => /mnt", "/data => mnt", "/a => /b => /c", "/ok/ => /twice"]
)
def test_bad_path_map_rule_is_named_and_the_others_hold(bad: str) -> None:
    """An unreadable or contradicting rule is named by its place, with what is done meanwhile."""
    held, message = problem_of("path_map", f"/ok => /fine; {bad}")
    assert isinstance(held, PathMap)
    assert held.rules == (("/ok", "/fine"),)
    assert "entry 2" in message
    assert "only the other rules" in message


def test_path_map_without_a_usable_rule() -> None:
    """When no rule can be read, the sentence says that paths stay as they are."""
    held, message = problem_of("path_map", "a; b; c; d; e; f; g")
    assert held == PathMap()
    assert "entries 1, 2, 3, 4, 5 and more" in message
    assert "as Stash has them" in message


@pytest.mark.parametrize("key", KEYS)
def test_secret_in_the_wrong_field_is_not_repeated(key: str) -> None:
    """A token pasted into the wrong field doesn't travel into status or a log."""
    for secret in ("https://me:hunter2@host/?token=hunter2", "whsec_hunter2", "x => hunter2"):
        _, problems = parse({key: secret})
        assert problems or key == "filter_skip_tags"
        assert "hunter2" not in "".join(problem.message for problem in problems)


HOSTILE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
) | st.text(alphabet="0159smhd ,;=>/\\:.Cupdate\ud800", max_size=40)


@given(st.dictionaries(st.sampled_from(KEYS) | st.text(), HOSTILE), st.text(alphabet="/\\aC:\u0130ß"))
@example({"delivery_concurrency": 10**5000}, "")
def test_hostile_settings(raw: dict[str, object], path: str) -> None:
    """Whatever stands in Stash's settings, they can be parsed and used, and each problem names a setting."""
    settings, problems = parse(raw)
    names = [problem.setting for problem in problems]
    assert set(names) <= MANIFEST_KEYS & set(raw)
    assert len(names) == len(set(names))
    for key, (low, high) in NUMBERS.items():
        assert low <= getattr(settings, key) <= high
    assert all(1 <= wait <= 604800 for wait in settings.delivery_retry_schedule)
    settings.path_map.apply(path)
    for prefix in settings.filter_paths:
        matches_prefix(path, prefix)
    for problem in problems:
        assert problem.message.isprintable()
        assert len(problem.message) < 500


@given(st.text(alphabet="/\\abC:\u0130ß"), st.text(alphabet="/\\abC:\u0130ß"))
def test_only_paths_below_the_prefix_are_mapped(path: str, prefix: str) -> None:
    """The path map and the path filter agree on what lies below a folder."""
    rule = (prefix, "/mapped")
    if matches_prefix(path, prefix):
        mapped = PathMap((rule,)).apply(path)
        assert mapped == "/mapped" or mapped.startswith("/mapped/")
    else:
        assert PathMap((rule,)).apply(path) == path
