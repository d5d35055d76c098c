"""What every row of the fault suite is: a fault, its criterion, and a mutation that the criterion notices."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests import ROOT

NOT_COPIED = (".venv", ".build", ".git", "dist", "__pycache__", ".*_cache", ".hypothesis", "docs")


@dataclass
class Report:
    """What a run saw. A failure is a sentence; a run without one has passed."""

    done: str = ""  # what was done, and how often
    promised: int = 0  # events whose hook exited 0
    delivered: int = 0  # of those: their scene reached the receiver in this state or a newer one
    dead: int = 0  # of those: dead letters
    duplicated: int = 0  # requests beyond the first with the same webhook-id that the receiver took
    failures: list[str] = field(default_factory=list)

    @property
    def lost(self) -> int:
        """Promised events that are neither delivered nor a dead letter."""
        return self.promised - self.delivered - self.dead

    def expect(self, holds: bool, sentence: str) -> None:
        """Notes a failure unless the criterion holds."""
        if not holds:
            self.failures.append(sentence)

    def nothing_lost(self) -> None:
        """The criterion of most rows."""
        self.expect(self.promised > 0, "nothing was promised, so nothing was shown")
        self.expect(self.lost == 0, f"{self.lost} promised events were lost")


@dataclass(frozen=True)
class Mutation:
    """A mistake in the product that the row must notice: a text of a source file, replaced."""

    file: str  # relative to the checkout
    old: str
    new: str

    def apply(self, checkout: Path) -> None:
        """Makes the mistake.

        Raises:
            ValueError: the product no longer has this text, so the mutation proves nothing.
        """
        path = checkout / self.file
        source = path.read_text(encoding="utf-8")
        if source.count(self.old) != 1:
            raise ValueError(f"{self.file} has this {source.count(self.old)} times instead of once: {self.old!r}")
        path.write_text(source.replace(self.old, self.new), encoding="utf-8")


@dataclass(frozen=True)
class Row:
    """One fault of the suite."""

    name: str
    run: Callable[[Path, bool], Report]  # an empty folder, and whether in full
    mutations: Sequence[Sequence[Mutation]]  # each: edits that make one mistake
    missing: Callable[[], str] = lambda: ""  # why it can't be run here; "" if it can
    own_test: bool = False  # pytest runs it under its own name too
    cheap: bool = False  # its proof is quick enough for ``make test``
    proof_full: bool = False  # its mutation only shows in the full run


def copy_checkout(target: Path) -> Path:
    """A copy of the checkout, to be changed, whose programs run from it alone."""
    return Path(shutil.copytree(ROOT, target, ignore=shutil.ignore_patterns(*NOT_COPIED), symlinks=True))


def add_destination(checkout: Path, kind: str, source: str) -> None:
    """Adds a kind of destination to a copy of the checkout."""
    folder = checkout / "worker" / "destinations" / kind
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "destination.py").write_text(source, encoding="utf-8")
