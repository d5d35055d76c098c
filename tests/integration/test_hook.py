"""The hook as Stash starts it: a process that reads JSON from stdin. What it answers, keeps and imports."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.support.durable import HOOK, change, environment, inbox, run_hook, spooled, start_hook

# Modules of ours that a hook needs. Before adding one, look at what it imports in turn.
OURS = {
    "stash_courier.plugin",
    "stash_courier.plugin.errors",
    "stash_courier.plugin.hook",
    "stash_courier.queue",
    "stash_courier.queue.inbox",
    "stash_courier.queue.inbox.events",
    "stash_courier.queue.inbox.files",
    "stash_courier.queue.inbox.lean",
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


def imports_of(statement: str) -> set[str]:
    """The modules that a bare interpreter imports to run a statement."""
    command = [sys.executable, "-S", "-E", "-X", "importtime", "-c", statement]
    return imports(subprocess.run(command, capture_output=True, check=True).stderr)


def test_a_hook_imports_only_what_is_listed(tmp_path: Path) -> None:
    """The first hook and every later one import the listed modules and no other."""
    needed = imports_of("import os")
    command = [HOOK[0], "-X", "importtime", *HOOK[1:]]
    for scene_id in (1, 2):
        ran = subprocess.run(
            command, input=change(scene_id), capture_output=True, env=environment(tmp_path), check=True, timeout=60
        )
        found = imports(ran.stderr)
        ours = {name for name in found if name.startswith("stash_courier.")}
        assert ours == OURS
        assert found - needed - ours - STANDARD == set()
        assert found & EXPENSIVE == set()
    assert [row["scene"] for row in inbox(tmp_path)] == [1, 2]


def test_a_hook_answers_and_is_silent(tmp_path: Path) -> None:
    """Stash gets one JSON object and no line in its log, and the event is in the inbox."""
    ran = run_hook(tmp_path, change(45, title="A"))
    assert (ran.returncode, json.loads(ran.stdout), ran.stderr) == (0, {"output": "queued"}, b"")
    assert [(row["scene"], row["changed"]) for row in inbox(tmp_path)] == [(45, ["title"])]


def test_six_hooks_at_once_in_a_missing_folder(tmp_path: Path) -> None:
    """Six first changes at once, in a folder that doesn't exist yet, are all kept."""
    for attempt in range(4):
        data = tmp_path / f"config {attempt}" / "stash_courier"
        hooks = [start_hook(data, change(scene)) for scene in range(1, 7)]
        ends = [hook.communicate(timeout=60) for hook in hooks]
        assert [(hook.returncode, *end) for hook, end in zip(hooks, ends, strict=True)] == [
            (0, b'{"output": "queued"}', b"")
        ] * 6
        kept = [*inbox(data), *spooled(data)]
        assert sorted(row["scene"] for row in kept) == [1, 2, 3, 4, 5, 6]
