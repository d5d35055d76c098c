"""How many scenes Stash is asked for at once, by how long it takes."""

from __future__ import annotations

import pytest

from stash_courier.worker.stash.pace import MOST_SCENES, REQUEST_SECONDS, Pace

TIMEOUT = 30.0


def ask(pace: Pace, seconds: float, overhead: float = 0.0) -> int:
    """Asks a Stash that takes this long for each scene; returns for how many scenes."""
    asked = pace.scenes
    took = overhead + asked * seconds
    if took > TIMEOUT:
        pace.timed_out(range(asked), TIMEOUT)
        pace.answered((), overhead)
    else:
        pace.answered(range(asked), took)
    return asked


def test_a_fast_stash_is_asked_for_the_most() -> None:
    """After one answer a fast Stash is asked for 50 scenes in a request."""
    pace = Pace()
    assert [ask(pace, 0.001) for _ in range(3)] == [10, MOST_SCENES, MOST_SCENES]
    assert pace.slow is None


@pytest.mark.parametrize("seconds", [0.1, 0.7, 1.9, 5.0, 29.0])
@pytest.mark.parametrize("overhead", [0.0, 0.9])
def test_a_request_takes_about_two_seconds(seconds: float, overhead: float) -> None:
    """However slow Stash is, requests take 2 s, or as long as one scene takes; nothing times out forever."""
    pace = Pace()
    pace.answered((), overhead)
    asked = [ask(pace, seconds, overhead) for _ in range(12)]
    assert asked[-1] == asked[-2] >= 1
    assert asked[-1] * seconds <= max(REQUEST_SECONDS, seconds)
    assert asked[-1] * seconds > REQUEST_SECONDS / 2
    assert pace.slow == (seconds if seconds >= 0.5 else None)


def test_a_slow_answer_does_not_count_as_slow_scenes() -> None:
    """A Stash that takes 3 s for every answer, however many scenes are in it, is asked for 50."""
    pace = Pace()
    pace.answered((), 3.0)
    for _ in range(5):
        ask(pace, 0.001, 3.0)
    assert (pace.scenes, pace.slow) == (MOST_SCENES, None)


def test_it_recovers() -> None:
    """When Stash is fast again, it is asked for 50 scenes within a few requests."""
    pace = Pace()
    for _ in range(5):
        ask(pace, 20.0)
    assert pace.scenes == 1
    assert [ask(pace, 0.01) for _ in range(4)] == [1, 5, 25, MOST_SCENES]


def test_an_edit_says_nothing_about_large_requests() -> None:
    """Single edits in between, answered quickly, don't make the requests smaller."""
    pace = Pace()
    for _ in range(4):
        ask(pace, 0.01)
    pace.answered([5], 0.03)
    assert pace.scenes == MOST_SCENES


def test_scenes_that_were_late_are_asked_for_apart() -> None:
    """One scene that hangs is found by halving, while the others take turns with the parts."""
    pace, hanging = Pace(), 7
    pace.timed_out(range(10), TIMEOUT)
    waiting, late, turns = set(range(10)), 0, 0
    parts: list[int] = []
    while waiting:
        asked = pace.choose([*sorted(waiting), 100 + turns])
        if asked[0] >= 100:
            turns += 1
            pace.answered(asked, 0.01)
            continue
        parts.append(len(asked))
        if hanging in asked and len(asked) > 1:
            late += 1
            pace.timed_out(asked, TIMEOUT)
        else:
            waiting.difference_update(asked)
            (pace.timed_out if hanging in asked else pace.answered)(asked, 0.01)
    assert parts[0] == 5
    assert late <= 3
    assert abs(turns - len(parts)) <= 1
    assert pace.choose([hanging, 50]) != pace.choose([hanging, 50])
    pace.answered([hanging], 0.01)
    assert pace.choose([hanging, 50]) == [hanging, 50]
