"""``make bench``: runs the rows, prints the table and saves it in .build/bench.

``python -m tests.benchmarks [row …] [--quick]`` exits with 1 if a target is missed. ``--quick`` uses small sizes,
to check that everything runs; its figures mean nothing.
"""

from __future__ import annotations

import argparse
import os
import platform
import sqlite3
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tests import ROOT
from tests.benchmarks import dead_letters, delivery, hooks, queues, sending, sweeping, timing
from tests.benchmarks.table import Figure, markdown
from tests.benchmarks.workspace import FULL, QUICK, Workspace

OUT = ROOT / ".build" / "bench"

# By key: what is measured, and how. The targets are with the measurements.
ROWS: dict[str, tuple[str, Callable[[Workspace], list[Figure]]]] = {
    "hook": ("hook, whole process ÷ `python3 -c pass` (an interpreter without `.pth` files)", hooks.hook),
    "bulk": ("bulk edit of 500 scenes, per scene: with the plugin; without", hooks.bulk),
    "backlog": (
        "the same with 100,000 and 1,000,000 jobs waiting, and as many dead letters ÷ empty",
        hooks.backlog,
    ),
    "enqueue": ("enqueue in one process ÷ raw `sqlite3` WAL FULL insert of the same bytes", queues.enqueue),
    "claim": ("claim + done ÷ the same statements without our code", queues.claim),
    "peers": (
        "against peers: persist-queue's own SQLiteAckQueue, huey (SQLite, fsync), litequeue (FULL)",
        queues.peers,
    ),
    "latency": ("hook started → request at the receiver, worker idle", hooks.latency),
    "drain": (
        "drain 5,000 deliveries ÷ a plain `requests.Session` loop with the same bodies and concurrency",
        delivery.drain,
    ),
    "requests": ("requests to Stash for those 5,000 scenes", delivery.requests),
    "webhook": ("first full send of 100,000 scenes to a webhook", sending.webhook),
    "jellyfin": ("first full send of 100,000 scenes to a media server (stand-in for Jellyfin)", sending.jellyfin),
    "idle": ("worker idle for 60 s: CPU; resident memory", delivery.idle),
    "bury": ("DLQ `add` ÷ raw WAL FULL insert with the same two indexes", dead_letters.bury),
    "recent": ("`get_recent(10)` at 1,000,000 ÷ at 1,000", dead_letters.recent),
    "grouped": (
        "errors grouped with counts at 1,000,000 ÷ plain `GROUP BY error_type` on the table",
        dead_letters.grouped,
    ),
    "purge": (
        "purge of 500,000 of 1,000,000: longest write lock ÷ one `DELETE`; file after ÷ before",
        dead_letters.purge,
    ),
    "sweep": (
        "sweep of a library of 100,000 scenes in which nothing changed: requests to Stash",
        sweeping.sweep,
    ),
}


def main(arguments: Sequence[str]) -> int:
    """Runs the chosen rows; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="row", help=f"one of {', '.join(ROWS)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="small sizes, to check that everything runs")
    asked = parser.parse_args(arguments)
    if unknown := set(asked.rows) - set(ROWS):
        parser.error(f"no such row: {', '.join(sorted(unknown))}")
    timing.refuse_pth_files()
    results: dict[str, list[Figure]] = {}
    began = time.monotonic()
    with Workspace(OUT, QUICK if asked.quick else FULL, say) as workspace:
        for key in asked.rows or ROWS:
            since = time.monotonic()
            name, measure = ROWS[key]
            results[name] = measure(workspace)
            met = "pass" if all(figure.passes for figure in results[name]) else "FAIL"
            say(f"{key}: {met} ({time.monotonic() - since:.0f} s)")
    text = f"{markdown(results)}\n\n{machine()} Total time: {time.monotonic() - began:.0f} s.\n"
    if asked.quick:
        text += "\nRun with --quick: these figures mean nothing.\n"
    (OUT / "results.md").write_text(text)
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
    return (
        f"{os.cpu_count()} × {cpu}, {platform.system()} {platform.release()}, Python {platform.python_version()}, "
        f"SQLite {sqlite3.sqlite_version}; load {os.getloadavg()[0]:.1f} at the end."
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
