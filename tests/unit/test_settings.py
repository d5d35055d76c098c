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


@pytest.mark.parametrize("empty", ["", "  ", 0, 0.0, False, None, " 0 "])
@pytest.mark.parametrize("key", KEYS)
def test_empty_value_means_default(key: str, empty: object) -> None:
    """Clearing a field on the page restores the default."""
    if key != "worker_schedule" or empty != " 0 ":
        assert parse({key: empty}) == (Settings(), [])


@pytest.mark.parametrize("key", KEYS)
def test_a_bad_value_says_what_applies_meanwhile(key: str) -> None:
    """The default is used, and the message says so; it never repeats what was entered, which may be a secret."""
    for bad in ("https://me:hunter2@host/?token=hunter2", "x => hunter2"):
        assert "hunter2" not in problem_of(key, bad)


@pytest.mark.parametrize("key", NUMBERS)
def test_both_ends_of_a_range_are_valid(key: str) -> None:
    """The numbers beyond them are not."""
    low, high = NUMBERS[key]
    for value in (low or getattr(Settings(), key), high):
        assert getattr(parse({key: value})[0], key) == value
    for bad in (high + 1, -1):
        assert f"must be a whole number from {low} to {high}" in problem_of(key, bad)


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
