"""Makes what a source for Stash's package manager serves: the plugin's zip, the index, checksums, an SBOM.

Everything follows from the commit: the same commit makes the same bytes, so a working tree that differs from it is
refused. What Stash needs was observed; see CONTRIBUTING.md.
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
import uuid
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.parser import BytesParser
from pathlib import Path

import yaml
from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

from tools import build_plugin
from tools.build_plugin import LIST, NAME, ROOT, BuildError, build, contents, license_name, locked_wheels

MANIFEST = f"{NAME}.yml"
VERSION = build_plugin.version()
NAMED = 5  # files that differ from the commit and are named
EARLIEST = (1980, 1, 1, 0, 0, 0)  # of a zip entry; a fixed time keeps the archive reproducible


def check_committed() -> None:
    """Checks that the commit, which the version names, is what would be built.

    Raises:
        BuildError: a file differs, the zip would have one that git doesn't know, or this is no checkout.
    """
    commit, _ = _commit()
    changed = _git("diff", "--name-only", "-z", "HEAD").split("\0")
    # Also those that git ignores: the build takes them.
    unknown = _git("ls-files", "--others", "-z", "--", *build_plugin.CODE).split("\0")
    added = (name for name in unknown if not build_plugin.NOT_SHIPPED("", name.split("/")))
    found = sorted({*changed, *added} - {""})
    if found:
        more = f" and {len(found) - NAMED} more" if len(found) > NAMED else ""
        raise BuildError(
            f"The version would name the commit {commit}, but {ROOT} differs from it: "
            f"{', '.join(found[:NAMED])}{more}. Commit these files, or restore them and move new ones "
            "elsewhere. Then run `make release` again."
        )


def release(dist: Path, wheels: Path, number: str = VERSION, later: timedelta = timedelta()) -> list[Path]:
    """Makes the files of a release of the checked-out commit.

    Args:
        dist: the folder for them; an index that is there is replaced.
        wheels: a folder with the locked wheels, filled by ``make plugin``.
        number: another version than that of pyproject.toml, for a test of updates.
        later: is added to the commit's time, likewise.

    Returns:
        The files.

    Raises:
        BuildError: the plugin can't be built, or this is no checkout.
    """
    commit, at = _commit()
    at += later
    folder = dist / NAME
    build(folder, wheels, number)
    archive = dist / f"{NAME}-{number}.zip"
    pack(folder, archive)
    bill = dist / f"{archive.stem}.cdx.json"
    bill.write_text(sbom(folder, wheels, number, at), encoding="utf-8")
    index = dist / "index.yml"
    index.write_text(entry(folder, archive, f"{number}-{commit}", at), encoding="utf-8")
    sums = dist / "SHA256SUMS"
    made = [archive, bill, index]
    sums.write_text("".join(f"{_sha256(path)}  {path.name}\n" for path in made), encoding="utf-8")
    return [*made, sums]


def entry(folder: Path, archive: Path, number: str, at: datetime) -> str:
    """The index, with its one package. Stash offers an update if the date is later, whatever the version."""
    manifest = yaml.safe_load((folder / MANIFEST).read_text(encoding="utf-8"))
    package = {
        "id": NAME,
        "name": manifest["name"],
        "metadata": {"description": manifest["description"]},
        "version": number,
        "date": at.strftime("%Y-%m-%d %H:%M:%S"),  # UTC; Stash refuses the whole index if it has another form
        "path": archive.name,
        "sha256": _sha256(archive),
        "requires": [],
    }
    return str(yaml.safe_dump([package], sort_keys=False, allow_unicode=True, width=10_000))


def pack(folder: Path, archive: Path) -> None:
    """Zips the folder's content, without a folder around it: Stash would load that one level deeper.

    The list of files comes first, so that a half-written folder is known to be incomplete.
    """
    files = sorted(contents(folder), key=lambda file: (file[0] != LIST, file[0]))
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as out:
        for name, path in files:
            info = zipfile.ZipInfo(name, EARLIEST)
            info.external_attr = 0o644 << 16  # Stash sets these permissions
            info.compress_type = zipfile.ZIP_DEFLATED
            out.writestr(info, path.read_bytes())


def sbom(folder: Path, wheels: Path, number: str, at: datetime) -> str:
    """What the zip contains, as CycloneDX 1.6 in JSON."""
    plugin = Component(
        name="stash-courier",
        version=number,
        type=ComponentType.APPLICATION,
        bom_ref=NAME,
        licenses=[LicenseFactory().make_from_string("MIT")],
    )
    bom = Bom(components=_libraries(folder / "lib", wheels))
    bom.metadata.component = plugin
    bom.metadata.timestamp = at
    bom.serial_number = uuid.uuid5(uuid.NAMESPACE_URL, f"{NAME} {number} {at.isoformat()}")
    bom.register_dependency(plugin, bom.components)
    return JsonV1Dot6(bom).output_as_string(indent=2) + "\n"


def _libraries(lib: Path, wheels: Path) -> Iterator[Component]:
    used = {wheel.name.split("-")[0].lower(): wheel for wheel in locked_wheels(wheels=wheels)}
    for info in sorted(lib.glob("*.dist-info")):
        metadata = BytesParser().parsebytes((info / "METADATA").read_bytes())
        name, version = str(metadata["Name"]), str(metadata["Version"])
        wheel = used[info.name.split("-")[0].lower()]
        yield Component(
            name=name,
            version=version,
            type=ComponentType.LIBRARY,
            bom_ref=f"{name}@{version}",
            purl=PackageURL("pypi", name=name.lower().replace("_", "-"), version=version),
            hashes=[HashType(alg=HashAlgorithm.SHA_256, content=_sha256(wheel))],
            licenses=[LicenseFactory().make_from_string(license_name(metadata))],
        )


def _commit() -> tuple[str, datetime]:
    """The commit's short hash, with the time at which it was made."""
    commit, seconds = _git("log", "-1", "--format=%h %ct", "--abbrev=7").split()
    return commit, datetime.fromtimestamp(int(seconds), UTC)


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BuildError(f"{ROOT} is no git checkout, so the release has no date. {done.stderr.strip()}")
    return done.stdout


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def main() -> int:
    """Makes the release and lists its files; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--wheels", type=Path, default=ROOT / ".build" / "wheels")
    parser.add_argument("--dist", type=Path, default=ROOT / "dist")
    args = parser.parse_args()
    try:
        check_committed()
        made = release(args.dist, args.wheels)
    except BuildError as error:
        print(error, file=sys.stderr)
        return 1
    for path in made:
        print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
