"""worker/fields.py: how the values that an owner enters are read, and what is said of those that can't be used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stash_courier.worker import fields
from stash_courier.worker.connections.model import Shared
from stash_courier.worker.fields import BadSetting, Value, parse
from stash_courier.worker.paths import PathMap, matches_prefix


def _odd(value: Value) -> str:
    if value.text() != "odd":
        raise BadSetting("is not odd")
    return "odd"


@dataclass(frozen=True, slots=True)
class Group:
    """A group with a field of each type."""

    needed: str = fields.text("Needed", "It is needed.", required=True)
    odd: str = fields.text("Odd", "An odd text.", _odd, "default", meanwhile="nothing is odd")
    key: str = fields.secret("Key", "A key.")
    above: int | None = fields.number("Above", "A number.", (1, 9), None)
    from_zero: int | None = fields.number("From zero", "A number.", (0, 9), None)
    on: bool = fields.switch("On", "A switch.")
    kind: str = fields.choice("Kind", "A choice.", {"first": "The first", "second": "The second"})


LISTS = ("path_map", "events", "folders", "include_tags", "skip_tags", "studios", "schedule")
UNSET: tuple[object, ...] = ("", "  ", None, False, 0, 0.0, [], [" "], " ; ")


def read(key: str, value: object) -> Any:
    """The value of a field that every connection has, without a problem."""
    shared, problems = parse(Shared, {key: value})
    assert problems == []
    return getattr(shared, key)


def problem_of(key: str, value: object, group: type[Any] = Shared) -> str:
    """The only message about a value; the default is used."""
    parsed, problems = parse(group, {"needed": "x", key: value})
    assert [problem.field for problem in problems] == [key]
    assert getattr(parsed, key) == getattr(parse(group, {"needed": "x"})[0], key)
    return problems[0].message


def test_a_group_describes_itself() -> None:
    """A form is drawn from the same table that parses: its entries know key, type, limits and choices."""
    found = fields.of(Group)
    assert [entry.key for entry in found] == ["needed", "odd", "key", "above", "from_zero", "on", "kind"]
    assert [entry.type for entry in found] == ["text", "text", "secret", "number", "number", "switch", "choice"]
    assert found[3].limits == (1, 9)
    assert list(found[6].choices) == ["first", "second"]
    assert fields.label(Group, "from_zero") == '"From zero"'


def test_unset_fields_have_their_defaults() -> None:
    """What is not filled in has its default, keys of others are ignored, and a required field is asked for."""
    parsed, problems = parse(Group, {"of_another_version": 5})
    assert parsed == Group(needed="", odd="default", key="", above=None, from_zero=None, on=False, kind="first")
    (problem,) = problems
    assert (problem.field, problem.message) == (
        "needed",
        '"Needed" is empty. Until it is corrected, nothing is sent.',
    )


@pytest.mark.parametrize("empty", ["", " \t", None, False, 0, 0.0])
@pytest.mark.parametrize("key", ["needed", "odd", "key", "above", "on", "kind"])
def test_what_stash_stores_for_nothing_is_unset(key: str, empty: object) -> None:
    """Stash's page stores "", 0 or off for what is not set."""
    parsed, problems = parse(Group, {"needed": "x", key: empty})
    assert getattr(parsed, key) == getattr(parse(Group, {})[0], key)
    assert [problem.field for problem in problems] == (["needed"] if key == "needed" else [])


@pytest.mark.parametrize(("key", "zero"), [("above", None), ("from_zero", 0)])
@pytest.mark.parametrize("value", [0, 0.0, "0", " 0 ", "+0", "0.0"])
def test_zero_is_unset_where_it_is_no_valid_number(key: str, zero: int | None, value: object) -> None:
    """0 means unset if the lowest value is above it, and 0 if it is a valid value."""
    parsed, problems = parse(Group, {"needed": "x", key: value})
    assert problems == []
    assert getattr(parsed, key) == zero


def test_a_number_outside_its_limits_is_refused() -> None:
    """The message about a number names its limits."""
    bads: tuple[object, ...] = (10, -1, 1.5, "1.5", "many", "٣", "1e1", True, 10**5000, float("nan"), [5], {})
    for bad in bads:
        assert problem_of("above", bad, Group) == (
            '"Above" must be a whole number from 1 to 9. Until it is corrected, nothing is sent.'
        )


