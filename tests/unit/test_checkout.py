"""The checkout itself: its folders hide no standard module, its locks pin, and nothing generated is in git."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib

import pytest

from tests import ROOT

LOCKS = ("runtime.txt", "test.txt")


def files(*selection: str) -> list[str]:
    """The files that git ls-files lists with these options."""
    if not (ROOT / ".git").exists():
        pytest.skip("this copy of the checkout has no git folder to ask")
    listed = subprocess.run(
        ["git", "ls-files", "-z", *selection], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True
    )
    return [name for name in listed.stdout.split("\0") if name]


def locked(name: str) -> dict[str, str]:
    """Each requirement of a lock: its name and whole entry."""
    text = (ROOT / "requirements" / name).read_text(encoding="utf-8").replace("\\\n", " ")
    entries = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return {canonical(entry): entry for entry in entries}


def canonical(requirement: str) -> str:
    """A requirement's name in the form that registries compare."""
    found = re.match(r"[\w.-]+", requirement)
    assert found, requirement
    return re.sub(r"[-_.]+", "-", found[0]).lower()


def test_standard_queue_stays() -> None:
    """A program started in the checkout imports the standard library's queue, not our folder."""
    subprocess.run([sys.executable, "-c", "import queue; queue.SimpleQueue"], cwd=ROOT, check=True)
    assert not (ROOT / "queue" / "__init__.py").exists()


def test_nothing_built_is_tracked() -> None:
    """No generated file is in git."""
    assert files("--cached", "--ignored", "--exclude-standard") == []


@pytest.mark.parametrize("lock", LOCKS)
def test_locks_pin(lock: str) -> None:
    """Each requirement is locked to one version and to the hashes of its files, without naming a host."""
    for entry in locked(lock).values():
        assert re.fullmatch(r"[\w.-]+==\S+ .*--hash=sha256:[0-9a-f]{64}", entry.rstrip()), entry
        assert "://" not in entry


def test_locks_fit_the_project() -> None:
    """Everything that pyproject.toml requires is locked, and tests run with what the plugin ships."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    runtime, test = (locked(name) for name in LOCKS)
    assert {canonical(name) for name in project["dependencies"]} <= runtime.keys()
    assert {canonical(name) for name in project["optional-dependencies"]["test"]} <= test.keys()
    assert {name: test.get(name) for name in runtime} == runtime
