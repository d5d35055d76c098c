"""Destinations: where scenes are sent. One folder each.

Two modules in a destination's folder are found automatically. ``settings`` has ``SETTINGS``, its entries on
Stash's page, and must not import this module. ``destination`` has ``KIND``, which is its id or the part of its
ids before the colon, and ``configure(raw, settings, cover)``, which returns the destinations that are set up and
the problems with the settings.

A destination that is set up but can't be used until a setting is corrected is ``Unusable``. A module that has only
one destination may leave it out.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Protocol, runtime_checkable

from stash_courier.queue.jobs import Delivery, Scene
from stash_courier.worker.settings import SETTINGS, Problem, Setting, Settings
from stash_courier.worker.stash.covers import Cover, no_cover


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What "Test destinations" found at one destination."""

    ok: bool
    lines: tuple[str, ...]  # sentences for a person: what happened and what to do
    notes: tuple[str, ...] = ()  # more sentences, never logged as warnings


class Destination(Protocol):
    """One configured destination. Its methods are called from several threads at once."""

    @property
    def id(self) -> str:
        """``jellyfin``, ``plex``, ``emby`` or ``webhook:<host[:port]>``; never contains a secret."""

    @property
    def fingerprint(self) -> str:
        """A hash of this destination's settings. When it changes, the destination's health is reset."""

    def deliver(self, delivery: Delivery, scene: Scene | None, cover: bytes = b"") -> bytes:
        """Sends the scene's current state; returns once the destination has accepted it.

        Args:
            delivery: what happened to the scene.
            scene: as Stash has it now; None for a destroy, and only then.
            cover: digest of the cover that the item has from us; b"" if it has none.

        Returns:
            The digest of the cover that the item has from us now; b"" if none was sent or checked.

        Raises:
            DeliveryFailed: what kind of failure it was, in a sentence.
        """

    def check(self, scene: Scene | None) -> CheckReport:
        """Reports whether a delivery would work, tried with a real scene if there is one."""

    def close(self) -> None:
        """Closes the connections."""


@runtime_checkable
class Prepares(Protocol):
    """A destination that can look up many scenes with fewer requests than one per scene."""

    def prepare(self, jobs: Sequence[tuple[Delivery, Scene | None]]) -> None:
        """Looks up what the next deliveries will need, and may keep it for a few seconds.

        Called in one of the destination's threads while those deliveries wait. If a lookup fails, nothing is
        raised: each delivery then makes its own.
        """


@dataclass(frozen=True, slots=True)
class Unusable:
    """A destination that is set up but gets nothing until a setting is corrected. Its deliveries wait."""

    id: str  # its kind if the settings don't tell more
    known: bool = True  # False: the id is only a kind, since the settings don't tell which destination it is


@dataclass(frozen=True, slots=True)
class Loaded:
    """All destinations that the settings name, and what is wrong with the settings."""

    destinations: Mapping[str, Destination]
    problems: tuple[Problem, ...] = ()
    broken_kinds: frozenset[str] = frozenset()  # kinds with an unusable destination
    unusable: tuple[str, ...] = ()  # ids of unusable destinations, as far as they are known


def modules() -> list[ModuleType]:
    """The destination modules, in the order of their names."""
    return _found("destination")


def load(raw: Mapping[str, object], settings: Settings, cover: Cover = no_cover) -> Loaded:
    """Builds the destinations that Stash's settings map names.

    Args:
        raw: the plugin's map as Stash stores it; unset keys are absent.
        settings: the common settings parsed from the same map.
        cover: fetches covers from Stash.
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
    return Loaded(destinations, tuple(problems), broken, tuple(d.id for d in unusable if d.known))


def _found(name: str) -> list[ModuleType]:
    """The modules of that name in the folders of destinations."""
    folders = sorted(file.parent for file in Path(__file__).parent.glob("*/destination.py"))
    kinds = [folder.name for folder in folders if (folder / f"{name}.py").is_file()]
    return [importlib.import_module(f"{__name__}.{kind}.{name}") for kind in kinds]


# Every entry on Stash's page, in its order: the common settings and those of all destinations.
ALL_SETTINGS: tuple[Setting, ...] = tuple(
    sorted([*SETTINGS, *(e for module in _found("settings") for e in module.SETTINGS)], key=lambda e: e.key)
)
