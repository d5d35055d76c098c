"""``python -m tests.faults [row …] [--full | --reduced] [--prove]``: a line per row; exits with 1 if one fails.

``--prove`` makes the mistakes of each row in copies of the checkout and checks that the row fails there.
"""

from __future__ import annotations

import argparse
import logging
import os
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

from tests.faults.row import Mutation, Report, Row, copy_checkout
from tests.faults.rows import ROWS

FAILED, BROKEN = 1, 2  # exit codes: a criterion failed; the suite has a bug
NAME_WIDTH = 13
PROOF_SECONDS = 900.0


def main(arguments: Sequence[str]) -> int:
    """Runs the chosen rows; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description="The fault suite.")
    parser.add_argument("rows", nargs="*", metavar="row", help=f"one of {', '.join(ROWS)} (default: all)")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--full", action="store_true", help="the full number of repetitions (the default)")
    size.add_argument("--reduced", action="store_true", help="fewer repetitions, as in make test")
    parser.add_argument("--prove", action="store_true", help="check that each row notices its mistakes")
    given = parser.parse_args(arguments)
    if unknown := set(given.rows) - set(ROWS):
        parser.error(f"no such row: {', '.join(sorted(unknown))}")
    chosen = [ROWS[name] for name in given.rows or ROWS]
    logging.getLogger("stash_courier").addHandler(logging.NullHandler())  # for dispatchers in this process
    began = time.monotonic()
    worst = 0
    for row in chosen:
        if given.prove:
            proofs = [prove(row, mistake) for mistake in row.mutations]
            worst = max([worst, *proofs])
        else:
            worst = max(worst, carry_out(row, full=not given.reduced))
    print(f"{len(chosen)} rows in {time.monotonic() - began:.0f} s: {'passed' if worst == 0 else 'FAILED'}")
    return worst


def carry_out(row: Row, *, full: bool) -> int:
    """Runs a row and prints its line; returns its exit code."""
    if reason := row.missing():
        print(f"{row.name:<{NAME_WIDTH}} skipped: {reason}", flush=True)
        return 0
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix=f"faults-{row.name}-", ignore_cleanup_errors=True) as folder:
        try:
            report = row.run(Path(folder), full)
        except TimeoutError:
            # The row waited for something the product promises, so this is a failure and no bug of the suite.
            report = Report(failures=[traceback.format_exc(limit=-3)])
        except Exception:  # noqa: BLE001  # one broken row must not keep the others from running
            print(f"{row.name:<{NAME_WIDTH}} BROKEN: {traceback.format_exc()}", flush=True)
            return BROKEN
    print(line(row, report, time.monotonic() - began), flush=True)
    for failure in report.failures:
        print(f"{'':<{NAME_WIDTH}} {failure}", flush=True)
    return FAILED if report.failures else 0


def line(row: Row, report: Report, seconds: float) -> str:
    """The result of a row, as one line."""
    verdict = "FAILED" if report.failures else "passed"
    counts = (
        f"promised {report.promised} delivered {report.delivered} dead {report.dead} lost {report.lost} "
        f"duplicated {report.duplicated}"
    )
    return f"{row.name:<{NAME_WIDTH}} {verdict} in {seconds:.0f} s: {report.done} | {counts}"


def prove(row: Row, mistake: Sequence[Mutation]) -> int:
    """Runs a row in a copy of the checkout with a mistake; returns 0 if the row failed there."""
    if reason := row.missing():
        print(f"{row.name:<{NAME_WIDTH}} not proved: {reason}", flush=True)
        return 0
    what = " + ".join(f"{edit.file}: {edit.old.strip().splitlines()[0].strip()!r}" for edit in mistake)
    with tempfile.TemporaryDirectory(prefix="faults-mutant-", ignore_cleanup_errors=True) as folder:
        checkout = copy_checkout(Path(folder) / "checkout")
        for edit in mistake:
            edit.apply(checkout)
        size = "--full" if row.proof_full else "--reduced"
        ran = subprocess.run(
            [sys.executable, "-m", "tests.faults", row.name, size],
            cwd=checkout,
            env={**os.environ, "PYTHONPATH": ""},
            capture_output=True,
            text=True,
            check=False,
            timeout=PROOF_SECONDS,
        )
    noticed = ran.returncode == FAILED and f"{row.name:<{NAME_WIDTH}} FAILED" in ran.stdout
    print(
        f"{row.name:<{NAME_WIDTH}} {'noticed' if noticed else 'DID NOT NOTICE'} the mistake at {what}", flush=True
    )
    if not noticed:
        print(ran.stdout + ran.stderr[-4000:], flush=True)
    return 0 if noticed else FAILED if ran.returncode in {0, FAILED} else BROKEN


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stdout.flush()
    os._exit(code)  # threads of a broken row would keep the process alive
