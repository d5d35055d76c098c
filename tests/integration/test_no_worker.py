"""Where no worker can run, no event is lost, and buttons, page loads and a worker by hand say why.

The reasons: Stash's Python or SQLite is too old, or the data folder has no file locks, which strace imitates.
"""

from __future__ import annotations

import ast
import errno
import fcntl
import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from stash_courier.plugin import hook
from stash_courier.queue.inbox import files, locks
from stash_courier.worker import process, requirements
from tests import ROOT
from tests.integration.test_hook import OURS
from tests.support.durable import HOOK, change, environment, failed, inbox, log_lines, request, spooled
from tests.support.kill import needs_strace

OLD = (3, 9)  # Debian 11 has it, with SQLite 3.34
RARELY = ("plugin.log", "plugin.vendored", "plugin.main", "queue.inbox.spool", "worker.requirements")
NO_FLOCK = ["strace", "-f", "-o", os.devnull, "-e", "trace=flock", "-e", "inject=flock:error=ENOLCK"]


def old_python() -> str:
    """A Python 3.9 on this machine, beside ours, as version managers install them, or on the path; "" if none."""
    beside = sorted(Path(sys.base_prefix).parent.glob("3.9.*/bin/python3.9"))
    for candidate in (*map(str, reversed(beside)), shutil.which("python3.9")):
        if candidate and subprocess.run([candidate, "-c", ""], capture_output=True, check=False).returncode == 0:
            return candidate  # a version manager's stub on the path may refuse to run
    return ""


@dataclass(frozen=True)
class Reason:
    """Why no worker can run: the command that runs the plugin, and what the sentence says."""

    command: list[str]
    sentence: str  # {} is the data folder

    def run(self, data: Path, stdin: bytes, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        """Runs the plugin, which may start a worker."""
        command, env = [*self.command, *arguments], environment(data, STASH_COURIER_WORKER="")
        return subprocess.run(command, input=stdin, capture_output=True, env=env, check=False, timeout=60)


OLD_PYTHON = Reason([old_python(), *HOOK[1:]], "Python 3.9.")
NO_LOCKS = Reason([*NO_FLOCK, *HOOK], "File locks don't work in the data folder {} (No locks available). Set")
needs_old_python = pytest.mark.skipif(not old_python(), reason="there is no python3.9 on this machine")
each_reason = pytest.mark.parametrize(
    "reason",
    [
        pytest.param(OLD_PYTHON, marks=needs_old_python, id="old Python"),
        pytest.param(NO_LOCKS, marks=needs_strace, id="no locks"),
    ],
)


def press(mode: str) -> bytes:
    """The stdin of a button or page load."""
    given: dict[str, Any] = request(None)
    return json.dumps({**given, "args": {"mode": mode, "log": "yes"}}).encode()


@each_reason
def test_hooks_keep_events(tmp_path: Path, reason: Reason) -> None:
    """A hook keeps its event, says nothing that a bulk edit would repeat, and starts no worker that would die."""
    ran = reason.run(tmp_path, change(1))
    assert (ran.returncode, json.loads(ran.stdout), ran.stderr) == (0, {"output": "queued"}, b"")
    assert [event["scene"] for event in [*inbox(tmp_path), *spooled(tmp_path)]] == [1]
    assert not (tmp_path / files.WORKER_LOG).exists()


@each_reason
def test_buttons_say_why(tmp_path: Path, reason: Reason) -> None:
    """A button fails with one sentence."""
    ran = reason.run(tmp_path, press("status"))
    assert failed(ran.returncode, ran.stdout, ran.stderr).startswith(reason.sentence.format(tmp_path))


@each_reason
def test_page_loads_say_it_once_an_hour(tmp_path: Path, reason: Reason) -> None:
    """Of many page loads the first writes the sentence to Stash's log, and one an hour later again."""
    lines = []
    for age in (0, 0, 3601):
        if (told := tmp_path / files.TOLD).exists():
            os.utime(told, (time.time() - age,) * 2)
        ran = reason.run(tmp_path, press("wake"))
        assert (ran.returncode, json.loads(ran.stdout)) == (0, {"output": "off"})
        said = reason.sentence.format(tmp_path)
        lines.append([(level, text.startswith(said)) for level, text in log_lines(ran.stderr)])
    assert lines == [[("w", True)], [], [("w", True)]]


@each_reason
def test_a_worker_by_hand_says_why(tmp_path: Path, reason: Reason) -> None:
    """A worker that a person or systemd starts ends with the sentence and exit code 1."""
    ran = reason.run(tmp_path, b"", "worker")
    assert (ran.returncode, ran.stderr.count(b"\n")) == (1, 1)
    assert ran.stderr.decode().startswith(reason.sentence.format(tmp_path))


@pytest.mark.parametrize("name", sorted({name.removeprefix("stash_courier.") for name in OURS} | {*RARELY}))
def test_hooks_path_is_written_for_an_old_python(name: str) -> None:
    """Every module that a hook may import can be compiled by Python 3.9."""
    path = ROOT / Path(*name.split("."))
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    if path.name != "queue":  # which has no __init__.py
        ast.parse(file.read_text(), feature_version=OLD)


def test_an_old_sqlite_is_named(tmp_path: Path) -> None:
    """A new Python with an old SQLite is refused as well, by the process that would start the worker."""
    import _sqlite3  # noqa: PLC0415

    with (
        mock.patch.object(_sqlite3, "sqlite_version", "3.34.1"),
        mock.patch.dict(os.environ, STASH_COURIER_DATA=str(tmp_path), STASH_COURIER_WORKER=""),
    ):
        with pytest.raises(process.NoWorkerHere, match=r"SQLite 3\.34\.1 was found.*SQLite 3\.35 or newer"):
            process.start(str(tmp_path), str(ROOT))
        assert not process.running(str(tmp_path))
        assert hook.main(change(1), str(ROOT)) == 0
    assert len(inbox(tmp_path)) == 1
    assert requirements.unmet() is None


@pytest.mark.parametrize(("code", "held"), [(errno.EAGAIN, True), (errno.EACCES, True), (errno.ENOLCK, False)])
def test_a_lock_that_another_holds_is_no_error(tmp_path: Path, code: int, held: bool) -> None:
    """These errors mean that another has the lock. All others are raised, with nothing left open."""
    closed: list[int] = []
    failing = mock.patch.object(fcntl, "flock", side_effect=OSError(code, os.strerror(code)))
    with failing, mock.patch.object(os, "close", side_effect=closed.append):
        if held:
            assert locks.taken(str(tmp_path / "lock")) is None
        else:
            with pytest.raises(locks.LocksUnavailable, match="on a local disk"):
                locks.taken(str(tmp_path / "lock"), shared=True)
    assert len(closed) == 1
    os.close(closed[0])
