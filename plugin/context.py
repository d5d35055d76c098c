"""What every task button has at hand: the data folder, its report, Stash, the queue, and the worker's state.

No button's own work is here. Buttons open the queue briefly: while it is open, a damaged file can't
be replaced.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from stash_courier.plugin.text.report import Report
from stash_courier.plugin.text.snapshot import Named
from stash_courier.queue import checks, files
from stash_courier.queue.dlq import DeadLetterQueue
from stash_courier.queue.scene_queue import SceneQueue
from stash_courier.worker import destinations, process
from stash_courier.worker.destinations import Destination
from stash_courier.worker.destinations.webhook.settings import fresh_secret
from stash_courier.worker.settings import Problem, Settings, parse
from stash_courier.worker.stash.client import Stash, StashUnavailable

NONE_SET_UP = (
    "No destination is set up, so nothing is sent anywhere: fill in a URL in Stash's Settings → Plugins → "
    "Stash Courier, then press «Test destinations»."
)


@dataclass(frozen=True, slots=True)
class Setup:
    """What Stash's settings say now."""

    settings: Settings
    destinations: Mapping[str, Destination]  # by id, those that can be used
    problems: tuple[Problem, ...]
    named: Named


@dataclass(frozen=True, slots=True)
class WorkerNote:
    """What the worker last wrote about itself; it may be gone since."""

    pid: int
    version: str
    started_at: float  # wall time
    heartbeat_at: float  # wall time


class Context:
    """What a button works with.

    Args:
        folder: the data folder.
        root: the plugin's folder.
    """

    def __init__(self, folder: Path, root: str) -> None:
        self.folder = folder
        self.root = root
        self.report = Report()
        self.stash = Stash(folder)

    @contextmanager
    def setup(self) -> Iterator[Setup]:
        """Asks Stash for the settings as they are now; the destinations are usable within the block.

        Raises:
            StashUnavailable: they can't be had.
        """
        state = self.stash.plugin_state()
        settings, problems = parse(state.settings)
        loaded = destinations.load(state.settings, settings)
        faults = {
            kind: tuple(dict.fromkeys(p.setting for p in loaded.problems if _stops(p, kind)))
            for kind in sorted(loaded.broken_kinds)
        }
        named = Named(frozenset(loaded.destinations), frozenset(loaded.unusable), faults)
        try:
            yield Setup(settings, loaded.destinations, (*problems, *loaded.problems), named)
        finally:
            for destination in loaded.destinations.values():
                destination.close()

    @contextmanager
    def queue(self) -> Iterator[SceneQueue]:
        """The queue, made if there is none; closed at the end of the block."""
        with closing(SceneQueue(self.folder)) as queue:
            yield queue

    @contextmanager
    def dead_letters(self) -> Iterator[DeadLetterQueue]:
        """The dead letters, closed at the end of the block."""
        with closing(DeadLetterQueue(self.folder)) as dlq:
            yield dlq

    @property
    def may_start(self) -> bool:
        """Whether this plugin may start a worker here."""
        return os.environ.get("STASH_COURIER_WORKER") != "off"

    def rouse(self) -> bool:
        """Wakes the worker or starts one; False where this plugin must not start any."""
        folder = str(self.folder)
        return process.wake(folder) or process.start(folder, self.root)

    def set_to_work(self) -> None:
        """Wakes or starts the worker, and says so if neither can be done."""
        if not self.rouse():
            self.report.warn(f"No worker runs now, and {self.kept_off()}")

    def kept_off(self) -> str:
        """Why no worker is started, and what to do; half a sentence."""
        return (
            "STASH_COURIER_WORKER=off keeps this plugin from starting one: press «Deliver now», "
            f"or run {Path(self.root) / 'plugin' / 'main.py'} worker with Python."
        )

    def worker_note(self) -> WorkerNote | None:
        """What the worker last wrote about itself, if that can be read."""
        try:
            note = checks.parsed((self.folder / files.WORKER_STATUS).read_bytes())
            return WorkerNote(
                pid=checks.whole(note["pid"]),
                version=checks.text(note["version"]),
                started_at=checks.time(note["started_at"]),
                heartbeat_at=checks.time(note["heartbeat_at"]),
            )
        except (OSError, *checks.DAMAGE):
            return None

    def warn_of(self, problems: Iterable[tuple[str, str]]) -> None:
        """Says what is wrong with the settings, given as setting and sentence; offers a secret for a bad one.

        That secret is said here alone: the worker's log and the queue keep the sentences.
        """
        bad = set()
        for setting, message in problems:
            bad.add(setting)
            self.report.warn(message)
        if "webhook_secret" in bad:
            self.report.say(
                f"Here is a secret that nobody has used yet, for webhook_secret and the receiver: {fresh_secret()}"
            )

    def titles(self, scene_ids: set[int]) -> Mapping[int, str]:
        """Titles from Stash, for people: without them a sentence only names the id."""
        try:
            return self.stash.titles(scene_ids) if scene_ids else {}
        except StashUnavailable:
            return {}

    def spooled(self) -> int:
        """Changes that hooks had to keep beside the queue."""
        return sum(1 for _ in (self.folder / files.SPOOL).glob("*.json"))


def _stops(problem: Problem, kind: str) -> bool:
    """Whether it keeps a destination of that kind from being used."""
    return problem.setting.startswith(f"{kind}_") and not problem.minor
