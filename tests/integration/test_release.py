"""What ``make release`` builds, as Stash's package manager reads it."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import ROOT
from tools import release

WHEELS = ROOT / ".build" / "wheels"


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of a release."""
    if not any(WHEELS.glob("*.whl")):
        pytest.skip(f"the plugin's libraries are not in {WHEELS}; `make test` downloads them")
    made = tmp_path_factory.mktemp("release")
    release.release(made, WHEELS)  # not the command, which refuses while somebody works on the checkout
    return made


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """Another checkout, in which these files are committed."""
    made = tmp_path / "clone"
    for name in git(ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0"):
        if name and (ROOT / name).is_file():
            (made / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, made / name)
    git(made, "init", "--quiet")
    git(made, "add", "--all")
    git(made, "-c", "user.name=A", "-c", "user.email=a@localhost", "commit", "--quiet", "--message", "All")
    return made


def git(folder: Path, *arguments: str) -> str:
    """What git says in a folder."""
    return subprocess.run(["git", *arguments], cwd=folder, check=True, stdout=subprocess.PIPE, text=True).stdout


def command(checkout: Path, dist: Path) -> str:
    """What ``make release`` says on stderr in a checkout; "" if it has made the release."""
    line = [sys.executable, "-m", "tools.release", "--wheels", str(WHEELS), "--dist", str(dist)]
    done = subprocess.run(line, cwd=checkout, check=False, capture_output=True, text=True)
    assert (done.returncode == 0) == (dist / "index.yml").is_file() == (not done.stderr)
    return done.stderr


def package(dist: Path) -> dict[str, Any]:
    """The index's only package."""
    (found,) = yaml.safe_load((dist / "index.yml").read_text("utf-8"))
    return dict(found)


def archive(dist: Path) -> Path:
    """The package's zip."""
    return dist / str(package(dist)["path"])


def test_the_index_is_as_stash_reads_it(dist: Path) -> None:
    """Stash refuses the whole index for a date of another form, and a package whose checksum is another."""
    found = package(dist)
    assert (found["id"], found["name"], found["requires"]) == ("stash_courier", "Stash Courier", [])
    assert isinstance(found["date"], str)  # in quotes: otherwise it is a date, and Stash wants text
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", found["date"])
    assert re.fullmatch(r"\d+\.\d+\.\d+-[0-9a-f]{7,}", found["version"])
    assert found["path"] == f"stash_courier-{found['version'].partition('-')[0]}.zip"
    assert found["sha256"] == hashlib.sha256(archive(dist).read_bytes()).hexdigest()
    description = found["metadata"]["description"]
    assert description.startswith("To set it up, reload the page and open Stash Courier in the top bar.")
    assert "\n" not in description
    assert ": " not in description


def test_the_zip_is_flat_and_readable_by_everyone(dist: Path) -> None:
    """Stash unpacks into a folder of its own and takes over the permissions. The list of files comes first."""
    with zipfile.ZipFile(archive(dist)) as packed:
        names = packed.namelist()
        assert {entry.external_attr >> 16 for entry in packed.infolist()} == {0o644}
        listed = json.loads(packed.read("files.json"))
    assert names[0] == "files.json"
    assert [name for name in names if name.endswith(".yml")] == ["stash_courier.yml"]
    assert set(listed["files"]) == set(names) - {"files.json"}
    assert listed["id"] == "stash_courier"


def test_one_version_everywhere(dist: Path) -> None:
    """The version of pyproject.toml is in the manifest, the code, and the address of the page's files."""
    version = package(dist)["version"].partition("-")[0]
    with zipfile.ZipFile(archive(dist)) as packed:
        manifest = yaml.safe_load(packed.read("stash_courier.yml"))
        assert manifest["version"] == version
        assert f"/{version}" in manifest["ui"]["assets"]
        for name in ("worker/__init__.py", "plugin/ui/courier.js"):
            assert f'VERSION = "{version}"' in packed.read(name).decode()


def test_the_checksums_are_right(dist: Path) -> None:
    """Every file of the release can be checked with sha256sum."""
    subprocess.run(
        ["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=dist, check=True, stdout=subprocess.PIPE
    )
    named = {line.split()[1] for line in (dist / "SHA256SUMS").read_text().splitlines()}
    assert named == {path.name for path in dist.iterdir() if path.is_file()} - {"SHA256SUMS"}


def test_the_sbom_names_every_library(dist: Path) -> None:
    """The SBOM has each library in the zip, with its version, license and checksum."""
    (file,) = dist.glob("*.cdx.json")
    bill = json.loads(file.read_text("utf-8"))
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    with zipfile.ZipFile(archive(dist)) as packed:
        infos = {name.split("/")[1] for name in packed.namelist() if ".dist-info/" in name}
    found = {f"{one['name']}-{one['version']}.dist-info" for one in bill["components"]}
    assert {name.lower().replace("-", "_") for name in found} == {name.lower().replace("-", "_") for name in infos}
    assert all(one["licenses"] and one["hashes"] and one["purl"] for one in bill["components"])


def test_the_same_commit_makes_the_same_bytes(dist: Path, tmp_path: Path) -> None:
    """A second build is equal, byte for byte."""
    again = tmp_path
    release.release(again, WHEELS)
    for path in (path for path in dist.iterdir() if path.is_file()):
        assert path.read_bytes() == (again / path.name).read_bytes(), path.name


@pytest.mark.usefixtures("dist")  # skips without the libraries
def test_a_clean_checkout_makes_a_release(clone: Path, tmp_path: Path) -> None:
    """What git ignores or the zip leaves out is no reason to refuse: caches, the output, notes beside the code."""
    for name in ("dist/old.zip", "worker/__pycache__/x.pyc", "plugin/.DS_Store", "notes.txt"):
        (clone / name).parent.mkdir(exist_ok=True)
        (clone / name).write_text("x")
    assert command(clone, tmp_path / "dist") == ""
    commit = git(clone, "log", "-1", "--format=%h", "--abbrev=7").strip()
    assert package(tmp_path / "dist")["version"] == f"{release.VERSION}-{commit}"


@pytest.mark.usefixtures("dist")
def test_what_is_not_committed_makes_no_release(clone: Path, tmp_path: Path) -> None:
    """The version names the commit, so a tree that differs is refused, and nothing is written."""
    git(clone, "rm", "--quiet", "worker/filters.py")
    with (clone / "LICENSE").open("a") as text:
        text.write("More.\n")
    (clone / "worker" / "new.py").write_text("")
    (clone / "plugin" / "dist").mkdir()
    (clone / "plugin" / "dist" / "ignored.py").write_text("")  # .gitignore names it, and the build would take it
    said = command(clone, tmp_path / "dist")
    assert "LICENSE, plugin/dist/ignored.py, worker/filters.py, worker/new.py. Commit these files" in said
    assert not (tmp_path / "dist").exists()
