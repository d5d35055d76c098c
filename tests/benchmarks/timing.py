"""How times are taken: contestants in turn, so that a busy moment falls on all of them, and medians."""

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
    contestants: Mapping[str, Callable[[], float]], rounds: int, pause: float = 0.0
) -> dict[str, list[float]]:
    """Lets each take a time ``rounds`` times, one after another in turn, the order turned round every second time.

    Args:
        contestants: by name; each returns the seconds it took.
        rounds: how often.
        pause: seconds between two, in which what the last one set off comes to rest.
    """
    taken: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(rounds):
        names = list(contestants)
        for name in names if number % 2 == 0 else reversed(names):
            taken[name].append(contestants[name]())
            time.sleep(pause)
    return taken


def medians(taken: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """The median of each."""
    return {name: statistics.median(times) for name, times in taken.items()}


def paired(taken: Mapping[str, Sequence[float]], ours: str, peer: str) -> tuple[float, float]:
    """Our median, and the peer's time that stands to it as the median of the rounds' ratios.

    Two times of one round were taken in the same moment of the machine, two medians were not.
    """
    ratio = statistics.median(a / b for a, b in zip(taken[ours], taken[peer], strict=True))
    median = statistics.median(taken[ours])
    return median, median / ratio


def process(command: Sequence[str], stdin: bytes, environment: Mapping[str, str]) -> float:
    """Seconds from before a process's start until it has ended, its standard input waiting in a pipe."""
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
    """Stops where ``python3 -c pass`` would be slowed down by other people's files, which makes us look good."""
    found = list(Path(sysconfig.get_path("purelib")).glob("*.pth"))
    if found:
        raise SystemExit(f"{found[0]} slows each start of this interpreter down: use one without .pth files")


def percentile(times: Sequence[float], share: float) -> float:
    """The time that this share of them doesn't exceed."""
    return sorted(times)[min(len(times) - 1, int(share * len(times)))]
