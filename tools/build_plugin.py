"""Puts the plugin folder together: what a person drops into Stash's plugins folder, and no more.

Our code, and under ``lib/`` the runtime requirements exactly as ``requirements/runtime.txt`` locks
them, pure Python only, with their licences. Downloads nothing: ``make plugin`` fetches the wheels.
The same checkout and lock make the same bytes again.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import shutil
import sys
import zipfile
from collections.abc import Iterator
from email.message import Message
from email.parser import BytesParser
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NAME = "stash_courier"
CODE = ("plugin", "queue", "worker")
FILES = ("stash_plugin.yml", "README.md", "LICENSE")
NO_CODE_OF_OURS = shutil.ignore_patterns("__pycache__", "*.pyc", ".*")
# Stash runs on musl and glibc, x86 and ARM, and any Python from 3.11 on: a compiled part fits one of them.
COMPILED = {".so", ".pyd", ".dll", ".dylib", ".pyc"}
EARLIEST = (1980, 1, 1, 0, 0, 0)  # of a zip entry; a fixed time makes the archive reproducible


class BuildError(Exception):
    """The folder can't be made; the message says why and what to do."""


def build(target: Path, wheels: Path, lock: Path = ROOT / "requirements" / "runtime.txt") -> None:
    """Makes the plugin folder, replacing what was there.

    Args:
        target: the folder to make.
        wheels: a folder with the locked wheels, as ``make plugin`` fills it.
        lock: requirements with ``==`` and ``--hash``.

    Raises:
        BuildError: a file or wheel is missing, or something must not be shipped.
    """
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for name in FILES:
        if not (ROOT / name).is_file():
            raise BuildError(f"{name} is missing in {ROOT}, and the plugin is not complete without it.")
        shutil.copyfile(ROOT / name, target / name)
    for name in CODE:
        shutil.copytree(ROOT / name, target / name, ignore=NO_CODE_OF_OURS)
    lib = target / "lib"
    for wheel in locked_wheels(lock, wheels):
        unpack(wheel, lib)
    (lib / "LICENSES.md").write_text("\n".join(licence_table(lib)) + "\n", encoding="utf-8")
    check(target)


def locked_wheels(lock: Path, wheels: Path) -> list[Path]:
    """The wheel of each requirement in the lock, found by its hash, in the lock's order."""
    by_hash = {hashlib.sha256(w.read_bytes()).hexdigest(): w for w in wheels.glob("*.whl")}
    found = []
    for requirement, hashes in requirements(lock):
        wheel = next((by_hash[h] for h in hashes if h in by_hash), None)
        if wheel is None or not wheel.name.endswith("-none-any.whl"):
            raise BuildError(
                f"{requirement}: no pure Python wheel in {wheels} has a hash that {lock.name} allows. "
                f"Delete that folder and run `make plugin`, which fetches it anew."
            )
        found.append(wheel)
    return found


def requirements(lock: Path) -> Iterator[tuple[str, list[str]]]:
    """Name with version, and the SHA-256 hashes, of each entry of a lock."""
    text = lock.read_text(encoding="utf-8").replace("\\\n", " ")
    for line in text.splitlines():
        if line.strip() and not line.startswith("#"):
            yield line.split()[0], re.findall(r"--hash=sha256:([0-9a-f]{64})", line)


def unpack(wheel: Path, lib: Path) -> None:
    """Installs a wheel as pip would, less the scripts and the byte code."""
    with zipfile.ZipFile(wheel) as archive:
        if any(".data/" in name for name in archive.namelist()):
            raise BuildError(f"{wheel.name} wants files outside of lib/, which a plugin folder has not.")
        archive.extractall(lib)


def licence_table(lib: Path) -> Iterator[str]:
    """LICENSES.md, line by line.

    Raises:
        BuildError: a package came without the text of its licence.
    """
    yield "# What is in this folder\n"
    yield "Unchanged from the packages' own wheels, each with the text of its licence in the place named.\n"
    yield "| package | version | licence | text |"
    yield "|---|---|---|---|"
    for info in sorted(lib.glob("*.dist-info")):
        texts = sorted(p for p in (info / "licenses").rglob("*") if p.is_file())
        if not texts:
            raise BuildError(f"{info.name} holds no licence text, so the package can't be passed on.")
        metadata = BytesParser().parsebytes((info / "METADATA").read_bytes())
        where = ", ".join(p.relative_to(lib).as_posix() for p in texts)
        yield f"| {metadata['Name']} | {metadata['Version']} | {licence(metadata)} | {where} |"


def licence(metadata: Message) -> str:
    """The licence's name as the package states it."""
    return str(metadata["License-Expression"] or metadata["License"]).splitlines()[0]


def check(folder: Path) -> None:
    """Refuses what would break in a user's Stash.

    Raises:
        BuildError: a compiled file, or a second file that Stash would load as a plugin.
    """
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.suffix in COMPILED:
            raise BuildError(f"{name} is compiled; the plugin folder must work on every system.")
        if path.suffix == ".yml" and name != "stash_plugin.yml":
            raise BuildError(f"Stash would load {name} as a plugin of its own; name it .yaml.")


def pack(folder: Path, archive: Path) -> None:
    """Zips the folder, its name included, so that unpacking it in Stash's plugins folder is enough."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as out:
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            entry = zipfile.ZipInfo(path.relative_to(folder.parent).as_posix(), EARLIEST)
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            out.writestr(entry, path.read_bytes())


def main() -> int:
    """Builds, says how large the result is, returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--wheels", type=Path, default=ROOT / ".build" / "wheels")
    parser.add_argument("--target", type=Path, default=ROOT / "dist" / NAME)
    parser.add_argument("--zip", action="store_true", help="make a zip file beside the folder, too")
    args = parser.parse_args()
    try:
        build(args.target, args.wheels)
    except BuildError as error:
        print(error, file=sys.stderr)
        return 1
    files = [p for p in args.target.rglob("*") if p.is_file()]
    size = sum(p.stat().st_size for p in files)
    print(f"{args.target}: {len(files)} files, {size / 1e6:.1f} MB")
    if args.zip:
        archive = args.target.with_suffix(".zip")
        pack(args.target, archive)
        print(f"{archive}: {archive.stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
