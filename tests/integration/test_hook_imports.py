"""What a hook imports. Every import costs every user at every edit, so the list is explicit."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support.durable import HOOK, change, environment, inbox

# Modules of ours that a hook needs. Before adding one, look at what it imports in turn.
OURS = {
    "stash_courier.plugin",
    "stash_courier.plugin.errors",
    "stash_courier.plugin.hook",
    "stash_courier.queue",
    "stash_courier.queue.inbox",
    "stash_courier.queue.inbox.events",
    "stash_courier.queue.inbox.files",
    "stash_courier.queue.inbox.lean_json",
    "stash_courier.queue.inbox.lean_sqlite",
    "stash_courier.queue.inbox.locks",
    "stash_courier.queue.inbox.schema",
    "stash_courier.queue.inbox.store",
    "stash_courier.worker",
    "stash_courier.worker.process",
}
# Standard modules beyond those that the bare interpreter and os load. All are tiny, or C alone.
STANDARD = {"__future__", "_json", "_sqlite3", "errno", "fcntl", "stat"}
# Modules that each cost a hook a millisecond or more, whoever imports them.
EXPENSIVE = {
    "asyncio",
    "collections",
    "dataclasses",
    "datetime",
    "enum",
    "functools",
    "inspect",
    "json",
    "logging",
    "pathlib",
    "re",
    "sqlite3",
    "subprocess",
    "typing",
}


def imports(stderr: bytes) -> set[str]:
    """The modules that Python reports with ``-X importtime``."""
    return {
        line.rpartition("|")[2].strip() for line in stderr.decode().splitlines() if line.startswith("import time:")
    }


def imports_of_a_hook(data: Path, scene_id: int) -> set[str]:
    """The modules that a real hook process imports."""
    command = [HOOK[0], "-X", "importtime", *HOOK[1:]]
    ran = subprocess.run(
        command, input=change(scene_id), capture_output=True, env=environment(data), check=True, timeout=60
    )
    return imports(ran.stderr)


def imports_of(statement: str) -> set[str]:
    """The modules that a bare interpreter imports to run a statement."""
    command = [sys.executable, "-S", "-E", "-X", "importtime", "-c", statement]
    return imports(subprocess.run(command, capture_output=True, check=True).stderr)


def test_a_hook_imports_only_what_is_listed(tmp_path: Path) -> None:
    """The first hook and every later one import the listed modules and no other."""
    needed = imports_of("import os")
    for scene_id in (1, 2):
        found = imports_of_a_hook(tmp_path, scene_id)
        ours = {name for name in found if name.startswith("stash_courier.")}
        assert ours == OURS
        assert found - needed - ours - STANDARD == set()
        assert found & EXPENSIVE == set()
    assert [row["scene"] for row in inbox(tmp_path)] == [1, 2]


def test_an_expensive_import_would_be_seen() -> None:
    """The report that this test relies on names modules that are imported indirectly."""
    assert {"json", "re"} <= imports_of("import json")