@pytest.mark.parametrize(("value", "on"), [(True, True), ("True", True), (" false ", False), ("0", False)])
def test_a_switch_is_read_as_stash_stores_it(value: object, on: bool) -> None:
    """A switch is a boolean, or its word."""
    parsed, problems = parse(Group, {"needed": "x", "on": value})
    assert (parsed.on, problems) == (on, [])


@pytest.mark.parametrize("bad", ["maybe", "on", 1, 2.0, ["x"], {}])
def test_a_switch_is_never_guessed(bad: object) -> None:
    """Anything else is a problem."""
    assert '"On" must be on or off' in problem_of("on", bad, Group)


def test_a_choice_is_one_of_its_values() -> None:
    """A choice is one of its values, and the message lists them."""
    assert parse(Group, {"needed": "x", "kind": " second "})[0].kind == "second"
    assert '"Kind" must be one of first, second. ' in problem_of("kind", "The second", Group)
    assert '"Kind" must be text. ' in problem_of("kind", 5, Group)


def test_a_reader_says_what_is_wrong() -> None:
    """A reader's own message follows the label, and what applies meanwhile follows the message."""
    assert parse(Group, {"needed": "x", "odd": " odd "})[0].odd == "odd"
    assert problem_of("odd", "even", Group) == '"Odd" is not odd. Until it is corrected, nothing is odd.'
    for bad in (5, True, ["odd"], {"odd": 1}):
        assert problem_of("odd", bad, Group) == '"Odd" must be text. Until it is corrected, nothing is odd.'


def test_all_problems_are_found_at_once() -> None:
    """One look shows everything that is wrong."""
    _, problems = parse(Group, {"odd": "even", "above": 10, "on": "maybe", "kind": "third"})
    assert [problem.field for problem in problems] == ["needed", "odd", "above", "on", "kind"]


# Lists


@pytest.mark.parametrize("unset", UNSET)
@pytest.mark.parametrize("key", LISTS)
def test_a_list_without_an_entry_is_unset(key: str, unset: object) -> None:
    """Separators alone are no entries, so that no filter and no schedule is empty by mistake."""
    assert read(key, unset) == getattr(Shared(), key)


@pytest.mark.parametrize("bad", [5, True, [5], ["/a", None], {"a": 1}, [["/a"]]])
@pytest.mark.parametrize("key", LISTS)
def test_a_list_holds_texts(key: str, bad: object) -> None:
    """A value of another type, which only a program can enter, is a problem."""
    assert "must be text" in problem_of(key, bad)


@pytest.mark.parametrize(
    ("key", "text", "entries", "expected"),
    [
        ("events", "Update, destroy;update", ["UPDATE", "destroy"], {"update", "destroy"}),
        ("schedule", "1s, 5m 2h;1d  7d", ["1s", "5m", "2h", "1d", "7d"], (1.0, 300.0, 7200.0, 86400.0, 604800.0)),
        ("folders", r" /data/my clips ;; \\nas\v", ["/data/my clips", r"\\nas\v"], ("/data/my clips", r"\\nas\v")),
        ("skip_tags", "Work in Progress; STRASSE,straße,", ["Work in progress", "straße"], None),
        ("include_tags", "a,B", ["A", "b"], {"a", "b"}),
        ("studios", "One; two", ["one", "TWO"], {"one", "two"}),
        ("path_map", "/a => /x; /a/b => /y", ["/a => /x", " /a/b=>/y "], None),
    ],
)
def test_a_list_is_text_with_separators_or_a_list(
    key: str, text: str, entries: list[str], expected: object
) -> None:
    """Both forms of a list mean the same."""
    if key == "skip_tags":
        expected = {"work in progress", "strasse"}
    if key == "path_map":
        expected = PathMap((("/a/b", "/y"), ("/a", "/x")))
    assert read(key, text) == expected
    assert read(key, entries) == expected


def test_an_entry_of_a_list_may_contain_separators() -> None:
    """Given as a list, a name may contain a comma, and a folder a semicolon."""
    assert read("skip_tags", ["Smith, John; II"]) == {"smith, john; ii"}
    assert read("folders", ["/data/a;b"]) == ("/data/a;b",)


