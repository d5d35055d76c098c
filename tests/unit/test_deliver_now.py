"""The task "Deliver now": it asks the worker, follows its progress, and ends when nothing moves."""

from __future__ import annotations

from pathlib import Path

import pytest

from stash_courier.plugin.buttons.deliver_now import CALM_SECONDS, STILL_SECONDS, Progress
from stash_courier.plugin.snapshot import Snapshot
from stash_courier.queue.jobs import Backlog
from stash_courier.worker.connections.model import Entry
from stash_courier.worker.destinations import Loaded
from tests.support.press import refusal

LOADED = Loaded(entries={"hook": Entry("hook", "Hook", "webhook")})


def seen(waiting: int, added: int = 0, *, in_flight: int = 1, **fields: int | bool) -> Snapshot:
    """A queue with this many deliveries, after this many were added."""
    backlog = {"hook": Backlog(waiting, 0, in_flight, 0.0, 9e9)} if waiting else {}
    facts = {"running": True, **fields}
    return Snapshot(at=0.0, loaded=LOADED, backlog=backlog, added=added, **facts)  # type: ignore[arg-type]


def verdicts(first: Snapshot, *steps: tuple[float, Snapshot]) -> list[str]:
    """What each of these snapshots means, at these seconds."""
    progress = Progress(first, first, 0.0, 0.0)
    return [progress.follow(one, now) for now, one in steps]


@pytest.mark.parametrize(
    ("first", "steps", "expected"),
    [
        # All is delivered: it ends at once.
        (seen(10), [(0.25, seen(10)), (1.0, seen(4)), (2.0, seen(0))], ["goes on", "goes on", "ended"]),
        # What is left waits for something: it ends soon.
        (seen(10), [(0.25, seen(10)), (1.0 + 0.5 + CALM_SECONDS, seen(10, in_flight=0))], ["goes on", "ended"]),
        # Edits that arrive meanwhile keep it for as many deliveries as waited.
        (
            seen(10),
            [(0.25, seen(10)), (1.0, seen(10, 5)), (2.0, seen(10, 9)), (3.0, seen(10, 10))],
            ["goes on", "goes on", "goes on", "ended"],
        ),
        # What is in the inbox becomes several deliveries each, and all of them count.
        (
            seen(0, inbox=5),
            [(0.5, seen(0, inbox=5)), (1.0, seen(10, 10)), (2.0, seen(5, 10)), (3.0, seen(0, 10))],
            ["goes on", "goes on", "goes on", "ended"],
        ),
        # A worker that is just starting is waited for, but not forever.
        (seen(10, in_flight=0, running=False), [(9.0, seen(10, in_flight=0, running=False))], ["goes on"]),
        (seen(10), [(1.0, seen(10)), (STILL_SECONDS + 1.0, seen(10))], ["goes on", "stuck"]),
        # Nothing waits at all.
        (seen(0), [(0.25, seen(0)), (0.5 + CALM_SECONDS, seen(0))], ["goes on", "ended"]),
    ],
)
def test_when_it_ends(first: Snapshot, steps: list[tuple[float, Snapshot]], expected: list[str]) -> None:
    """It goes on while something of what waited at its start is delivered, and no longer."""
    assert verdicts(first, *steps) == expected


def test_where_no_worker_may_be_started_it_says_what_to_do(tmp_path: Path) -> None:
    """With STASH_COURIER_WORKER=off and none running nothing is delivered, and the task says how to start one."""
    said = refusal(tmp_path, "deliver_now")
    assert said.startswith("Worker: not running, so nothing is delivered. STASH_COURIER_WORKER=off")
    assert said.endswith("main.py worker.")
