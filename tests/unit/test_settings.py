"""worker/settings.py: how Stash's map is parsed, and how problems are reported."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stash_courier.worker import fields
from stash_courier.worker.settings import Settings, label, parse

KEYS = [entry.key for entry in fields.of(Settings)]
NUMBERS = {
    "worker_concurrency": (1, 32),
    "worker_attempts": (1, 100),
    "worker_timeout_seconds": (1, 300),
    "worker_settle_seconds": (0, 86400),
    "worker_dead_letter_days": (1, 3650),
    "worker_sweep_minutes": (1, 1440),
}
MEANWHILE = {
    "worker_dead_letter_days": "no dead letter is deleted for its age",
    "worker_schedule": "the default schedule is used",
    "worker_sweep_off": "it counts as off",
}


def value_of(key: str, value: object) -> object:
    """The parsed value of a setting that is valid."""
    settings, problems = parse({key: value})
    assert problems == []
    return getattr(settings, key)


def problem_of(key: str, value: object) -> str:
    """The message about an invalid setting, whose default is used."""
    settings, problems = parse({key: value})
    assert settings == Settings()
    assert [(problem.field, problem.connection) for problem in problems] == [(key, "")]
    (problem,) = problems
    assert problem.message.startswith(f"{label(key)} ")
    meanwhile = MEANWHILE.get(key, f"the default ({getattr(Settings(), key)}) is used")
    assert problem.message.endswith(f". Until it is corrected, {meanwhile}.")
    return problem.message


def test_label_is_the_name_on_the_page() -> None:
    """Messages name a setting as Stash's page does. A key of another version is shown as it is."""
    assert label("worker_sweep_minutes") == '"Sweep, minutes between two"'
    assert label("webhook_url") == '"Webhook, URL"'
    assert label("of_another_version") == '"of_another_version"'


def test_nothing_set_is_all_defaults() -> None:
    """A plugin whose settings page was never opened works with the documented defaults."""
    assert parse({}) == (Settings(), [])


@pytest.mark.parametrize("empty", ["", "  ", 0, 0.0, False, None, " 0 "])
@pytest.mark.parametrize("key", KEYS)
def test_empty_value_means_default(key: str, empty: object) -> None:
    """Clearing a field on the page restores the default."""
    if key != "worker_schedule" or empty != " 0 ":
        assert parse({key: empty}) == (Settings(), [])


def test_other_keys_are_no_problem() -> None:
    """Settings of the quick start or of an older version are no common settings."""
    assert parse({"webhook_url": "http://a", "old_key": 5}) == (Settings(), [])


@pytest.mark.parametrize("key", NUMBERS)
def test_numbers_in_the_range_are_used(key: str) -> None:
    """Both ends of a number's range are valid, also as a float or as text."""
    low, high = NUMBERS[key]
    assert value_of(key, high) == high
    assert value_of(key, float(high)) == high
    assert value_of(key, f" {high} ") == high
    assert value_of(key, low) == (low or getattr(Settings(), key))


@pytest.mark.parametrize("key", NUMBERS)
def test_numbers_outside_the_range_are_refused(key: str) -> None:
    """For an invalid number the default is used, and the message names the range."""
    low, high = NUMBERS[key]
    for bad in (high + 1, -1, 1.5, "1.5", "many", "٣", "1e1", True, 10**5000, float("nan"), float("inf"), [5]):
        assert f"must be a whole number from {low} to {high}" in problem_of(key, bad)


def test_the_schedule_is_never_empty() -> None:
    """A schedule of separators only is unset."""
    assert value_of("worker_schedule", " , ") == Settings().worker_schedule
    assert value_of("worker_schedule", "1s 5m") == (1.0, 300.0)
    assert "entry 2 must be a duration from 1s to 7d" in problem_of("worker_schedule", "10s 5x")


def test_the_switch() -> None:
    """A switch is on or off as Stash stores it. Anything else is reported and counts as off."""
    assert value_of("worker_sweep_off", True) is True
    assert "on or off" in problem_of("worker_sweep_off", "maybe")


@pytest.mark.parametrize("key", KEYS)
def test_secret_in_the_wrong_field_is_not_repeated(key: str) -> None:
    """A token pasted into the wrong field never gets into a message."""
    for secret in ("https://me:hunter2@host/?token=hunter2", "whsec_hunter2", "x => hunter2"):
        assert "hunter2" not in problem_of(key, secret)


HOSTILE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
) | st.text(alphabet="0159smhd ,;=>/\\:.Cupdate\ud800", max_size=40)


@given(st.dictionaries(st.sampled_from(KEYS) | st.text(), HOSTILE))
@example({"worker_concurrency": 10**5000})
def test_hostile_settings(raw: dict[str, object]) -> None:
    """Whatever is in Stash's settings, they can be parsed and used, and each problem names a setting."""
    settings, problems = parse(raw)
    names = [problem.field for problem in problems]
    assert set(names) <= set(KEYS) & set(raw)
    assert len(names) == len(set(names))
    for key, (low, high) in NUMBERS.items():
        assert low <= getattr(settings, key) <= high
    assert settings.worker_schedule
    assert all(1 <= wait <= 604800 for wait in settings.worker_schedule)
    for problem in problems:
        assert problem.message.isprintable()
        assert len(problem.message) < 500
