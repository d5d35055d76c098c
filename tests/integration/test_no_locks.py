"""A data folder without file locks, which strace imitates: no event is lost, and the owner is told."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import subprocess
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from stash_courier.queue.inbox import files, locks
from tests.support.durable import HOOK, change, environment, failed, log_lines, request, spooled
from tests.support.kill import needs_strace

SENTENCE = "File locks don't work in the data folder {} (No locks available). Set STASH_COURIER_DATA to a"


def run(data: Path, stdin: bytes, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    """Runs the plugin, whose every flock() fails with ENOLCK."""
    strace = ["strace", "-f", "-o", os.devnull, "-e", "trace=flock", "-e", "inject=flock:error=ENOLCK"]
    env = environment(data, STASH_COURIER_WORKER="")
    return subprocess.run(
        [*strace, *HOOK, *arguments], input=stdin, capture_output=True, env=env, check=False, timeout=60
    )


def press(mode: str) -> bytes:
    """The stdin of a button or page load."""
    given: dict[str, Any] = request(None)
    return json.dumps({**given, "args": {"mode": mode, "log": "yes"}}).encode()


@needs_strace
def test_hooks_spool(tmp_path: Path) -> None:
    """A hook keeps its event in the spool folder, and says nothing in a log that a bulk edit would flood."""
    ran = run(tmp_path, change(1))
    assert (ran.returncode, json.loads(ran.stdout), ran.stderr) == (0, {"output": "queued"}, b"")
    assert [event["scene"] for event in spooled(tmp_path)] == [1]
    assert not (tmp_path / files.WORKER_LOG).exists()


@needs_strace
@pytest.mark.parametrize("mode", ["status", "restart_worker"])
def test_buttons_say_so(tmp_path: Path, mode: str) -> None:
    """Every button fails with the sentence, instead of taking the error for a worker that runs."""
    ran = run(tmp_path, press(mode))
    assert failed(ran.returncode, ran.stdout, ran.stderr).startswith(SENTENCE.format(tmp_path))


@needs_strace
def test_page_loads_say_so_once(tmp_path: Path) -> None:
    """The first of two page loads writes the sentence to Stash's log."""
    first, second = (run(tmp_path, press("wake")) for _ in range(2))
    ((level, text),) = log_lines(first.stderr)
    assert level == "w"
    assert text.startswith(SENTENCE.format(tmp_path))
    assert json.loads(second.stdout) == {"output": "off"}
    assert second.stderr == b""


@needs_strace
def test_a_worker_by_hand_says_so(tmp_path: Path) -> None:
    """A worker that a person or systemd starts ends with the sentence and exit code 1."""
    ran = run(tmp_path, b"", "worker")
    assert ran.returncode == 1
    assert ran.stderr.decode().startswith(SENTENCE.format(tmp_path))


@pytest.mark.parametrize("code", [errno.EAGAIN, errno.EACCES])
def test_a_lock_that_another_holds_is_no_error(tmp_path: Path, code: int) -> None:
    """These errors mean that another has the lock."""
    with mock.patch.object(fcntl, "flock", side_effect=OSError(code, "held")):
        assert locks.taken(str(tmp_path / "lock")) is None


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EIO])
def test_other_errors_are_raised(tmp_path: Path, code: int) -> None:
    """All others are raised, with nothing left open."""
    closed: list[int] = []
    failing = mock.patch.object(fcntl, "flock", side_effect=OSError(code, os.strerror(code)))
    with failing, mock.patch.object(os, "close", side_effect=closed.append):
        with pytest.raises(locks.LocksUnavailable, match="on a local disk") as caught:
            locks.taken(str(tmp_path / "lock"), shared=True)
        assert caught.value.errno == code
    assert len(closed) == 1
    os.close(closed[0])
