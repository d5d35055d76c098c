"""Builds the plugin folder, which the owner copies into Stash's plugins folder.

It contains our code and, under ``lib/``, the runtime requirements as locked in ``requirements/runtime.txt``:
pure Python only, with their licenses. Downloads nothing; ``make plugin`` gets the wheels. The build is
reproducible: the same checkout and lock make the same bytes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import shutil
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from email.message import Message
from email.parser import BytesParser
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NAME = "stash_courier"
CODE = ("plugin", "queue", "worker")  # copied with all their sub-packages
MANIFEST = "stash_plugin.yml"  # in the folder it is called NAME.yml: its name is the plugin's id
FILES = ("README.md", "LICENSE")
LIST = "files.json"  # read by worker/package.py
# A checkout says this version. In what is built, it is the one of pyproject.toml.
CHECKOUT_VERSION = "0.0.0"
STAMPED = ("worker/__init__.py", f"{NAME}.yml", "plugin/ui/courier.js")
LOCK = ROOT / "requirements" / "runtime.txt"
NOT_SHIPPED = shutil.ignore_patterns("__pycache__", "*.pyc", ".*")
# Stash runs on musl and glibc, x86 and ARM, with any Python from 3.11 on. A compiled file fits only one of these.
COMPILED = {".so", ".pyd", ".dll", ".dylib", ".pyc"}


class BuildError(Exception):
    """The folder can't be built; the message says why and what to do."""


def build(target: Path, wheels: Path, number: str = "") -> None:
    """Builds the plugin folder and replaces an existing one.

    Args:
        target: the folder to build.
        wheels: a folder with the locked wheels, filled by ``make plugin``.
        number: its version; "": that of pyproject.toml.

    Raises:
        BuildError: a file or wheel is missing, or something must not be shipped.
    """
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for name, its_name in {MANIFEST: f"{NAME}.yml", **dict(zip(FILES, FILES, strict=True))}.items():
        if not (ROOT / name).is_file():
            raise BuildError(f"{name} is missing in {ROOT}. Restore it from git.")
        shutil.copyfile(ROOT / name, target / its_name)
    for name in CODE:
        shutil.copytree(ROOT / name, target / name, ignore=NOT_SHIPPED)
    stamp(target, number or version())
    lib = target / "lib"
    for wheel in locked_wheels(wheels):
        unpack(wheel, lib)
    (lib / "LICENSES.md").write_text("\n".join(license_table(lib)) + "\n", encoding="utf-8")
    check(target)
    sizes = {name: path.stat().st_size for name, path in contents(target)}
    (target / LIST).write_text(json.dumps({"id": NAME, "files": sizes}, indent=1) + "\n", encoding="utf-8")


def version() -> str:
    """The version of pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return str(project["version"])


def stamp(folder: Path, number: str) -> None:
    """Writes the version into the files of a plugin folder that say it.

    Raises:
        BuildError: a file doesn't say the version of a checkout.
    """
    for name in STAMPED:
        text = (folder / name).read_text(encoding="utf-8")
        if CHECKOUT_VERSION not in text:
            raise BuildError(f"{name} doesn't contain {CHECKOUT_VERSION}, where the version is written.")
        (folder / name).write_text(text.replace(CHECKOUT_VERSION, number), encoding="utf-8")


def locked_wheels(wheels: Path) -> list[Path]:
    """The wheel of each requirement, found by its hash, in the lock's order.

    Raises:
        BuildError: a wheel is missing or not pure Python.
    """
    by_hash = {hashlib.sha256(w.read_bytes()).hexdigest(): w for w in wheels.glob("*.whl")}
    found = []
    for requirement, hashes in requirements(LOCK):
        wheel = next((by_hash[h] for h in hashes if h in by_hash), None)
        if wheel is None or not wheel.name.endswith("-none-any.whl"):
            raise BuildError(
                f"{requirement}: no pure Python wheel in {wheels} has a hash that {LOCK.name} allows. "
                "Delete that folder and run `make plugin`, which downloads it again."
            )
        found.append(wheel)
    return found


def requirements(lock: Path) -> Iterator[tuple[str, list[str]]]:
    """Each entry of a lock: name with version, and its SHA-256 hashes."""
    text = lock.read_text(encoding="utf-8").replace("\\\n", " ")
    for line in text.splitlines():
        if line.strip() and not line.startswith("#"):
            yield line.split()[0], re.findall(r"--hash=sha256:([0-9a-f]{64})", line)


def unpack(wheel: Path, lib: Path) -> None:
    """Installs a wheel like pip, without scripts and bytecode.

    Raises:
        BuildError: the wheel installs files outside of ``lib/``.
    """
    with zipfile.ZipFile(wheel) as archive:
        if any(".data/" in name for name in archive.namelist()):
            raise BuildError(f"{wheel.name} installs files outside of lib/, which a plugin folder can't have.")
        archive.extractall(lib)


def license_table(lib: Path) -> Iterator[str]:
    """The lines of LICENSES.md.

    Raises:
        BuildError: a package has no license text.
    """
    yield "# What is in this folder\n"
    yield "Unchanged from the packages' wheels, each with its license text at the path in the table.\n"
    yield "| package | version | license | text |"
    yield "|---|---|---|---|"
    for info in sorted(lib.glob("*.dist-info")):
        texts = sorted(p for p in (info / "licenses").rglob("*") if p.is_file())
        if not texts:
            raise BuildError(f"{info.name} has no license text, so the package can't be redistributed.")
        metadata = BytesParser().parsebytes((info / "METADATA").read_bytes())
        where = ", ".join(p.relative_to(lib).as_posix() for p in texts)
        yield f"| {metadata['Name']} | {metadata['Version']} | {license_name(metadata)} | {where} |"


def license_name(metadata: Message) -> str:
    """The license's name, from the package's metadata."""
    return str(metadata["License-Expression"] or metadata["License"]).splitlines()[0]


def contents(folder: Path) -> list[tuple[str, Path]]:
    """The files of a folder, by name, with their relative names."""
    return sorted((path.relative_to(folder).as_posix(), path) for path in folder.rglob("*") if path.is_file())


def check(folder: Path) -> None:
    """Checks that the folder works in any Stash.

    Raises:
        BuildError: a compiled file, or a second file that Stash would load as a plugin.
    """
    for name, path in contents(folder):
        if path.suffix in COMPILED:
            raise BuildError(f"{name} is compiled, but the plugin folder must work on every system.")
        if path.suffix == ".yml" and name != f"{NAME}.yml":
            raise BuildError(f"Stash would load {name} as another plugin. Rename it to .yaml.")


def main() -> int:
    """Builds the folder and prints its size; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--wheels", type=Path, default=ROOT / ".build" / "wheels")
    parser.add_argument("--target", type=Path, default=ROOT / "dist" / NAME)
    args = parser.parse_args()
    try:
        build(args.target, args.wheels)
    except BuildError as error:
        print(error, file=sys.stderr)
        return 1
    files = [p for p in args.target.rglob("*") if p.is_file()]
    size = sum(p.stat().st_size for p in files)
    print(f"{args.target}: {len(files)} files, {size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
