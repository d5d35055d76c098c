"""The sizes and folders of a benchmark run. Folders that take long to fill are shared by several rows."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from stash_courier.queue.inbox import files, store
from tests.benchmarks import filling

DESTINATION = "webhook:bench.example"  # of rows that are never delivered


@dataclass(frozen=True, slots=True)
class Sizes:
    """All sizes. The targets are for the full sizes; ``--quick`` only shows that the rows run."""

    processes: int  # starts of each candidate, where processes are compared
    operations: int  # in one batch of a candidate, where queues are compared
    batches: int  # of each such candidate
    many: int  # jobs and dead letters
    most: int
    half: int  # waiting jobs while others are claimed
    history: int
    drained: int  # deliveries
    drains: int
    idle_seconds: float
    settle_seconds: float
    library: int  # scenes
    bulk: int  # scenes of a bulk edit
    sent: int  # scenes of a first full send


FULL = Sizes(41, 100, 21, 100_000, 1_000_000, 500_000, 100_000, 5_000, 5, 60.0, 15.0, 100_000, 500, 100_000)
QUICK = Sizes(7, 20, 5, 1_000, 10_000, 5_000, 5_000, 500, 2, 3.0, 2.0, 5_000, 20, 2_000)


class Workspace:
    """Sizes and folders of one run; a context manager that removes all folders.

    Args:
        folder: a place on the disk to measure.
        sizes: the sizes to use.
        say: prints progress.
    """

    def __init__(self, folder: Path, sizes: Sizes, say: Callable[[str], None]) -> None:
        self._parent = folder
        self.sizes = sizes
        self.say = say
        self._filled: dict[int, Path] = {}
        self._made = 0

    def __enter__(self) -> Workspace:
        self._parent.mkdir(parents=True, exist_ok=True)
        self._temporary = tempfile.TemporaryDirectory(dir=self._parent, prefix="work-")
        self.folder = Path(self._temporary.name)
        return self

    def __exit__(self, *_: object) -> None:
        self._temporary.cleanup()

    def new(self, name: str) -> Path:
        """An empty folder."""
        self._made += 1
        folder = self.folder / f"{self._made}-{name}"
        folder.mkdir(mode=0o700)
        return folder

    def filled(self, count: int) -> Path:
        """A data folder with ``count`` waiting deliveries and ``count`` dead letters; shared by all callers."""
        if count not in self._filled:
            folder = self.new(f"filled-{count}")
            store.create(str(folder / files.QUEUE_DB))
            if count:
                self.say(f"filling {count:,} deliveries and dead letters")
                filling.deliveries(folder, count, DESTINATION)
                filling.dead_letters(folder, count, DESTINATION)
            self._filled[count] = folder
        return self._filled[count]
