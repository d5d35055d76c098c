"""Modes and their arguments: what a caller may give, and how everything else is refused."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest

from stash_courier.plugin import arguments, tasks
from stash_courier.plugin.errors import BadInputError
from stash_courier.queue.failures import Failure
from tests import ROOT
from tests.support.press import bury, refusal, states


@pytest.mark.parametrize("ids", [[1, 2, 3], "1,2 3", "1, 2,3", ["1", 2, 3.0], [3, 1, 2, 1]])
def test_ids_come_as_a_list_or_as_text(ids: object) -> None:
    """Callers may give ids as a JSON list or as text."""
    given = arguments.parse("retry_dead_letters", {"mode": "x", "ids": ids}, tasks.CHOICE)
    assert sorted(given.ids or ()) == [1, 2, 3]


def test_numbers_may_be_text() -> None:
    """A task button sends its numbers as text."""
    given = arguments.parse("review_dead_letters", {"ids": 7, "limit": " 25 "}, tasks.CHOICE)
    assert (given.ids, given.limit) == ((7,), 25)


@pytest.mark.parametrize(
    "args",
    [
        {"ids": []},
        {"ids": ""},
        {"ids": "all"},
        {"ids": [1, "x"]},
        {"ids": [0]},
        {"ids": [-1]},
        {"ids": [True]},
        {"ids": [1.5]},
        {"ids": {"1": 2}},
        {"ids": list(range(1, 1002))},
        {"ids": "9" * 30},
        {"limit": 0},
        {"limit": "many"},
        {"limit": 1e300},
        {"limit": float("nan")},
        {"error_type": ""},
        {"error_type": 3},
        {"destination": ["webhook"]},
        {"error_typ": "bug"},
        {"days": 3},
    ],
)
def test_a_bad_argument_deletes_nothing(tmp_path: Path, args: dict[str, object]) -> None:
    """A misspelled or invalid argument is refused in one line, and nothing is deleted."""
    bury(tmp_path, 1, Failure.ITEM_REFUSED)
    said = refusal(tmp_path, "discard_dead_letters", **args)
    assert next(iter(args)) in said
    assert "\n" not in said
    assert states(tmp_path) == {1: "dead"}


@pytest.mark.parametrize("mode", ["nonsense", None, 5, ["status"], ""])
def test_an_unknown_mode_is_answered_with_the_known_ones(tmp_path: Path, mode: object) -> None:
    """A caller that misspells a mode gets the list of modes."""
    with pytest.raises(BadInputError) as caught:
        tasks.run(mode, {"mode": mode}, str(tmp_path), str(ROOT))
    assert all(name in str(caught.value) for name in (*tasks.MODES, "wake"))


@pytest.mark.parametrize("mode", ["dead_letters", "discard_dead_letters"])
@pytest.mark.parametrize("name", ["text", "group", "destination"])
def test_half_a_character_is_no_bug(tmp_path: Path, mode: str, name: str) -> None:
    """A lone surrogate, which a cut emoji leaves in JSON, finds nothing."""
    bury(tmp_path, 1, Failure.ITEM_REFUSED)
    with suppress(BadInputError):  # there is no such group
        tasks.run(mode, {"mode": mode, name: "\ud83d"}, str(tmp_path), str(ROOT))
    assert states(tmp_path) == {1: "dead"}
