"""The installed plugin: its id, which files belong to it, and whether they were updated or removed.

The build lists them in ``files.json``. A checkout has no list; it works as the plugin ``stash_plugin``. While an
update replaces the files, importing this module fails.
"""

from __future__ import annotations

import glob
import json
import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

ROOT = Path(__file__).resolve().parent.parent
LIST = "files.json"
CHECKOUT = "stash_plugin"  # the id of a checkout, and of a manual copy
PACKAGE = "stash_courier"  # the id that the build gives
NAME = "Stash Courier"  # in the manifest; a copy under another id has the same
REMOVED_LOOKS = 10  # 20 seconds, of CodeWatch that find nothing before the plugin counts as removed


@dataclass(frozen=True, slots=True)
class Package:
    """What the build wrote about a plugin's folder."""

    id: str  # Stash's: the manifest's file name without its extension
    files: Mapping[str, int]  # relative path, with "/" → size in bytes; none in a checkout


def read(root: Path) -> Package | None:
    """What is installed in a folder; None while it has no readable list, as in a checkout or during an update."""
    try:
        stored = json.loads((root / LIST).read_bytes())
        return Package(str(stored["id"]), {str(name): int(size) for name, size in stored["files"].items()})
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None


def incomplete(root: Path) -> str:
    """The first file that is missing or only partly written, as during an update; "" if there is none."""
    package = read(root)
    if package is None:
        return LIST
    return next((name for name, size in package.files.items() if _size(f"{root}/{name}") != size), "")


def delivering(others: Collection[str], *, enabled: bool) -> str:
    """The id of the copy that delivers: of those that are enabled, the package before a copy by hand.

    ``others`` are other enabled plugins with this plugin's name; ``enabled``: whether this one is, too.
    """
    ids = sorted({*others, ID} if enabled else others)
    return PACKAGE if PACKAGE in ids else next(iter(ids), ID)


def find(plugin: str) -> Path | None:
    """The manifest of a plugin, in Stash's plugins folder or in that of a source; None if it isn't found."""
    name = glob.escape(f"{plugin}.yml")
    # In Stash's own folder there is too much else.
    roots = [folder for folder in ROOT.parents[:2] if not (folder / "config.yml").exists()]
    return next((path for root in roots for some in ("*", "*/*") for path in root.glob(f"{some}/{name}")), None)


def replaced() -> bool:
    """Whether an update wrote other files since this worker began to import them; process.STARTER noted which.

    Then it may have modules of both versions.
    """
    noted = os.environ.get("STASH_COURIER_FILES")
    if noted is None or not INSTALLED:  # started by hand, or a checkout
        return False
    try:
        return noted != str((ROOT / LIST).stat().st_mtime_ns)
    except OSError:
        return True


class CodeWatch:
    """Whether the files in the plugin's folder have changed since the worker started.

    A change counts when two looks in a row find the same files, and none of the package is missing. An update
    deletes all files, then writes the new ones, their list first and the code last. On a busy disk that takes
    seconds, so the plugin counts as removed only after a while without a list.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._installed = read(root) is not None  # otherwise it is a checkout
        self._running = self._before = self._files()
        self._gone = 0  # looks in a row that found nothing

    def look(self) -> Literal["new code", "removed"] | None:
        """What happened to the code on disk; None if nothing did, or the update isn't complete."""
        now = self._files()
        before, self._before = self._before, now
        self._gone = 0 if now or read(self._root) is not None else self._gone + 1
        if self._gone >= REMOVED_LOOKS:
            return "removed"
        if not now or now == self._running or now != before:
            return None
        return None if self._installed and incomplete(self._root) else "new code"

    def _files(self) -> frozenset[tuple[str, int, int]]:
        """Path, mtime in nanoseconds and size of each file."""
        return frozenset(
            found for folder in ("plugin", "queue", "worker") for found in _below(self._root / folder)
        )


def _below(folder: Path | str) -> Iterator[tuple[str, int, int]]:
    """The files in a folder and below. Every two seconds, so not with pathlib, which takes three times as long."""
    with suppress(OSError), os.scandir(folder) as entries:  # a folder that isn't there has no files
        for entry in entries:
            if entry.name.endswith(".py"):
                with suppress(OSError):  # deleted since it was listed
                    stat = entry.stat()
                    yield entry.path, stat.st_mtime_ns, stat.st_size
            elif entry.name != "__pycache__" and entry.is_dir():
                yield from _below(entry.path)


def _size(path: str) -> int | None:
    try:
        return os.stat(path).st_size  # noqa: PTH116  # hundreds of files at each button; pathlib takes twice as long
    except OSError:
        return None


_installed = read(ROOT)
# A package over a manual copy leaves its manifest there, so an update without a list looks like a checkout.
if _installed is None and ((ROOT / "lib").exists() or not (ROOT / f"{CHECKOUT}.yml").exists()):
    raise ImportError(f"{LIST} is missing in {ROOT}")
INSTALLED = _installed is not None  # False: a checkout
ID = CHECKOUT if _installed is None else _installed.id
if INSTALLED and (_missing := incomplete(ROOT)):
    raise ImportError(f"{_missing} is missing in {ROOT}, or only a part of it is there")
