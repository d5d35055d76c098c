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


@dataclass(frozen=True, slots=True)
class Copies:
    """The other copies of this plugin, and what to remove."""

    others: tuple[str, ...] = ()  # ids of other copies that Stash has loaded and not disabled
    delivers: str = ""  # the id of the copy that Stash's package manager installed; "" if there is none
    remove: tuple[Path, ...] = ()  # the folders of the others, as far as they are found
    manifests: tuple[Path, ...] = ()  # of other plugins, in this plugin's folder


def copies(ids: Collection[str]) -> Copies:
    """What is wrong with how this plugin is installed.

    ``ids`` are other enabled plugins that Stash has loaded under this plugin's name.
    """
    manifests = other_manifests(ROOT, ID) if INSTALLED else []
    others = sorted(one for one in ids if f"{one}.yml" not in manifests)
    found = {ID: ROOT, **{one: folder for one in others if (folder := _folder(one)) is not None}}
    delivers = next((one for one, folder in found.items() if managed(folder)), "") if others else ""
    remove = [folder for one, folder in found.items() if delivers and one != delivers]
    return Copies(tuple(others), delivers, tuple(remove), tuple(ROOT / name for name in manifests))


def delivering(ids: Collection[str], *, enabled: bool) -> Path | None:
    """The folder of the copy that delivers in place of this one; None if this one does.

    ``ids`` as in ``copies``. ``enabled``: whether this one is enabled in Stash.
    """
    if not ids or (enabled and managed(ROOT)):
        return None
    found = [folder for one in sorted(ids) if (folder := _folder(one)) is not None]
    other = max(found, key=managed, default=None)
    if other is None or (enabled and not managed(other)) or (read(other) is not None and incomplete(other)):
        return None  # during an update too
    return other


def _folder(plugin: str) -> Path | None:
    """The folder of another plugin, by its manifest; None if it isn't found."""
    name = glob.escape(f"{plugin}.yml")
    # A source may have a folder of its own below Stash's plugins folder. In Stash's folder there is too much else.
    roots = [folder for folder in ROOT.parents[:2] if not (folder / "config.yml").exists()]
    found = (path.parent for root in roots for some in ("*", "*/*") for path in root.glob(f"{some}/{name}"))
    return next((folder for folder in found if folder != ROOT), None)


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
