"""A row of the fault suite: a fault, its criteria, and mutations that the criteria must notice."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests import ROOT

NOT_COPIED = (".venv", ".build", ".git", "dist", "__pycache__", ".*_cache", ".hypothesis", "docs")


@dataclass
class Report:
    """The result of a run, which has passed if there are no failures."""

    done: str = ""  # what was done and how often
    promised: int = 0  # events whose hook exited 0
    delivered: int = 0  # of those: the receiver has the scene in this state or a newer one
    dead: int = 0  # of those: became dead letters
    duplicated: int = 0  # accepted requests that repeat a webhook-id
    failures: list[str] = field(default_factory=list)  # a sentence per criterion that failed

    @property
    def lost(self) -> int:
        """Promised events that were neither delivered nor became dead letters."""
        return self.promised - self.delivered - self.dead

    def expect(self, holds: bool, sentence: str) -> None:
        """Adds a failure unless the criterion holds."""
        if not holds:
            self.failures.append(sentence)

    def nothing_lost(self) -> None:
        """The criterion of most rows: each promised event was delivered or is a dead letter."""
        self.expect(self.promised > 0, "no hook promised anything, so the row proved nothing")
        self.expect(self.lost == 0, f"{self.lost} promised events were lost")


@dataclass(frozen=True)
class Mutation:
    """A mistake in the product that the row must notice: one text of a source file, replaced."""

    file: str  # relative to the checkout
    old: str
    new: str

    def apply(self, checkout: Path) -> None:
        """Makes the mistake.

        Raises:
            ValueError: the text is not in the file exactly once, so the mutation would prove nothing.
        """
        path = checkout / self.file
        source = path.read_text(encoding="utf-8")
        if source.count(self.old) != 1:
            raise ValueError(
                f"{self.file} contains this {source.count(self.old)} times instead of once: {self.old!r}"
            )
        path.write_text(source.replace(self.old, self.new), encoding="utf-8")


@dataclass(frozen=True)
class Row:
    """One fault of the suite."""

    name: str
    run: Callable[[Path, bool], Report]  # takes an empty folder and whether to run in full
    mutations: Sequence[Sequence[Mutation]]  # per mistake: the edits that make it
    missing: Callable[[], str] = lambda: ""  # why it can't run on this machine; "" if it can
    own_test: bool = False  # it consists of ordinary tests, which make test runs anyway
    cheap: bool = False  # its proof is fast enough for ``make test``
    proof_full: bool = False  # only the full run notices its mutations


def copy_checkout(target: Path) -> Path:
    """Copies the checkout so that a test can change it; programs in the copy use the copy only."""
    shutil.copytree(ROOT, target, ignore=shutil.ignore_patterns(*NOT_COPIED), symlinks=True)
    (target / ".build").mkdir()
    (target / ".build" / "wheels").symlink_to(ROOT / ".build" / "wheels")  # what the build of a package needs
    return target


def add_destination(checkout: Path, kind: str, source: str) -> None:
    """Adds a kind of destination with a webhook's fields to a copy of the checkout."""
    folder = checkout / "worker" / "destinations" / kind
    folder.mkdir()
    (folder / "__init__.py").touch()
    fields = "from stash_courier.worker.destinations.webhook.settings import HELP, NAME, Options, check\n"
    (folder / "settings.py").write_text(fields, encoding="utf-8")
    (folder / "destination.py").write_text(source, encoding="utf-8")
