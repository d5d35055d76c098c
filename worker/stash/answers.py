"""What the client for Stash returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from stash_courier.queue.jobs import Scene
from stash_courier.worker.stash.queries import Listed
from stash_courier.worker.stash.state import PluginState


@dataclass(frozen=True, slots=True)
class FetchedScenes:
    """The scenes of one call, and the state read with them. Ask again for an id that is in neither mapping."""

    scenes: Mapping[int, Scene | None]  # None: Stash no longer has it
    broken: Mapping[int, str]  # Stash fails on this scene but not on others; a sentence
    state: PluginState


@dataclass(frozen=True, slots=True)
class ScenePage:
    """Some of the ids asked for, ascending, and the progress of the listing."""

    ids: tuple[int, ...]
    examined: int  # scenes looked at so far, including this page
    total: int  # scenes to look at; with ``changed_since`` some of them don't qualify


@dataclass(frozen=True, slots=True)
class SweepPage:
    """Some scenes of a sweep, and the state read with them."""

    scenes: tuple[Listed, ...]  # ids ascending
    last: bool  # no page follows
    known: int | None  # number of scenes up to the given id; None if that wasn't asked
    state: PluginState
    asked_at: float  # wall time before the request, unix seconds
