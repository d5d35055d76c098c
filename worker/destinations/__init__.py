"""Destinations: where scenes go. One folder each.

A destination's folder has a module ``destination`` with ``KIND`` (its id, or the part of its ids before the colon)
and ``configure(raw, settings, cover)``, which returns the destinations that are set up and the problems with the
settings. ``load`` finds every folder that has this module. A destination that is set up but can't be used until a
setting is corrected is ``Unusable``; a module with one destination may leave it out.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Protocol, runtime_checkable

from stash_courier.queue.jobs import Delivery, Scene
from stash_courier.worker.settings import Problem, Settings
from stash_courier.worker.stash.covers import Cover, no_cover


@dataclass(frozen=True, slots=True)
class TestReport:
    """What ``test_destinations`` found at one destination."""

    ok: bool
    lines: tuple[str, ...]  # sentences for a person: what happened and what to do
    notes: tuple[str, ...] = ()  # further sentences, which are no warning whatever came of the test

    __test__ = False  # not a test class, whatever its name makes pytest think


class Destination(Protocol):
    """One configured destination. Its methods are called from several threads at once."""

    @property
    def id(self) -> str:
        """``jellyfin``, ``plex``, ``emby`` or ``webhook:<host[:port]>``; never holds a secret."""

    @property
    def fingerprint(self) -> str:
        """A hash of this destination's settings: when it changes, its breaker starts afresh."""

    def deliver(self, delivery: Delivery, scene: Scene | None, cover: bytes = b"") -> bytes:
        """Brings the destination up to the scene's current state; returns when it is accepted.

        Args:
            delivery: what happened to the scene.
            scene: as Stash has it now; None for a destroy, and only then.
            cover: digest of the cover that the item has from us; b"" if it has none.

        Returns:
            The digest of the cover that the item has from us now; b"" if none was sent or checked.

        Raises:
            DeliveryFailed: what kind of failure it was, in a sentence.
        """

    def test(self, scene: Scene | None) -> TestReport:
        """Says whether a delivery would work, tried with a real scene where there is one."""

    def close(self) -> None:
        """Lets go of connections."""


@runtime_checkable
class Prepares(Protocol):
    """A destination that looks up many scenes at once with fewer requests than one by one."""

    def prepare(self, jobs: Sequence[tuple[Delivery, Scene | None]]) -> None:
        """Looks up what the deliveries that come next will ask for; may keep it for a few seconds.

        Called in one of the destination's threads while those deliveries wait. A lookup that fails is no
        failure here: each delivery makes its own then.
        """


@dataclass(frozen=True, slots=True)
class Unusable:
    """A destination that is set up and gets nothing until a setting is corrected: what it misses waits."""

    id: str  # its kind, where the settings don't tell more
    told: bool = True  # False: it is some destination of that kind


@dataclass(frozen=True, slots=True)
class Loaded:
    """All destinations that the settings name, and what is wrong with the settings."""

    destinations: Mapping[str, Destination]
    problems: tuple[Problem, ...] = ()
    broken_kinds: frozenset[str] = field(default_factory=frozenset)  # some of them are set up, but not usable
    unusable: tuple[str, ...] = ()  # ids of those, as far as the settings tell


def modules() -> list[ModuleType]:
    """The destination modules, in the order of their names."""
    kinds = sorted(file.parent.name for file in Path(__file__).parent.glob("*/destination.py"))
    return [importlib.import_module(f"{__name__}.{kind}.destination") for kind in kinds]


def load(raw: Mapping[str, object], settings: Settings, cover: Cover = no_cover) -> Loaded:
    """Builds the destinations that Stash's settings map names.

    Args:
        raw: the plugin's map as Stash stores it; unset keys are absent.
        settings: the common settings parsed from the same map.
        cover: fetches covers, for those who deliver.
    """
    destinations: dict[str, Destination] = {}
    problems: list[Problem] = []
    unusable: list[Unusable] = []
    for module in modules():
        made, wrong = module.configure(raw, settings, cover)
        unusable += (d for d in made if isinstance(d, Unusable))
        destinations.update((d.id, d) for d in made if not isinstance(d, Unusable))
        problems += wrong
        if wrong and not made:
            unusable.append(Unusable(module.KIND))
    broken = frozenset(d.id.partition(":")[0] for d in unusable)
    return Loaded(destinations, tuple(problems), broken, tuple(d.id for d in unusable if d.told))
