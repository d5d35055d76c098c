"""``make bench``: runs the rows, prints the table, saves it in .build/bench and draws docs/bench.svg.

``python -m tests.benchmarks [row …] [--quick]`` exits with 1 if a target is missed. ``--quick`` uses small sizes,
to check that everything runs; its figures mean nothing, and it doesn't draw the plot.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sqlite3
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tests import ROOT
from tests.benchmarks import dead_letters, delivery, hooks, plot, queues, sending, sweeping, timing
from tests.benchmarks.table import KEYS, Figure, as_json, markdown
from tests.benchmarks.workspace import FULL, QUICK, Workspace

OUT = ROOT / ".build" / "bench"
PLOT = ROOT / "docs" / "bench.svg"

ROWS: dict[str, Callable[[Workspace], list[Figure]]] = {
    "hook": hooks.hook,
    "bulk": hooks.bulk,
    "backlog": hooks.backlog,
    "enqueue": queues.enqueue,
    "claim": queues.claim,
    "peers": queues.peers,
    "latency": hooks.latency,
    "drain": delivery.drain,
    "requests": delivery.requests,
    "webhook": sending.webhook,
    "jellyfin": sending.jellyfin,
    "idle": delivery.idle,
    "bury": dead_letters.bury,
    "recent": dead_letters.recent,
    "grouped": dead_letters.grouped,
    "purge": dead_letters.purge,
    "sweep": sweeping.sweep,
}


def main(arguments: Sequence[str]) -> int:
    """Runs the chosen rows; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="row", help=f"one of {', '.join(KEYS)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="small sizes, to check that everything runs")
    parser.add_argument("--out", type=Path, default=OUT, help="folder for the results")
    asked = parser.parse_args(arguments)
    unknown = set(asked.rows) - set(KEYS)
    if unknown:
        parser.error(f"no such row: {', '.join(sorted(unknown))}")
    timing.refuse_pth_files()
    rows = [key for key in KEYS if key in asked.rows or not asked.rows]
    results: dict[str, list[Figure]] = {}
    began = time.monotonic()
    with Workspace(asked.out, QUICK if asked.quick else FULL, say) as workspace:
        for key in rows:
            since = time.monotonic()
            results[key] = ROWS[key](workspace)
            met = "pass" if all(figure.passes for figure in results[key]) else "FAIL"
            say(f"{key}: {met} ({time.monotonic() - since:.0f} s)")
        points = workspace.points
    text = f"{markdown(results)}\n\n{machine()} Total time: {time.monotonic() - began:.0f} s.\n"
    if asked.quick:
        text += "\nRun with --quick: these figures mean nothing.\n"
    (asked.out / "results.md").write_text(text)
    (asked.out / "results.json").write_text(json.dumps({"rows": as_json(results), "points": points}, indent=1))
    if rows == list(KEYS) and not asked.quick:
        PLOT.write_text(plot.draw(points))
    print(text)
    return 0 if all(figure.passes for row in results.values() for figure in row) else 1


def say(text: str) -> None:
    """Prints progress."""
    sys.stderr.write(f"bench: {text}\n")


def machine() -> str:
    """Describes this machine."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line.partition(":")[2].strip() for line in info.read_text().splitlines() if "model name" in line]
        cpu = names[0] if names else cpu
    load = os.getloadavg()[0]
    return (
        f"{os.cpu_count()} × {cpu}, {platform.system()} {platform.release()}, "
        f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}; load {load:.1f} at the end."
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
