"""A data folder whose path is too long for SQLite: changes are kept, and everything says why they wait."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from stash_courier.queue.inbox import files, store
from tests import ROOT
from tests.support.durable import change, environment, inbox, run_hook, spooled
from tests.support.press import press, refusal, report

pytestmark = pytest.mark.skipif(os.name == "nt", reason="SQLite has another limit on Windows")


def deep(tmp_path: Path, length: int) -> Path:
    """A folder whose queue.db has a path of that many bytes."""
    folder = tmp_path
    while (missing := length - len(f"{folder}/{files.QUEUE_DB}")) > 0:
        folder = folder / ("d" * min(100, missing - 1))
    folder.mkdir(parents=True)
    return folder


def test_a_path_beyond_the_limit_is_named(tmp_path: Path) -> None:
    """The hook keeps the change, and the worker's log, "Show status" and other buttons name the path."""
    folder = deep(tmp_path, store.LONGEST_PATH + 1)
    assert run_hook(folder, change(7)).returncode == 0
    assert [row["scene"] for row in spooled(folder)] == [7]
    worker = [sys.executable, str(ROOT / "plugin" / "main.py"), "worker"]
    ran = subprocess.run(worker, env=environment(folder), capture_output=True, check=False, timeout=30)
    assert ran.returncode == 1
    reason = f"its path has {store.LONGEST_PATH + 1} bytes"
    assert reason in (folder / files.WORKER_LOG).read_text()
    answer = press(folder, "status")
    assert reason in answer["queue"]
    assert answer["queue"] in report(folder, "status")
    assert answer["spool"] == 1
    assert "ts path has" in refusal(folder, "pause")


def test_the_longest_path_works(tmp_path: Path) -> None:
    """Up to the limit a new queue.db can be made."""
    folder = deep(tmp_path, store.LONGEST_PATH)
    assert run_hook(folder, change(7)).returncode == 0
    assert [row["scene"] for row in inbox(folder)] == [7]
