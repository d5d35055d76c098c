"""What every mode works with: the data folder, Stash, the queues, the worker's process, and the lines of a task.

Modes open the queue briefly: a damaged file can't be replaced while it is open. What only some of them need is
imported where it is used, since the page's views must be quick.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from stash_courier.plugin import log
from stash_courier.queue import codec
from stash_courier.queue.dead_letters import statements as dlq_statements
from stash_courier.queue.inbox import files, store
from stash_courier.queue.inbox.store import QueueUnavailable
from stash_courier.queue.transactions import VIEW_SECONDS
from stash_courier.worker import destinations, process
from stash_courier.worker.connections.store import Store, Stored
from stash_courier.worker.destinations import Loaded
from stash_courier.worker.fields import Problem
from stash_courier.worker.settings import Settings, parse
from stash_courier.worker.stash.address import StashUnavailable

if TYPE_CHECKING:
    from stash_courier.queue.dead_letters.dlq import DeadLetterQueue
    from stash_courier.queue.deliveries.scene_queue import SceneQueue
    from stash_courier.queue.history.ledger import Sent
    from stash_courier.queue.jobs import Scene
    from stash_courier.worker.stash.answers import PluginState
    from stash_courier.worker.stash.client import Stash

STASH_SECONDS = 2.0  # how long quick_state waits


@dataclass(frozen=True, slots=True)
class Setup:
    """What the owner set up."""

    stored: Stored  # connections.json
    settings: Settings
    loaded: Loaded
    problems: tuple[Problem, ...]


class Context:
    """What a mode works with."""

    def __init__(self, folder: Path, root: str) -> None:
        self.folder = folder  # for data
        self.root = root  # the plugin's folder
        self.store = Store(folder)
        self.state: PluginState | None = None  # as Stash last gave it
        # What a task reports, in the order in which it is to be read, each with the function of its level.
        self.report: list[tuple[Callable[[str], None], str]] = []

    @cached_property
    def stash(self) -> Stash:
        """The client for Stash."""
        from stash_courier.worker.stash.client import Stash

        return Stash(self.folder)

    def close(self) -> None:
        """Closes the connections to Stash."""
        if "stash" in self.__dict__:
            self.stash.close()

    def plugin_state(self) -> PluginState:
        """What Stash knows about this plugin.

        Raises:
            StashUnavailable: Stash can't be asked.
        """
        self.state = self.stash.plugin_state()
        return self.state

    def quick_state(self) -> PluginState:
        """As ``plugin_state``, for callers that need nothing else of Stash: without the client's imports."""
        from stash_courier.worker.stash import quick

        self.state = quick.plugin_state(self.folder, STASH_SECONDS)
        return self.state

    @contextmanager
    def setup(self) -> Iterator[Setup]:
        """Asks Stash for the current settings; the destinations can be used within the block.

        Raises:
            StashUnavailable: Stash can't be asked.
        """
        state = self.plugin_state()
        settings, problems = parse(state.settings)
        stored = self.store.read()
        loaded = destinations.load(state.settings, stored, settings)
        try:
            yield Setup(stored, settings, loaded, (*problems, *loaded.problems))
        finally:
            for destination in loaded.destinations.values():
                destination.close()

    def names(self) -> Mapping[str, str]:
        """The names of stored connections, by id. Those on Stash's page have only an id."""
        return {entry.id: entry.name for entry in self.store.read().entries}

    def queue(self) -> closing[SceneQueue]:
        """The queue, created if there is none; closed at the end of the block."""
        from stash_courier.queue.deliveries.scene_queue import SceneQueue

        return closing(SceneQueue(self.folder))

    def records(self, destination: str, scenes: Iterable[Scene]) -> dict[int, bytes]:
        """What the last deliveries of these scenes returned as records; none if the queue can't be read."""
        sent = self.sent(destination, [scene.id for scene in scenes])
        return {one.scene_id: one.record for one in sent if one.record}

    def sent(self, destination: str, scenes: Sequence[int]) -> list[Sent]:
        """What the ledger has of these scenes; nothing if the queue can't be read."""
        from stash_courier.queue.history import ledger

        try:
            with self.read_queue(codec.exact) as conn:
                found = [] if conn is None else [ledger.find(conn, destination, one) for one in scenes]
        except (QueueUnavailable, sqlite3.Error):
            return []
        return [one for one in found if one is not None]

    def dead_letters(self) -> closing[DeadLetterQueue]:
        """The dead letters; closed at the end of the block."""
        from stash_courier.queue.dead_letters.dlq import DeadLetterQueue

        return closing(DeadLetterQueue(self.folder))

    @contextmanager
    def read_queue(self, decode: Callable[[bytes], str] = codec.readable) -> Iterator[sqlite3.Connection | None]:
        """queue.db for a view, within the block; None if there is none yet. SceneQueue's imports take too long.

        ``decode`` reads TEXT columns. Raises as ``store.open_queue``.
        """
        if not (self.folder / files.QUEUE_DB).exists():
            yield None
            return
        conn, gate = store.open_queue(str(self.folder), VIEW_SECONDS, patient=True)
        try:
            conn.text_factory = decode
            yield conn
        finally:
            conn.close()
            os.close(gate)

    @contextmanager
    def read_dead_letters(self) -> Iterator[sqlite3.Connection | None]:
        """The same for dlq.db."""
        path = self.folder / files.DLQ_DB
        if not path.exists():
            yield None
            return
        with closing(store.connect(str(path), VIEW_SECONDS, dlq_statements.VERSION)) as conn:
            conn.text_factory = codec.readable
            yield conn

    @property
    def may_start(self) -> bool:
        """Whether this plugin may start a worker."""
        return os.environ.get("STASH_COURIER_WORKER") != "off"

    @property
    def start_by_hand(self) -> str:
        """Why this plugin starts no worker, and what to do instead."""
        return (
            "STASH_COURIER_WORKER=off keeps this plugin from starting a worker. Run this with Python: "
            f"{Path(self.root) / 'plugin' / 'main.py'} worker."
        )

    def wake_worker(self) -> bool:
        """Wakes the worker or starts one; False if none runs and this plugin may not start one."""
        folder = str(self.folder)
        return process.wake(folder) or process.start(folder, self.root)

    def start_work(self) -> None:
        """Wakes or starts the worker, with a warning if neither is possible."""
        if not self.wake_worker():
            self.warn(f"Worker: not running. {self.start_by_hand}")

    def say(self, line: str) -> None:
        """Reports something that the owner asked for, if this is a task. Each line must make sense alone.

        Secrets are removed before a text gets here, by the code that stores or raises it.
        """
        self.report.append((log.info, line))

    def warn(self, line: str) -> None:
        """Reports something that the owner should act on, if this is a task."""
        self.report.append((log.warning, line))

    def titles(self, scene_ids: set[int]) -> Mapping[int, str]:
        """Scenes' titles from Stash, by id; none if Stash can't be asked."""
        try:
            return self.stash.titles(scene_ids) if scene_ids else {}
        except StashUnavailable:
            return {}

    def spooled(self) -> int:
        """The number of changes that hooks kept outside the queue."""
        return sum(1 for _ in (self.folder / files.SPOOL).glob("*.json"))
