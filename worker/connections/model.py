"""What a connection is: the part that is stored, and the part that every kind has.

The fields of one kind are in its folder below ``worker/destinations``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, get_args

from stash_courier.queue.jobs import Event, Scene
from stash_courier.worker import fields
from stash_courier.worker.fields import number, several, switch
from stash_courier.worker.paths import PathMap
from stash_courier.worker.settings import Settings

# on · paused: everything is queued, nothing is sent · off: nothing is queued, what waits stays · leaving: nothing
# is queued, what waits is sent, then the connection is deleted · burying: nothing is queued or sent, what waits
# becomes dead letters, and the connection is deleted.
State = Literal["on", "paused", "off", "leaving", "burying"]
STATES: tuple[State, ...] = get_args(State)
ENDED: frozenset[State] = frozenset({"off", "leaving", "burying"})  # no new event is queued

Absent = Literal["wait", "skip", "dead_letter"]  # what becomes of a scene that a media server doesn't have
YOUNG_SECONDS = 86_400.0  # a scene that was created since may still be scanned, so it is always waited for

_COMMON = "the common setting"


@dataclass(frozen=True, slots=True)
class Entry:
    """A connection as the owner entered it."""

    id: str  # given once; the queue, the ledger and dead letters know it by this
    name: str
    kind: str  # a folder below worker/destinations
    state: State = "on"
    values: Mapping[str, object] = field(default_factory=dict, repr=False)  # field → raw value, secrets included
    # Wall time at which it was switched off or deleted; only events from before are queued for it. 0: it wasn't.
    off_since: float = 0.0
    from_settings: bool = False  # it is in Stash's settings, not in connections.json


@dataclass(frozen=True, slots=True)
class Shared:
    """The fields that every kind has: path map, filters, delivery policy. None: the common setting."""

    path_map: PathMap = several(
        "Path map",
        "What the receiver calls the folders that Stash sees, as rules of the form from => to. The rule with the "
        "longest matching path is used.",
        fields.read_path_map,
        PathMap(),
        unset="paths are sent as they are in Stash",
        example="/data => /mnt/media",
    )
    events: frozenset[Event] = several(
        "Events to send",
        "Any of create, update and destroy.",
        fields.read_events,
        frozenset(),
        unset="all",
    )
    only_organized: bool = switch(
        "Only organized scenes", "Sends only scenes that are marked as organized.", unset="off, all scenes"
    )
    folders: tuple[str, ...] = several(
        "Only these folders",
        "Sends only scenes in these folders and below. Enter the paths that Stash shows.",
        fields.read_folders,
        (),
        unset="all folders",
        example="/data/movies",
    )
    include_tags: frozenset[str] = several(  # names, case-folded
        "Only scenes with a tag",
        "Sends only scenes with at least one of these tags. Upper and lower case don't matter.",
        fields.read_names,
        frozenset(),
        unset="all scenes",
    )
    skip_tags: frozenset[str] = several(
        "Never scenes with a tag",
        "Scenes with one of these tags are not sent. Upper and lower case don't matter.",
        fields.read_names,
        frozenset(),
        unset="none is skipped",
        example="private",
    )
    studios: frozenset[str] = several(
        "Only scenes of a studio",
        "Sends only scenes of these studios. Upper and lower case don't matter.",
        fields.read_names,
        frozenset(),
        unset="all studios",
    )
    attempts: int | None = number(
        "Attempts",
        "After this many failed attempts a delivery becomes a dead letter.",
        (1, 100),
        None,
        unset=_COMMON,
    )
    concurrency: int | None = number(
        "Requests at once", "How many requests may be in progress.", (1, 32), None, unset=_COMMON
    )
    schedule: tuple[float, ...] | None = several(
        "Waits between attempts",
        "Up to 50 durations from 1s to 7d, in s, m, h or d. The last one repeats.",
        fields.read_schedule,
        None,
        unset=_COMMON,
        example="10s 1m 10m 1h",
    )
    settle_seconds: float | None = number(
        "Seconds to let edits settle",
        "How long to wait after the first edit of a scene, so that several edits in a row become one delivery.",
        (0, 86400),
        None,
        unset=_COMMON,
    )
    timeout_seconds: float | None = number(
        "Timeout in seconds", "How long one whole request may take.", (1, 300), None, unset=_COMMON
    )
    often_off: bool = switch(
        "Often off",
        "The badge in the top bar doesn't count this connection while it can't be reached.",
        unset="off, the badge counts it",
    )


@dataclass(frozen=True, slots=True)
class Policy:
    """How deliveries of one connection are made: its own values, else the common settings."""

    attempts: int
    concurrency: int
    schedule: tuple[float, ...]  # seconds; the last one repeats
    settle_seconds: float
    timeout_seconds: float
    absent: Absent = "wait"

    def waits_for(self, scene: Scene, now: float) -> bool:
        """Whether a scene that the media server doesn't have is waited for. ``now`` is wall time."""
        return self.absent == "wait" or now - _created(scene) < YOUNG_SECONDS


@dataclass(frozen=True, slots=True)
class Connection:
    """A connection with parsed values."""

    entry: Entry
    shared: Shared
    policy: Policy
    options: Any = field(repr=False)  # the kind's own fields
    fingerprint: str = ""  # a digest of the kind's own fields as entered

    @property
    def id(self) -> str:
        """Its id."""
        return self.entry.id

    @property
    def sends(self) -> bool:
        """Whether deliveries are sent."""
        return self.entry.state in {"on", "leaving"}

    @property
    def path_map(self) -> PathMap:
        """Its path map."""
        return self.shared.path_map


def policy(shared: Shared, settings: Settings, absent: Absent = "wait") -> Policy:
    """The connection's delivery policy."""

    def own(value: Any, common: Any) -> Any:
        return common if value is None else value

    return Policy(
        own(shared.attempts, settings.worker_attempts),
        own(shared.concurrency, settings.worker_concurrency),
        own(shared.schedule, settings.worker_schedule),
        own(shared.settle_seconds, settings.worker_settle_seconds),
        own(shared.timeout_seconds, settings.worker_timeout_seconds),
        absent,
    )


def common(settings: Settings) -> dict[str, str]:
    """The common settings by the field of a connection that they stand in for, as a person enters them."""
    keys = [one.key for one in fields.of(Shared) if one.unset == _COMMON]
    return {key: fields.entered(getattr(settings, f"worker_{key}")) for key in keys}


def _created(scene: Scene) -> float:
    """Wall time at which Stash got a scene; 0 if that can't be read."""
    try:
        return datetime.fromisoformat(scene.created_at).timestamp()
    except (ValueError, OverflowError):
        return 0.0