@pytest.mark.parametrize(
    ("key", "entries", "place", "must"),
    [
        ("events", ["update", "deleted", "create"], "entry 2", "be create, update or destroy"),
        ("schedule", ["10s", "5", "5x"], "entries 2, 3", "be a duration from 1s to 7d"),
        ("folders", ["data/a", "/data/b"], "entry 1", "begin with / or a drive letter"),
        ("path_map", ["/ok => /fine", "/data"], "entry 2", "look like /data => /mnt/media"),
    ],
)
def test_a_bad_entry_is_named_by_its_position(key: str, entries: list[str], place: str, must: str) -> None:
    """The message says which entries are wrong and how they must look, in both forms of the list."""
    for value in (entries, "; ".join(entries)):
        message = problem_of(key, value)
        assert f"is invalid: {place} must {must}" in message
        assert message.endswith("Until it is corrected, nothing is sent.")


def test_many_bad_entries_make_a_short_message() -> None:
    """Of many bad entries the first five are named."""
    assert "entries 1, 2, 3, 4, 5 and more must" in problem_of("path_map", "a; b; c; d; e; f; g")


@pytest.mark.parametrize("key", ["path_map", "events", "folders", "schedule", "attempts", "only_organized"])
def test_a_secret_in_the_wrong_field_is_not_repeated(key: str) -> None:
    """A token pasted into the wrong field never gets into a message."""
    for secret in ("https://me:hunter2@host/?token=hunter2", "whsec_hunter2", "x => hunter2"):
        assert "hunter2" not in problem_of(key, secret)
        assert "hunter2" not in problem_of(key, [secret, "y"])


@pytest.mark.parametrize("bad", ["5", "5x", "0s", "8d", "169h", "-5s", "1.5m", "5 m", "9999999s"])
def test_a_wait_is_a_whole_number_with_a_unit(bad: str) -> None:
    """A wait is a duration from 1 second to 7 days."""
    assert " 2" in problem_of("schedule", f"10s {bad}")


@pytest.mark.parametrize("waits", ["1s", "90s 2h 1d", "5s 5m 30m 2h 25h 7d"])
def test_waits_are_shown_as_they_are_entered(waits: str) -> None:
    """What a form shows of a schedule can be entered again, and means the same."""
    assert fields.entered(read("schedule", waits)) == waits


def test_a_schedule_has_a_length_limit() -> None:
    """A schedule has at most 50 entries."""
    assert read("schedule", "1s " * 50) == (1.0,) * 50
    assert "at most 50" in problem_of("schedule", "1s " * 51)


@pytest.mark.parametrize(
    "bad",
    [
        "/data",
        "/data =>",
        "=> /mnt",
        "data => /mnt",
        "/data => mnt",
        "/a => /b => /c",
        "/ok/ => /twice",
        "C:\\a => relative",
    ],
)
def test_a_bad_rule_of_the_path_map(bad: str) -> None:
    """A rule that is invalid or contradicts another is reported by its position."""
    assert "entry 2" in problem_of("path_map", f"/ok => /fine; {bad}")


def test_a_windows_folder_is_the_same_in_any_case() -> None:
    """Two rules for one Windows folder in different spellings contradict each other."""
    assert "entry 2" in problem_of("path_map", "D:\\Media => /a; d:/media/ => /b")


HOSTILE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
) | st.text(alphabet="0159smhd ,;=>/\\:.Cupdate\ud800", max_size=40)
KEYS = [entry.key for entry in fields.of(Shared)]


@given(st.dictionaries(st.sampled_from(KEYS) | st.text(), HOSTILE), st.text(alphabet="/\\aC:\u0130ß"))
def test_hostile_values(raw: dict[str, object], path: str) -> None:
    """Whatever is entered, it can be parsed and used, and each problem names a field once."""
    shared, problems = parse(Shared, raw)
    names = [problem.field for problem in problems]
    assert set(names) <= set(KEYS) & set(raw)
    assert len(names) == len(set(names))
    assert shared.schedule is None or all(1 <= wait <= 604800 for wait in shared.schedule)
    assert shared.schedule != ()
    assert shared.attempts is None or 1 <= shared.attempts <= 100
    shared.path_map.apply(path)
    for folder in shared.folders:
        matches_prefix(path, folder)
    for problem in problems:
        assert problem.message.isprintable()
        assert len(problem.message) < 500
