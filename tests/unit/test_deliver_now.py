"""plugin/buttons/deliver_now.py: when the button ends."""

from __future__ import annotations

import pytest

from stash_courier.plugin.buttons.deliver_now import NEWER_SECONDS, SLOW_SECONDS, Look, Patience
from stash_courier.plugin.snapshot import Snapshot
from stash_courier.queue.jobs import Backlog

NAME = "webhook:nas"
LOOK_SECONDS = 0.25


def look(older: int, added: int, *, in_flight: int = 1) -> Look:
    """A look at a queue with 10 deliveries."""
    backlog = {NAME: Backlog(10, 0, in_flight, 0.0, 0.0)}
    nothing: tuple[str, ...] = ()
    seen = Snapshot(0.0, 0, backlog, {}, None, False, False, None, (), nothing, None, added)
    return Look(seen, left=10, older=older, coming=False)


@pytest.mark.parametrize(("older", "bound"), [(0, NEWER_SECONDS), (3, SLOW_SECONDS)])
def test_edits_that_stream_in_keep_it_for_a_bounded_time(older: int, bound: float) -> None:
    """Something moves and changes at every look, but nothing that waited at the start ends: it ends in time."""
    patience = Patience(look(older, 0), frozenset({NAME}), 0.0)
    ends = [patience.look(look(older, n), n * LOOK_SECONDS) for n in range(1, 400)].index("ended") + 1
    assert bound < ends * LOOK_SECONDS <= bound + LOOK_SECONDS


def test_it_goes_on_while_something_that_waited_ends() -> None:
    """However long it takes, it ends only after the last one that waited at its start."""
    patience = Patience(look(400, 0), frozenset({NAME}), 0.0)
    assert {patience.look(look(400 - n, n), n * SLOW_SECONDS / 2) for n in range(1, 400)} == {"goes on"}
    assert patience.look(look(0, 400), 400 * SLOW_SECONDS / 2) == "goes on"
    assert patience.look(look(0, 401), 400 * SLOW_SECONDS / 2 + NEWER_SECONDS + 1.0) == "ended"


def test_it_is_stuck_if_nothing_changes_that_should() -> None:
    """A delivery that stays in flight without any change is reported as stuck after half a minute."""
    patience = Patience(look(1, 0), frozenset({NAME}), 0.0)
    assert patience.look(look(1, 0), 30.0) == "goes on"
    assert patience.look(look(1, 0), 30.5) == "stuck"
