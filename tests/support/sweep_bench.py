"""The sweep with a library in memory that lists as Stash does: by id, comparing times as text."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from stash_courier.queue.dead_letters.dlq import DeadLetterQueue
from stash_courier.queue.deliveries.scene_queue import SceneQueue
from stash_courier.queue.history import ledger
from stash_courier.queue.history.ledger import Sent
from stash_courier.queue.inbox import store
from stash_courier.queue.jobs import Delivery, Scene, SceneEvent
from stash_courier.worker.settings import Settings
from stash_courier.worker.stash.answers import PluginState
from stash_courier.worker.stash.client import SweepPage
from stash_courier.worker.stash.queries import Listed, SweepQuestion, changed_after
from stash_courier.worker.stash.sweep import Sweep
from tests.support.queue_driver import claim

HOUR = 3600.0
START = 1_792_900_000.0  # 25 October 2026
STATE = PluginState({}, True)
PAGE = 3  # scenes, so that a sweep has many pages


@dataclass
class Library:
    """Scenes by id, each with Stash's text of its last change."""

    zone: int = 0  # seconds east of UTC
    scenes: dict[int, str] = field(default_factory=dict)
    questions: list[SweepQuestion] = field(default_factory=list)
    last_id: int = 0

    def change(self, scene_id: int, now: float) -> None:
        """Changes a scene."""
        there = datetime.timezone(datetime.timedelta(seconds=self.zone))
        text = datetime.datetime.fromtimestamp(int(now), there).isoformat("T", "seconds")
        self.scenes[scene_id] = text.replace("+00:00", "Z")

    def add(self, now: float) -> int:
        """Adds a scene."""
        self.last_id += 1
        self.change(self.last_id, now)
        return self.last_id

    def answer(self, question: SweepQuestion, now: float) -> SweepPage:
        """Answers as Stash does."""
        self.questions.append(question)
        changed_since = question.changed_since
        watermark = "" if changed_since is None else changed_after(changed_since)
        ids = [
            i
            for i, text in sorted(self.scenes.items())
            if i > question.after
            and (question.up_to is None or i <= question.up_to)
            and (text > watermark or i > question.added_after)
        ]
        ids = sorted(ids, reverse=question.newest)
        most = min(question.scenes, PAGE)
        known = None
        if question.known_up_to is not None:
            known = sum(i <= question.known_up_to for i in self.scenes)
        listed = tuple(self._listed(i) for i in ids[:most])
        return SweepPage(listed, len(ids) < most, known, STATE, now)

    def _listed(self, scene_id: int) -> Listed:
        when = datetime.datetime.fromisoformat(self.scenes[scene_id])
        return Listed(scene_id, self.scenes[scene_id], int(when.timestamp()))


class SweepBench:
    """A sweep on real files, with a worker that is simulated."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.wall, self.ran = START, 0.0
        self.library = Library()
        self.targets: tuple[str, ...] = ("webhook:a",)
        self.sent: list[tuple[str, int, str]] = []  # (destination, scene, event)
        self.open()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def open(self) -> None:
        """Starts a worker."""
        self.queue = SceneQueue(self.folder, clock=lambda: self.wall)
        self.dlq = DeadLetterQueue(self.folder, clock=lambda: self.wall)
        self.sweep = Sweep(self.queue, self.dlq, lambda: self.wall, lambda: self.ran)
        self.sweep.meet(self.targets)

    def close(self) -> None:
        """Stops it."""
        self.queue.close()
        self.dlq.close()

    def restart(self) -> None:
        """Stops it and starts another."""
        self.close()
        self.open()

    def wait(self, seconds: float) -> None:
        """Lets time pass."""
        self.wall += seconds
        self.ran += seconds

    def ask(self) -> None:
        """Asks one question and takes the answer."""
        self.sweep.hear(self.library.answer(self.sweep.question(), self.wall))
        self.sweep.put()

    def run(self) -> int:
        """Runs a sweep and those that are due soon after it; returns the number of questions."""
        before = len(self.library.questions)
        while self.sweep.due_in(Settings()) <= 15.0:
            self.wait(self.sweep.due_in(Settings()))
            self.ask()
        return len(self.library.questions) - before

    def inbox(self) -> list[tuple[int, str]]:
        """The events in the inbox."""
        return [(row.scene_id, row.event) for row in self.queue.inbox_rows() if isinstance(row, SceneEvent)]

    def deliver(self) -> list[tuple[str, int, str]]:
        """Delivers everything as the worker would; returns what was sent."""
        self.queue.route(self.queue.inbox_rows(), dict.fromkeys(self.targets, 0.0))
        out = []
        for target in self.targets:
            for delivery in claim(self.queue, 1000, 1e12, target):
                assert isinstance(delivery, Delivery)
                event = self._complete(delivery)
                if event:
                    out.append((target, delivery.scene_id, event))
        self.sent += out
        return out

    def _complete(self, delivery: Delivery) -> str:
        conn, text = self.queue.connection, self.library.scenes.get(delivery.scene_id)
        known = ledger.find(conn, delivery.destination, delivery.scene_id)
        first = self.sweep.was_first(delivery, None if text is None else scene(delivery.scene_id, text), known)
        with self.queue.transaction():
            self.queue.done(delivery)
            if first:
                return ""
            if text is None:
                ledger.forget(conn, delivery.destination, delivery.scene_id)
                return "destroy" if known or delivery.event == "destroy" else ""
            row = Sent(delivery.destination, delivery.scene_id, delivery.seq, text, self.wall, "/f.mp4", "sent")
            ledger.write(conn, row)
        return delivery.event

    def hook(self, scene_id: int, event: str = "update", changed: tuple[str, ...] = ("title",)) -> None:
        """Puts an event as a hook does."""
        data = {"scene": scene_id, "event": event, "changed": list(changed), "at": self.wall}
        self.queue.put_many([store.encode(data)])


def scene(scene_id: int, text: str) -> Scene:
    """A scene of Stash with only its id and times."""
    empty = dict.fromkeys(("title", "code", "details", "director", "date", "cover_url"), "")
    none = dict.fromkeys(("urls", "files", "performers", "tags", "groups", "stash_ids"), ())
    return Scene(
        id=scene_id,
        rating100=None,
        organized=False,
        created_at=text,
        updated_at=text,
        studio=None,
        fetched_at=0.0,
        **empty,  # type: ignore[arg-type]
        **none,  # type: ignore[arg-type]
    )


@contextmanager
def swept_library(folder: Path) -> Iterator[SweepBench]:
    """A library of ten scenes, all delivered; the first sweep was 26 hours ago, the last one an hour ago."""
    with SweepBench(folder) as bench:
        for _ in range(10):
            bench.library.add(bench.wall - 1000 * HOUR)
        bench.wait(HOUR)
        bench.run()
        for scene_id in bench.library.scenes:
            bench.hook(scene_id)
        bench.deliver()
        bench.sent.clear()
        bench.wait(24 * HOUR)
        bench.run()
        bench.wait(HOUR)
        bench.library.questions.clear()
        yield bench
