"""The installed plugin: its id, and which files belong to it.

The build lists them in ``files.json``. A checkout has no list; it works as the plugin ``stash_plugin``. While an
update replaces the files, importing this module fails.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LIST = "files.json"
CHECKOUT = "stash_plugin"  # the id of a checkout, and of versions that were copied by hand
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


def other_manifests(root: Path, plugin: str) -> list[str]:
    """Manifests in a plugin's folder besides its own: Stash loads each of them as another plugin."""
    return sorted(path.name for path in root.glob("*.yml") if path.stem != plugin)


def managed(root: Path) -> bool:
    """Whether Stash's package manager installed a plugin's folder; it leaves a file of its own there."""
    return (root / "manifest").is_file()


def managed_elsewhere(ids: Collection[str]) -> Path | None:
    """The folder of another copy that Stash's package manager installed, if all of its files are there.

    Args:
        ids: the plugins that Stash has loaded under this plugin's name.
    """
    if not ids or managed(ROOT):
        return None
    # A source may have a folder of its own below Stash's plugins folder.
    patterns = (f"*/{LIST}", f"*/*/{LIST}")
    lists = (found for folder in ROOT.parents[:2] for pattern in patterns for found in folder.glob(pattern))
    folders = (found.parent for found in lists if managed(found.parent))
    others = (one for one in folders if (other := read(one)) is not None and other.id in ids)
    return next((one for one in others if not incomplete(one)), None)


def _size(path: str) -> int | None:
    try:
        return os.stat(path).st_size  # noqa: PTH116  # hundreds of files at each button; pathlib takes twice as long
    except OSError:
        return None


_installed = read(ROOT)
# A package over a copy by hand leaves the manifest of that one, so an update without a list looks like a checkout.
if _installed is None and ((ROOT / "lib").exists() or not (ROOT / f"{CHECKOUT}.yml").exists()):
    raise ImportError(f"{LIST} is missing in {ROOT}")
INSTALLED = _installed is not None  # False: a checkout
ID = CHECKOUT if _installed is None else _installed.id
if INSTALLED and (_missing := incomplete(ROOT)):
    raise ImportError(f"{_missing} is missing in {ROOT}, or only a part of it is there")
