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
UNSET: tuple[object, ...] = ("", " \t", None, False, 0, 0.0, [], [" "])  # as Stash's page and programs store it
VALUES: list[tuple[str, object, object]] = [  # of a field of Group or of Shared: what is entered, what it means
    ("above", 9, 9),
    ("above", " 9 ", 9),
    ("above", 9.0, 9),
    ("above", "+0", None),
    ("from_zero", "0.0", 0),
    ("on", "True", True),
    ("on", " false ", False),
    ("kind", " second ", "second"),
    ("odd", " odd ", "odd"),
    ("events", "Update, destroy;update", {"update", "destroy"}),
    ("events", ["UPDATE", "destroy"], {"update", "destroy"}),
    ("schedule", "1s, 5m 2h;1d  7d", (1.0, 300.0, 7200.0, 86400.0, 604800.0)),
    ("schedule", "1s " * 50, (1.0,) * 50),
    ("folders", r" /data/my clips ;; \\nas\v", ("/data/my clips", r"\\nas\v")),
    ("folders", ["/data/a;b"], ("/data/a;b",)),
    ("skip_tags", "Work in Progress; STRASSE,straße,", {"work in progress", "strasse"}),
    ("skip_tags", ["Smith, John; II"], {"smith, john; ii"}),
    ("studios", " ; ", frozenset()),
    ("path_map", "/a => /x; /a/b => /y", PathMap((("/a/b", "/y"), ("/a", "/x")))),
    ("path_map", ["/a => /x", " /a/b=>/y "], PathMap((("/a/b", "/y"), ("/a", "/x")))),
]
NO_NUMBERS: tuple[object, ...] = (10, -1, 1.5, "1.5", "many", "٣", "1e1", True, 10**400, [5], {})
NO_SWITCHES: tuple[object, ...] = ("maybe", "on", 1, 2.0, ["x"], {})
NUMBER = '"Above" must be a whole number from 1 to 9. Until it is corrected, nothing is sent.'
RULE = "is invalid: entry 2 must look like /data => /mnt/media"
PROBLEMS: list[tuple[str, object, str]] = [  # what is entered, a part of what is said of it
    *(("above", bad, NUMBER) for bad in NO_NUMBERS),
    *(("on", bad, '"On" must be on or off') for bad in NO_SWITCHES),
    ("kind", "The second", '"Kind" must be one of first, second. '),
    ("kind", 5, '"Kind" must be text. '),
    ("odd", "even", '"Odd" is not odd. Until it is corrected, nothing is odd.'),
    *(
        ("odd", bad, '"Odd" must be text. Until it is corrected, nothing is odd.')
        for bad in (5, ["odd"], {"odd": 1})
    ),
    *((key, bad, "must be text") for key in LISTS for bad in (5, True, ["/a", None], {"a": 1})),
    ("events", "update; deleted; create", "is invalid: entry 2 must be create, update or destroy."),
    ("schedule", ["10s", "5", "5x"], "is invalid: entries 2, 3 must be a duration from 1s to 7d"),
    *(("schedule", f"10s {bad}", " 2") for bad in ("0s", "8d", "169h", "-5s", "1.5m", "5 m", "9999999s")),
    ("schedule", "1s " * 51, "at most 50"),
    ("folders", ["data/a", "/data/b"], "is invalid: entry 1 must begin with / or a drive letter"),
    ("path_map", "a; b; c; d; e; f; g", "entries 1, 2, 3, 4, 5 and more must"),
    *(("path_map", f"/ok => /fine; {bad}", RULE) for bad in ("/data", "/data =>", "=> /mnt", "data => /mnt")),
    *(("path_map", f"/ok => /fine; {bad}", RULE) for bad in ("/data => mnt", "/a => /b => /c", "/ok/ => /twice")),
    ("path_map", "D:\\Media => /a; d:/media/ => /b", RULE),  # Windows ignores case
]


def group_of(key: str) -> type[Any]:
    """The group that has a field."""
    return Shared if key in {one.key for one in fields.of(Shared)} else Group


def read(key: str, value: object) -> Any:
    """The value of a field that every connection has, without a problem."""
    shared, problems = parse(Shared, {key: value})
    assert problems == []
    return getattr(shared, key)


def problem_of(key: str, value: object) -> str:
    """The only message about a value; the default is used."""
    group = group_of(key)
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


@pytest.mark.parametrize(("key", "value", "meaning"), VALUES)
def test_what_a_value_means(key: str, value: object, meaning: object) -> None:
    """A value may be given as Stash stores it or as text; a list as texts or as one text with separators."""
    parsed, problems = parse(group_of(key), {"needed": "x", key: value})
    assert (getattr(parsed, key), problems) == (meaning, [])


@pytest.mark.parametrize("unset", UNSET)
def test_what_stash_stores_for_nothing_is_unset(unset: object) -> None:
    """A field of any type has its default then, so that no filter and no schedule is empty by mistake."""
    lists = dict.fromkeys(LISTS, unset)
    assert parse(Shared, lists) == (Shared(), [])
    keys = [] if isinstance(unset, list) else ["odd", "key", "above", "on", "kind"]
    assert parse(Group, {"needed": "x", **dict.fromkeys(keys, unset)}) == (Group(needed="x"), [])


@pytest.mark.parametrize(("key", "value", "said"), PROBLEMS)
def test_what_is_said_of_a_value_that_can_not_be_used(key: str, value: object, said: str) -> None:
    """A sentence names the field, how it must look, bad entries by position, and what applies meanwhile."""
    assert said in problem_of(key, value)


def test_all_problems_are_found_at_once() -> None:
    """One look shows everything that is wrong."""
    _, problems = parse(Group, {"odd": "even", "above": 10, "on": "maybe", "kind": "third"})
    assert [problem.field for problem in problems] == ["needed", "odd", "above", "on", "kind"]


@pytest.mark.parametrize("key", ["path_map", "events", "folders", "schedule", "attempts", "only_organized"])
def test_a_secret_in_the_wrong_field_is_not_repeated(key: str) -> None:
    """A token pasted into the wrong field never gets into a message."""
    for secret in ("https://me:hunter2@host/?token=hunter2", "whsec_hunter2", "x => hunter2"):
        assert "hunter2" not in problem_of(key, secret)
        assert "hunter2" not in problem_of(key, [secret, "y"])


@pytest.mark.parametrize("waits", ["1s", "90s 2h 1d", "5s 5m 30m 2h 25h 7d"])
def test_waits_are_shown_as_they_are_entered(waits: str) -> None:
    """What a form shows of a schedule can be entered again, and means the same."""
    assert fields.entered(read("schedule", waits)) == waits


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
