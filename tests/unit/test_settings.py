"""worker/settings.py: how Stash's map is parsed, and how problems are reported."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stash_courier.worker import destinations
from stash_courier.worker.paths import PathMap, matches_prefix
from stash_courier.worker.settings import SETTINGS, Settings, label, parse

KEYS = [setting.key for setting in SETTINGS]
NUMBERS = {
    "worker_concurrency": (1, 32),
    "worker_attempts": (1, 100),
    "worker_timeout_seconds": (1, 300),
    "worker_settle_seconds": (0, 86400),
    "worker_dead_letter_days": (1, 3650),
    "worker_sweep_minutes": (1, 1440),
}
TEXTS = ["worker_schedule", "filter_paths", "filter_skip_events", "filter_skip_tags", "path_map"]


def value_of(key: str, value: object) -> object:
    """The parsed value of a setting that is valid."""
    settings, problems = parse({key: value})
    assert problems == ()
    return getattr(settings, key)


def problem_of(key: str, value: object) -> tuple[object, str]:
    """The value that applies to an invalid setting, and the message."""
    settings, problems = parse({key: value})
    assert [problem.setting for problem in problems] == [key]
    assert problems[0].message.startswith(f"{label(key)} ")
    assert "Until it is corrected, " in problems[0].message
    return getattr(settings, key), problems[0].message


def test_label_is_the_name_on_the_page() -> None:
    """Messages name a setting as Stash's page does. A key of another version is shown as it is."""
    assert destinations.ALL_SETTINGS  # importing it makes the settings of destinations known
    assert label("worker_sweep_minutes") == '"Sweep, minutes between two"'
    assert label("webhook_url") == '"Webhook, URL"'
    assert label("of_another_version") == '"of_another_version"'


def test_nothing_set_is_all_defaults() -> None:
    """A plugin whose settings page was never opened works with the documented defaults."""
    assert parse({}) == (Settings(), ())


@pytest.mark.parametrize("empty", ["", "  ", 0, 0.0, False, None])
@pytest.mark.parametrize("key", KEYS)
def test_empty_value_means_default(key: str, empty: object) -> None:
    """Clearing a field on the page restores the default."""
    assert parse({key: empty}) == (Settings(), ())


def test_unknown_keys_are_no_problem() -> None:
    """Settings of an older version or of a destination may be in Stash and are no problem."""
    assert parse({"webhook_url": "http://a", "old_key": 5}) == (Settings(), ())


@pytest.mark.parametrize("key", NUMBERS)
def test_numbers_in_the_range_are_used(key: str) -> None:
    """Both ends of a number's range are valid, also as a float or as text."""
    low, high = NUMBERS[key]
    assert value_of(key, high) == high
    assert value_of(key, float(high)) == high
    assert value_of(key, f" {high} ") == high
    if low:
        assert value_of(key, low) == low


@pytest.mark.parametrize("key", NUMBERS)
def test_numbers_outside_the_range_are_refused(key: str) -> None:
    """For an invalid number the default is used, and the message names the range."""
    low, high = NUMBERS[key]
    for bad in (high + 1, -1, 1.5, "1.5", "many", "٣", "1e1", True, 10**5000, float("nan"), float("inf"), [5]):
        held, message = problem_of(key, bad)
        assert held == getattr(Settings(), key)
        assert f"from {low} to {high}" in message


def test_schedule_takes_units_spaces_and_commas() -> None:
    """A schedule is written in the usual units, separated by spaces or commas."""
    assert value_of("worker_schedule", "1s, 5m 2h,1d  7d") == (1.0, 300.0, 7200.0, 86400.0, 604800.0)
    assert value_of("worker_schedule", " , ") == Settings().worker_schedule
    assert value_of("worker_schedule", "1s " * 50) == (1.0,) * 50


@pytest.mark.parametrize("bad", ["5", "5x", "0s", "8d", "169h", "-5s", "1.5m", "5 m", "9999999s", "5s;5m"])
def test_schedule_with_a_bad_entry_is_not_used_in_part(bad: str) -> None:
    """With one invalid entry the whole default schedule is used, and the message names the entry's position."""
    held, message = problem_of("worker_schedule", f"10s {bad}")
    assert held == Settings().worker_schedule
    assert "entr" in message
    assert " 2" in message


