"""How times are measured: candidates take turns, so that a busy moment affects all of them; medians count."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

BARE = (sys.executable, "-c", "pass")


def alternating(
    candidates: Mapping[str, Callable[[], float]], rounds: int, pause: float = 0.0
) -> dict[str, list[float]]:
    """Runs all candidates ``rounds`` times, in turn, in reverse order every second time.

    Args:
        candidates: by name; each returns the seconds it took.
        rounds: how often each runs.
        pause: seconds between two runs, for background work to finish.
    """
    taken: dict[str, list[float]] = {name: [] for name in candidates}
    for number in range(rounds):
        names = list(candidates)
        for name in names if number % 2 == 0 else reversed(names):
            taken[name].append(candidates[name]())
            time.sleep(pause)
    return taken


def paired(taken: Mapping[str, Sequence[float]], ours: str, peer: str) -> tuple[float, float]:
    """Our median, and the peer's time such that their ratio is the median of the ratios of all rounds.

    The two times of a round are measured close together, so their ratio is more reliable than that of two medians.
    """
    ratio = statistics.median(a / b for a, b in zip(taken[ours], taken[peer], strict=True))
    median = statistics.median(taken[ours])
    return median, median / ratio


def process(command: Sequence[str], stdin: bytes, environment: Mapping[str, str]) -> float:
    """Seconds from before the start of a process until its end; its standard input is already in a pipe."""
    reading, writing = os.pipe()
    try:
        os.write(writing, stdin)
        os.close(writing)
        began = time.perf_counter()
        code = subprocess.Popen(
            command, stdin=reading, stdout=subprocess.DEVNULL, env=environment, close_fds=False
        ).wait()
        seconds = time.perf_counter() - began
    finally:
        os.close(reading)
    if code:
        raise RuntimeError(f"{command} ended with {code}")
    return seconds


def refuse_pth_files() -> None:
    """Exits if .pth files slow down ``python3 -c pass``, which would make our ratios look better."""
    found = list(Path(sysconfig.get_path("purelib")).glob("*.pth"))
    if found:
        raise SystemExit(f"{found[0]} slows down each start of this interpreter. Use one without .pth files.")


def percentile(times: Sequence[float], share: float) -> float:
    """The time that this share of all times doesn't exceed."""
    return sorted(times)[min(len(times) - 1, int(share * len(times)))]
