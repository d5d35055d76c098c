"""Runs a program again and again and kills each run at another of its durable system calls.

strace counts the calls of a first run without kills, and then sends SIGKILL just before a chosen call.
COURIER_FULL=1 tries every call; otherwise a few that are spread evenly.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests import ROOT

DURABLE = (
    "fdatasync,fsync,pwrite64,write,rename,renameat,renameat2,unlink,unlinkat,ftruncate,mkdir,mkdirat,link,linkat"
)
FULL = bool(os.environ.get("COURIER_FULL"))
POINTS = 8  # kills of one program, unless FULL
CALL = re.compile(r"^(?:\[pid +\d+\] |\d+ +)?(\w+)\((?:(\d+)[,<)])?")


@dataclass(frozen=True)
class Kill:
    """One run that was killed."""

    call: str  # the system call that was not made
    number: int  # which one of its name
    folder: Path  # what it left


def can_trace() -> bool:
    """Whether strace is installed and may trace, which containers often don't allow."""
    if sys.platform != "linux" or shutil.which("strace") is None:
        return False
    tried = subprocess.run(["strace", "-f", "-o", os.devnull, "true"], capture_output=True, check=False)
    return tried.returncode == 0


needs_strace = pytest.mark.skipif(not can_trace(), reason="strace is missing or may not trace here")


def doing(act: str) -> Callable[[Path], list[str]]:
    """The command that runs one of the acts of tests/support/transfers.py on a folder."""
    return lambda folder: [sys.executable, "-m", "tests.support.transfers", act, str(folder)]


def calls(command: Sequence[str], trace: Path, stdin: bytes, env: dict[str, str]) -> list[tuple[str, int]]:
    """The durable calls of a run without kills, each with its number among the calls of its name."""
    strace = ["strace", "-f", "-o", str(trace), "-e", f"trace={DURABLE}", "-e", "signal=none"]
    subprocess.run([*strace, *command], input=stdin, env=env, check=True, capture_output=True, timeout=60)
    seen: Counter[str] = Counter()
    found = []
    for line in trace.read_text(errors="replace").splitlines():
        match = CALL.match(line)
        if match is None or "resumed>" in line:
            continue
        name, fd = match[1], match[2]
        seen[name] += 1
        if not (name == "write" and fd in {"1", "2"}):
            found.append((name, seen[name]))
    return found


def sweep(
    template: Path,
    work: Path,
    command: Callable[[Path], Sequence[str]],
    *,
    stdin: bytes = b"",
) -> Iterator[Kill]:
    """Runs a command on copies of a folder, and kills each run at another durable call.

    Args:
        template: the data folder before the command.
        work: where the copies are made.
        command: what to run, given a copy.
        stdin: what it reads.
    """
    environment = {
        **os.environ,
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": str(ROOT),
        "STASH_COURIER_WORKER": "off",
    }

    def copied(name: str) -> tuple[Path, dict[str, str]]:
        folder = work / name
        shutil.copytree(template, folder)
        return folder, {**environment, "STASH_COURIER_DATA": str(folder)}

    whole, its_env = copied("whole")
    points = calls(command(whole), work / "trace", stdin, its_env)
    assert points, "the program makes no durable call"
    if not FULL and len(points) > POINTS:
        points = [points[round(n * (len(points) - 1) / (POINTS - 1))] for n in range(POINTS)]
    killed = 0
    for call, number in points:
        folder, its_env = copied(f"{call}-{number}")
        inject = f"inject={call}:signal=SIGKILL:when={number}"
        strace = ["strace", "-f", "-o", os.devnull, "-e", f"trace={call}", "-e", inject]
        ran = subprocess.run(
            [*strace, *command(folder)], input=stdin, env=its_env, check=False, capture_output=True, timeout=60
        )
        if ran.returncode != 0:  # else this run made fewer calls than the first one
            killed += 1
            yield Kill(call, number, folder)
    assert killed > len(points) / 2
