"""Runs the test of a destination, for tests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from stash_courier.queue.jobs import Scene
from stash_courier.worker.destinations import NO_RECORDS, Destination, Step


@dataclass(frozen=True, slots=True)
class Tried:
    """The steps of a test."""

    steps: dict[str, Step]  # by name, in their order

    @property
    def ok(self) -> bool:
        """Whether no step failed."""
        return all(step.status != "fail" for step in self.steps.values())

    @property
    def text(self) -> str:
        """The texts of all steps, a line each."""
        return "\n".join(step.text for step in self.steps.values())

    def __getitem__(self, name: str) -> Step:
        return self.steps[name]


def tried(destination: Destination, *scenes: Scene, records: Mapping[int, bytes] = NO_RECORDS) -> Tried:
    """Tests a destination with these scenes."""
    steps = list(destination.test(scenes, records=records))
    assert len({step.name for step in steps}) == len(steps)
    return Tried({step.name: step for step in steps})
