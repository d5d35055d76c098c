"""The dataclasses that modules pass to each other: frozen and without behavior of their own.

They hold plain data only (str, int, float, tuples), so comparing, logging and pickling them runs no code. The hook
doesn't import this module: importing ``dataclasses`` alone takes longer than its insert.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Event = Literal["create", "update", "destroy", "notice"]  # notice: a message about trouble; see troubles.py

# Priorities: lower ones are delivered first.
EDIT = 0
CATCH_UP = 1  # a dead letter that is sent again, and what a sweep found
BULK = 2  # from "Send all scenes" and "Send recent changes"
PRIORITIES = (EDIT, CATCH_UP, BULK)


@dataclass(frozen=True, slots=True)
class SceneEvent:
    """One row of the inbox: something happened to a scene. Or a message about trouble, which is in no inbox."""

    seq: int  # the inbox row's id; grows with every event, also across a replaced queue.db
    scene_id: int  # Stash's id of the scene; of a notice its slot, which is negative
    event: Event
    changed: tuple[str, ...]  # names of the changed fields, sorted; empty if Stash didn't report them
    at: float  # wall time of the event, unix seconds
    path: str = ""  # destroy only: the scene's last path, as Stash sees it
    oshash: str = ""  # destroy only
    checksum: str = ""  # destroy only: MD5, "" unless Stash computes it
    priority: int = EDIT
    to: tuple[str, ...] = ()  # ids of the only destinations that it is for; empty: all
    notice: str = ""  # notice only: the message; see troubles.py


@dataclass(frozen=True, slots=True)
class Attempt:
    """One failed attempt of a delivery."""

    at: float  # wall time of the failure, unix seconds
    failure: str  # a Failure's value, such as "refused"
    message: str  # one sentence, without secrets
    status: int | None = None  # HTTP status, if an answer came
    answer: str = ""  # the answer's first 2 KB, without secrets


@dataclass(frozen=True, slots=True)
class Delivery:
    """One scene, or a message about trouble, on its way to one destination: a claimed row of deliveries."""

    row_id: int
    destination: str  # the destination's id, such as "webhook:example.org"
    scene_id: int
    event: Event
    changed: tuple[str, ...]
    seq: int  # newest event that this delivery covers
    at: float  # wall time of the first event it covers, unix seconds
    counted_attempts: int = 0  # attempts that count toward the limit
    attempts: int = 0  # all attempts since the newest event; the position in the retry schedule
    not_found: int = 0  # seconds that it has waited for the media server to have the item
    path: str = ""  # destroy only, as in SceneEvent
    oshash: str = ""
    checksum: str = ""
    history: tuple[Attempt, ...] = ()
    generation: int = 0  # moves between queue.db and dlq.db so far
    priority: int = EDIT
    due: float = 0.0  # wall time
    deaths: int = 0  # how often the worker died while it was in flight, since an attempt last ended
    notice: str = ""  # as in SceneEvent

    @property
    def needs_scene(self) -> bool:
        """Whether Stash is asked for the scene."""
        return self.event in {"create", "update"}

    @property
    def job_id(self) -> str:
        """The delivery's id: the same on every retry of the same event, without a dot.

        Dead letters have it, and the id of each message to a webhook begins with it.
        """
        return f"msg_{self.seq}_{self.scene_id}"


@dataclass(frozen=True, slots=True)
class CorruptRow:
    """A row that can't be decoded. It becomes a dead letter with its bytes."""

    seq: int  # the row's id in its table
    destination: str  # "" for a row of the inbox
    scene_id: int  # 0 if unknown
    raw: bytes
    reason: str  # one sentence


def row_id_of(job: Delivery | CorruptRow) -> int:
    """The row of the deliveries table."""
    return job.row_id if isinstance(job, Delivery) else job.seq


@dataclass(frozen=True, slots=True)
class Summary:
    """A dead letter as a list shows it. Nothing in it was unpickled."""

    id: int
    job_id: str
    scene_id: int
    title: str
    destination: str
    event: str
    error_type: str
    error_message: str
    retry_count: int
    failed_at: float  # wall time, unix seconds
    state: str
    group_key: str  # the same for dead letters with the same cause
    path: str  # the scene's path as Stash sees it; "" if unknown
    waits_for: int | None  # the dead letter that must be delivered before this is sent again; 0: it was


@dataclass(frozen=True, slots=True)
class DeadLetter(Summary):
    """A dead letter with everything that is stored."""

    job: dict[str, Any] | None  # the delivery as it was; None if its bytes were not safe to load
    job_problem: str  # why ``job`` is None, in a sentence
    history: tuple[Attempt, ...]
    stack_trace: str
    generation: int
    seq: int
    plugin_version: str


@dataclass(frozen=True, slots=True)
class Backlog:
    """What waits for one destination."""

    total: int  # deliveries, those in flight included
    retrying: int  # waiting after at least one failure
    in_flight: int  # claimed: the worker sends them now
    oldest: float  # wall time of the oldest event among them, unix seconds
    next_due: float  # wall time at which the first of them is due


@dataclass(frozen=True, slots=True)
class Named:
    """A performer, tag, studio or group: Stash's id and name."""

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class SceneFile:
    """One file of a scene."""

    path: str  # as Stash sees it, not mapped
    size: int  # bytes
    duration: float  # seconds
    width: int  # pixels
    height: int  # pixels
    fingerprints: tuple[tuple[str, str], ...] = ()  # (type, value): oshash, md5, phash


@dataclass(frozen=True, slots=True)
class StashId:
    """A scene's identity at a stash-box."""

    endpoint: str
    stash_id: str


@dataclass(frozen=True, slots=True)
class Scene:
    """A scene as Stash has it at ``fetched_at``."""

    id: int
    title: str  # "" if there is none; people are shown title_or_stem()
    code: str
    details: str
    director: str
    date: str  # "YYYY-MM-DD", "YYYY-MM", "YYYY" or ""
    rating100: int | None  # 1..100
    organized: bool
    urls: tuple[str, ...]
    created_at: str  # Stash's own text, RFC 3339 in the server's zone
    updated_at: str
    files: tuple[SceneFile, ...]  # the primary file first
    performers: tuple[Named, ...]
    tags: tuple[Named, ...]
    studio: Named | None
    groups: tuple[Named, ...]
    stash_ids: tuple[StashId, ...]
    cover_url: str  # absolute URL of the cover at Stash, without any key; "" if there is none
    fetched_at: float  # wall time, unix seconds

    @property
    def path(self) -> str:
        """The primary file's path as Stash sees it, "" for a scene without files."""
        return self.files[0].path if self.files else ""

    def title_or_stem(self) -> str:
        """The title, else the primary file's name without its extension."""
        return self.title or stem(self.path)


def stem(path: str) -> str:
    """The name of a file without its extension; "" for no path."""
    name = path.replace("\\", "/").rsplit("/", 1)[-1]
    return name.rsplit(".", 1)[0] or name