def test_schedule_has_a_length_limit() -> None:
    """A schedule of more than 50 entries is refused."""
    assert "at most 50" in problem_of("worker_schedule", "1s " * 51)[1]


@pytest.mark.parametrize("key", ["filter_only_organized", "worker_sweep_off"])
def test_switches(key: str) -> None:
    """A switch is on or off as Stash stores it. Anything else is reported and counts as off."""
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
    """For a value of another type, which only a program can store, the default is used."""
    for bad in (5, 1.5, True, ["/data"], {"a": 1}, [], {}):
        held, message = problem_of(key, bad)
        assert held == getattr(Settings(), key)
        assert "must be text" in message


def test_filter_paths_may_hold_spaces() -> None:
    """Folders are separated by semicolons, so a name may contain spaces and commas."""
    held = value_of("filter_paths", r" /data/my clips ;; C:\Videos, old;\\nas\v ")
    assert held == ("/data/my clips", r"C:\Videos, old", r"\\nas\v")


def test_filter_path_without_root_keeps_the_filter_closed() -> None:
    """A mistyped folder never opens the filter: its scenes are not delivered, and the message says so."""
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
    assert "in the other folders" in message


def test_filter_skip_events_takes_words() -> None:
    """Events are entered as words, in any case and order."""
    assert value_of("filter_skip_events", "Update, destroy;create") == {"create", "update", "destroy"}
    assert value_of("filter_skip_events", "destroy") == {"destroy"}


def test_filter_skip_events_with_an_unknown_word() -> None:
    """An unknown word is reported by its position, and the others are used."""
    held, message = problem_of("filter_skip_events", "update deleted")
    assert held == {"update"}
    assert "entry 2" in message
    assert "only the other entries are used" in message
    held, message = problem_of("filter_skip_events", "scene.update")
    assert held == frozenset()
    assert "no event is skipped" in message


def test_filter_skip_tags_ignores_case() -> None:
    """Tag names are compared in any case, and may contain spaces."""
    assert value_of("filter_skip_tags", "Work in Progress; STRASSE,straße,") == {"work in progress", "strasse"}


@pytest.mark.parametrize(
    "bad", ["/data", "/data =>", "=> /mnt", "data => /mnt", "/data => mnt", "/a => /b => /c", "/ok/ => /twice"]
)
def test_bad_path_map_rule_is_reported_and_the_others_are_used(bad: str) -> None:
    """An invalid or contradictory rule is reported by its position, with what applies meanwhile."""
    held, message = problem_of("path_map", f"/ok => /fine; {bad}")
    assert isinstance(held, PathMap)
    assert held.rules == (("/ok", "/fine"),)
    assert "entry 2" in message
    assert "only the other entries" in message


def test_path_map_without_a_usable_rule() -> None:
    """If no rule is valid, the message says that paths are sent unchanged."""
    held, message = problem_of("path_map", "a; b; c; d; e; f; g")
    assert held == PathMap()
    assert "entries 1, 2, 3, 4, 5 and more" in message
    assert "as they are in Stash" in message


@pytest.mark.parametrize("key", KEYS)
def test_secret_in_the_wrong_field_is_not_repeated(key: str) -> None:
    """A token pasted into the wrong field never gets into a message."""
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
@example({"worker_concurrency": 10**5000}, "")
def test_hostile_settings(raw: dict[str, object], path: str) -> None:
    """Whatever is in Stash's settings, they can be parsed and used, and each problem names a setting."""
    settings, problems = parse(raw)
    names = [problem.setting for problem in problems]
    assert set(names) <= set(KEYS) & set(raw)
    assert len(names) == len(set(names))
    for key, (low, high) in NUMBERS.items():
        assert low <= getattr(settings, key) <= high
    assert all(1 <= wait <= 604800 for wait in settings.worker_schedule)
    settings.path_map.apply(path)
    for prefix in settings.filter_paths:
        matches_prefix(path, prefix)
    for problem in problems:
        assert problem.message.isprintable()
        assert len(problem.message) < 500
