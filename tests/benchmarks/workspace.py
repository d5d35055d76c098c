"""Where a benchmark works: its sizes, and folders that several rows share and that cost time to fill."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from stash_courier.queue import files, store
from tests.benchmarks import filling

DESTINATION = "webhook:bench.example"  # of rows that are only there


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much of everything. The targets are about the full sizes; ``--quick`` only shows that the rows run."""

    processes: int  # starts of each contestant among processes
    operations: int  # in one batch of a contestant among queues
    batches: int  # of each such contestant
    many: int  # jobs and dead letters
    most: int
    half: int  # jobs that wait while others are claimed
    history: int
    drained: int  # deliveries
    drains: int
    idle_seconds: float
    settle_seconds: float
    library: int  # scenes


FULL = Sizes(41, 100, 21, 100_000, 1_000_000, 500_000, 100_000, 5_000, 5, 60.0, 15.0, 100_000)
QUICK = Sizes(7, 20, 5, 1_000, 10_000, 5_000, 5_000, 500, 2, 3.0, 2.0, 5_000)


class Workshop:
    """Sizes and folders of one run; a context manager that removes what was made.

    Args:
        folder: on the disk that is to be measured.
        sizes: how much of everything.
        say: tells a person what goes on.
    """

    def __init__(self, folder: Path, sizes: Sizes, say: Callable[[str], None]) -> None:
        self._parent = folder
        self.sizes = sizes
        self.say = say
        self.points: dict[str, list[tuple[int, float]]] = {}  # of the plot: series → (rows, seconds)
        self._filled: dict[int, Path] = {}
        self._made = 0

    def __enter__(self) -> Workshop:
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
        """A data folder with so many waiting deliveries and as many dead letters; the same for all who ask."""
        if count not in self._filled:
            folder = self.new(f"filled-{count}")
            store.create(str(folder / files.QUEUE_DB))
            if count:
                self.say(f"filling {count:,} deliveries and dead letters")
                filling.deliveries(folder, count, DESTINATION)
                filling.dead_letters(folder, count, DESTINATION)
            self._filled[count] = folder
        return self._filled[count]
