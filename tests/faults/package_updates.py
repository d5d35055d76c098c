"""Stash's package manager replaces the plugin's folder again and again while edits stream in."""

from __future__ import annotations

import json
import os
import random
import re
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from stash_courier.worker import package
from tests import ROOT
from tests.faults.row import Mutation, Report, Row
from tests.faults.testbed import Testbed
from tests.support.harness import wait_until
from tools.build_plugin import NAME, build

WHEELS = ROOT / ".build" / "wheels"
SCENES = 10
FOUND_SECONDS = 60.0  # in which the sweep finds what failed hooks lost
GAP_SECONDS = 0.05  # without any file, as observed in a real Stash; see shared/facts/packages.md
SLOW_SECONDS = 5.0  # the same on a busy disk, with half of the files
SETTINGS = {"worker_sweep_off": False}

Files = Mapping[str, bytes]  # relative path → content


class Updates:
    """The package manager: deletes all files, then writes those of a higher version."""

    def __init__(self, root: Path) -> None:
        self._root = root
        build(root, WHEELS, "1.0.0")
        self._files: Files = {
            path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()
        }
        self.version = "1.0.0"

    def install(self, number: int, pause: float) -> None:
        """Replaces the files. ``pause``: seconds in which only the first half of the new ones is there."""
        self.version = f"1.0.{number}"
        files = self._stamped()
        for name in files:
            (self._root / name).unlink()
        time.sleep(GAP_SECONDS)
        for place, (name, content) in enumerate(files.items()):
            if place == len(files) // 2:
                time.sleep(pause)
            (self._root / name).write_bytes(content)

    def _stamped(self) -> Files:
        """All files with the version, and the list of files first, as in the zip."""
        code = {
            name: content.replace(b"1.0.0", self.version.encode()) if name == "worker/__init__.py" else content
            for name, content in self._files.items()
            if name != package.LIST
        }
        sizes = {name: len(content) for name, content in code.items()}
        return {package.LIST: json.dumps({"id": NAME, "files": sizes}).encode(), **code}


def run_updates(folder: Path, full: bool) -> Report:
    """Every third update begins at the moment at which the worker becomes the code of the one before."""
    count = 100 if full else 6
    report = Report()
    updates = Updates(folder / "plugins" / NAME)
    with Testbed(folder, SCENES, root=folder / "plugins" / NAME, common={}, settings=SETTINGS) as testbed:
        testbed.hooks(range(1, SCENES + 1))
        wait_until(lambda: len(testbed.taken) >= SCENES, 30.0)
        before = testbed.worker()
        over = threading.Event()
        failed: list[int] = []
        editing = threading.Thread(target=_edit, args=(testbed, over, failed))
        editing.start()
        rng = random.Random(1)
        for number in range(1, count + 1):
            if number % 3 == 0:
                # The worker has just ended its work for the code of the last update.
                _wait_for_change(testbed, updates.version)
            else:
                time.sleep(rng.uniform(0.1, 4.0))
            updates.install(number, SLOW_SECONDS if number % 10 == 5 else 0.0)
        over.set()
        editing.join()
        last = _last_titles(testbed)
        began = time.monotonic()
        wait_until(lambda: _arrived(testbed).items() >= last.items(), FOUND_SECONDS)
        seconds = time.monotonic() - began
        wait_until(lambda: f"worker {updates.version} starts" in testbed.courier.log(), 30.0)
        report.expect(testbed.workers() == [before], "the worker was gone in between")
        report.expect("Traceback" not in testbed.courier.log(), "the worker's log has a traceback")
        testbed.check_integrity(report)
        testbed.settle(report)
        starts = len(re.findall("worker 1[.0-9]+ starts", testbed.courier.log()))
    report.done = (
        f"{count} updates, {starts} of them became the worker's code, {len(failed)} hooks failed in between; "
        f"every last title was there {seconds:.0f} s after the last update"
    )
    report.nothing_lost()
    return report


def _edit(testbed: Testbed, over: threading.Event, failed: list[int]) -> None:
    """Edits scene after scene until it is over. A hook that fails, because files are missing, promises nothing."""
    scene = 0
    while not over.is_set():
        scene = scene % SCENES + 1
        if not testbed.hook(scene).end():
            failed.append(scene)
        time.sleep(0.1)


def _wait_for_change(testbed: Testbed, version: str) -> None:
    """Waits until the worker ends to become the code of this version, or has done so."""
    started = f"worker {version} starts"

    def changes() -> bool:
        log = testbed.courier.log()
        return started in log or log.rstrip().endswith("ending: new code")

    wait_until(changes, 30.0)


def _last_titles(testbed: Testbed) -> dict[int, str]:
    """The title that each scene has in Stash."""
    return {scene: testbed.courier.stash.library.get(scene).title for scene in range(1, SCENES + 1)}


def _arrived(testbed: Testbed) -> dict[int, str]:
    """The newest title of each scene at the receiver."""
    return {scene: title for _, scene, title, _ in sorted(testbed.taken)}


ROWS = [
    Row(
        "updates",
        run_updates,
        [[Mutation("worker/process.py", "    if not 0 <= waited < 120:\n", "    if True:\n")]],
        missing=lambda: (
            "Windows is not covered"
            if os.name == "nt"
            else ""
            if any(WHEELS.glob("*.whl"))
            else f"the plugin's libraries are not in {WHEELS}; `make test` downloads them"
        ),
    ),
]
