"""The installed plugin: its id, and which files belong to it.

The build lists them in ``files.json``. A checkout has no list; it works as the plugin ``stash_plugin``. While an
update replaces the files, importing this module fails.
"""

from __future__ import annotations

import glob
import json
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LIST = "files.json"
CHECKOUT = "stash_plugin"  # the id of a checkout, and of a manual copy
PACKAGE = "stash_courier"  # the id that the build gives
NAME = "Stash Courier"  # in the manifest; a copy under another id has the same


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
