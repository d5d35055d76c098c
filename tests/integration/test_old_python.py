"""Stash's Python or SQLite is too old for the worker: nothing is lost, and the owner is told what is needed."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from stash_courier.plugin import hook
from stash_courier.queue.inbox import files
from stash_courier.worker import process, requirements
from tests import ROOT
from tests.integration.test_hook import OURS
from tests.support.durable import change, environment, failed, inbox, log_lines, request

OLD = (3, 9)  # Debian 11 has it, with SQLite 3.34
RARELY = ("plugin.log", "plugin.vendored", "plugin.main", "queue.inbox.spool", "worker.requirements")


def old_python() -> str | None:
    """A Python 3.9 on this machine: beside ours, as version managers install them, or on the path."""
    beside = sorted(Path(sys.base_prefix).parent.glob("3.9.*/bin/python3.9"))
    for candidate in (*map(str, reversed(beside)), shutil.which("python3.9")):
        if candidate and subprocess.run([candidate, "-c", ""], capture_output=True, check=False).returncode == 0:
            return candidate  # a version manager's stub on the path may refuse to run
    return None


needs_old_python = pytest.mark.skipif(old_python() is None, reason="there is no python3.9 on this machine")


def run(data: Path, stdin: bytes, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    """Runs the plugin with Python 3.9; it may start a worker."""
    command = [str(old_python()), "-S", "-E", str(ROOT / "plugin" / "main.py"), *arguments]
    env = environment(data, STASH_COURIER_WORKER="")
    return subprocess.run(command, input=stdin, capture_output=True, env=env, check=False, timeout=60)


def press(mode: str) -> bytes:
    """The stdin of a button or page load."""
    given: dict[str, Any] = request(None)
    return json.dumps({**given, "args": {"mode": mode}}).encode()


@pytest.mark.parametrize("name", sorted({name.removeprefix("stash_courier.") for name in OURS} | {*RARELY}))
def test_hooks_path_is_written_for_an_old_python(name: str) -> None:
    """Every module that a hook may import can be compiled by Python 3.9."""
    path = ROOT / Path(*name.split("."))
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    if path.name != "queue":  # which has no __init__.py
        ast.parse(file.read_text(), feature_version=OLD)


@needs_old_python
def test_hooks_keep_events(tmp_path: Path) -> None:
    """On Python 3.9 a hook queues its event, says nothing, and starts no worker that would die."""
    for scene_id in (1, 2):
        ran = run(tmp_path, change(scene_id))
        assert (ran.returncode, json.loads(ran.stdout), ran.stderr) == (0, {"output": "queued"}, b"")
    assert [row["scene"] for row in inbox(tmp_path)] == [1, 2]
    assert not (tmp_path / files.WORKER_LOG).exists()


@needs_old_python
@pytest.mark.parametrize("mode", ["status"])
def test_buttons_say_what_is_needed(tmp_path: Path, mode: str) -> None:
    """Every button fails with one sentence that names the versions found and needed."""
    ran = run(tmp_path, press(mode))
    sentence = failed(ran.returncode, ran.stdout, ran.stderr)
    assert sentence.startswith("Python 3.9.")
    assert "Python 3.11 or newer with SQLite 3.35 or newer is needed" in sentence


@needs_old_python
def test_page_loads_say_it_once_an_hour(tmp_path: Path) -> None:
    """Of many page loads the first writes the sentence to Stash's log, and one an hour later again."""
    lines = []
    for age in (0, 0, 3601):
        if (told := tmp_path / files.TOLD).exists():
            os.utime(told, (time.time() - age,) * 2)
        ran = run(tmp_path, press("wake"))
        assert (ran.returncode, json.loads(ran.stdout)) == (0, {"output": "off"})
        lines.append([(level, "is needed" in text) for level, text in log_lines(ran.stderr)])
    assert lines == [[("w", True)], [], [("w", True)]]


@needs_old_python
def test_a_worker_by_hand_says_what_is_needed(tmp_path: Path) -> None:
    """A worker that a person or systemd starts with Python 3.9 ends with the sentence and exit code 1."""
    ran = run(tmp_path, b"", "worker")
    assert ran.returncode == 1
    assert ran.stderr.startswith(b"Python 3.9.")
    assert ran.stderr.count(b"\n") == 1


def test_an_old_sqlite_is_named(tmp_path: Path) -> None:
    """A new Python with an old SQLite is refused as well, by the process that would start the worker."""
    import _sqlite3  # noqa: PLC0415

    with (
        mock.patch.object(_sqlite3, "sqlite_version", "3.34.1"),
        mock.patch.dict(os.environ, STASH_COURIER_DATA=str(tmp_path), STASH_COURIER_WORKER=""),
    ):
        assert "with SQLite 3.34.1 was found" in (requirements.unmet() or "")
        with pytest.raises(process.NoWorkerHere, match="SQLite 3\\.35 or newer is needed"):
            process.start(str(tmp_path), str(ROOT))
        assert not process.running(str(tmp_path))
        assert hook.main(change(1), str(ROOT)) == 0
    assert len(inbox(tmp_path)) == 1
    assert requirements.unmet() is None
