"""Rows that run ordinary tests through pytest, with larger numbers (COURIER_FULL=1) in the full size."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tests import ROOT
from tests.faults.row import Mutation, Report, Row
from tests.support.kill import can_trace

LONGEST_SECONDS = 3600.0


def run_tests(folder: Path, full: bool, done: str, *tests: str) -> Report:
    report = Report(done)
    log = folder / "pytest.txt"
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-x",
        "-p",
        "no:cacheprovider",
        f"--basetemp={folder / 'tmp'}",
        *tests,
    ]
    environment = {**os.environ, **({"COURIER_FULL": "1"} if full else {})}
    with log.open("wb") as out:
        ran = subprocess.run(
            command, cwd=ROOT, env=environment, stdout=out, stderr=out, check=False, timeout=LONGEST_SECONDS
        )
    text = log.read_text(encoding="utf-8", errors="replace")
    passed = re.search(r"(\d+) passed", text)
    report.done = f"{done}: {passed[1] if passed else 0} tests passed"
    report.expect(bool(passed) or ran.returncode == 1, f"no test ran: {text[-2000:]}")
    errors = [line for line in text.splitlines() if line.startswith(("FAILED", "ERROR", "E   "))]
    report.expect(ran.returncode == 0, "; ".join(errors[:8]) or text[-2000:])
    return report


def run_syscalls(folder: Path, full: bool) -> Report:
    """SIGKILL at every durable system call of put, route, claim, done, retry, bury, redrive and heal."""
    calls = "every durable system call" if full else "some durable system calls"
    return run_tests(
        folder,
        full,
        f"SIGKILL at {calls} of each operation",
        "tests/integration/test_kills.py",
    )


def run_model(folder: Path, full: bool) -> Report:
    """Compares the queue with a model of it over random steps."""
    size = "1000 × 50" if full else "12 × 30"
    return run_tests(
        folder,
        full,
        f"{size} random steps with crashes and clock jumps, compared with a model",
        "tests/unit/test_queue_model.py",
    )


def _no_strace() -> str:
    return "" if can_trace() else "strace is missing or not allowed to trace (apt-get install strace)"


ROWS = [
    Row(
        "syscalls",
        run_syscalls,
        [
            [  # the delivery is removed before its dead letter exists
                Mutation(
                    "queue/transfer.py",
                    "    dead_letter = dlq.add(job, error, _retries(job), title=title, "
                    "path=path or _known_path(queue, job))\n",
                    "",
                ),
                Mutation(
                    "queue/transfer.py",
                    "    return dead_letter\n\n\ndef bury_waiting",
                    "    return dlq.add(job, error, 0, title=title)\n\n\ndef bury_waiting",
                ),
            ]
        ],
        missing=_no_strace,
        own_test=True,
    ),
    Row(
        "model",
        run_model,
        [
            [
                Mutation(
                    "queue/deliveries/statements.py",
                    "WHERE _id = ? AND status = 2 AND seq = taken",
                    "WHERE _id = ? AND status = 2",
                )
            ]
        ],
        own_test=True,
    ),
]
