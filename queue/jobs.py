"""What moves between modules: frozen dataclasses without behaviour.

Everything here is plain data (str, int, float, tuples), so that it can be compared, logged and
pickled without running code. The hook does not import this module: ``dataclasses`` alone costs
more than its whole insert.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Event = Literal["create", "update", "destroy"]


@dataclass(frozen=True, slots=True)
class SceneEvent:
    """One row of the inbox: something happened to a scene."""

    seq: int  # the inbox row's id; grows with every event, also across a replaced queue.db
    scene_id: int  # Stash's id of the scene
    event: Event
    changed: tuple[str, ...]  # names of the changed fields, sorted; empty when Stash did not say
    at: float  # wall time of the event, unix seconds
    path: str = ""  # destroy only: the scene's last path, as Stash sees it
    oshash: str = ""  # destroy only
    checksum: str = ""  # destroy only: MD5, "" unless Stash computes it
    bulk: bool = False  # True: put in by enqueue_all; goes behind every edit


@dataclass(frozen=True, slots=True)
class Attempt:
    """One failed try of a delivery."""

    at: float  # wall time of the failure, unix seconds
    failure: str  # a Failure's value, such as "refused"
    message: str  # one sentence, without secrets
    status: int | None = None  # HTTP status, if an answer came
    answer: str = ""  # the answer's first 2 KB, without secrets


@dataclass(frozen=True, slots=True)
class Delivery:
    """One scene on its way to one destination: a claimed row of the deliveries table."""

    row_id: int
    destination: str  # the destination's id, such as "webhook:example.org"
    scene_id: int
    event: Event
    changed: tuple[str, ...]
    seq: int  # newest event that this delivery covers
    at: float  # wall time of the first event it covers, unix seconds
    counted_attempts: int = 0  # attempts that count toward the limit
    attempts: int = 0  # all attempts since the newest event; the place in the retry schedule
    not_found: int = 0  # attempts that ended with "not there yet"
    path: str = ""  # destroy only, as in SceneEvent
    oshash: str = ""
    checksum: str = ""
    history: tuple[Attempt, ...] = ()
    generation: int = 0  # moves between queue and dead letter queue so far
    deaths: int = 0  # times the worker died while only this delivery ran

    @property
    def job_id(self) -> str:
        """The delivery's id for receivers: the same on every retry of the same event, no dot."""
        return f"msg_{self.seq}_{self.scene_id}"


@dataclass(frozen=True, slots=True)
class CorruptRow:
    """A row whose bytes can't be decoded; it becomes a dead letter with them."""

    seq: int  # the row's id in its table
    destination: str  # "" for a row of the inbox
    scene_id: int  # 0 if unknown
    raw: bytes
    reason: str  # one sentence


@dataclass(frozen=True, slots=True)
class Summary:
    """A dead letter for a list; nothing of it was unpickled."""

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


@dataclass(frozen=True, slots=True)
class DeadLetter(Summary):
    """A dead letter, whole."""

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
    in_flight: int
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
    title: str  # "" when none is set; title_or_stem() is what people see
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
        """The title, else the primary file's name without its ending."""
        if self.title:
            return self.title
        name = self.path.replace("\\", "/").rsplit("/", 1)[-1]
        return name.rsplit(".", 1)[0] or name
