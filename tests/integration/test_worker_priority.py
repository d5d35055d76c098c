"""The worker's priority: a worker in the background leaves the processor to Stash and its hooks."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from stash_courier.worker import process
from tests import ROOT
from tests.standin.receivers import Received, Receiver, Reply
from tests.support.harness import Courier, wait_until

OURS = os.nice(0)
BACKGROUND = max(OURS, process.NICENESS)


def niceness(pid: int) -> int:
    """A process's niceness."""
    return os.getpriority(os.PRIO_PROCESS, pid)


def test_a_worker_that_a_hook_started_gives_way(tmp_path: Path) -> None:
    """It is nice, also towards other sessions, and not nicer after it has become new code."""
    plugin = tmp_path / "plugin"
    for part in ("plugin", "queue", "worker"):
        shutil.copytree(ROOT / part, plugin / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "stash_plugin.yml", plugin)
    with Receiver() as receiver, Courier(tmp_path, {"webhook_url": receiver.url}, root=plugin) as courier:
        courier.stash.edit(1, title="Before")
        receiver.wait_for(1)
        pid = courier.worker_pid()
        assert niceness(pid) == BACKGROUND
        group = Path(f"/proc/{pid}/autogroup")
        if group.exists():
            assert group.read_text().endswith(f"nice {process.NICENESS}\n")
        version = plugin / "worker" / "__init__.py"
        version.write_text(version.read_text().replace("VERSION = ", "VERSION = '9.9.9'  # "))
        wait_until(lambda: "worker 9.9.9 starts" in courier.log(), 20.0)
        assert courier.worker_pid() == pid
        courier.stash.edit(2, title="After")
        receiver.wait_for(2)
        assert niceness(pid) == BACKGROUND


def test_a_worker_that_a_person_started_keeps_its_priority(tmp_path: Path) -> None:
    """Whoever starts a worker, or a service manager, decides its priority."""
    with Receiver() as receiver, Courier(tmp_path, {"webhook_url": receiver.url}) as courier:
        courier.stash.operation({"mode": "status"})  # writes stash.json
        command = [sys.executable, str(ROOT / "plugin" / "main.py"), "worker"]
        environment = {**os.environ, "STASH_COURIER_DATA": str(courier.data)}
        with subprocess.Popen(command, env=environment) as worker:
            assert courier.worker_pid() == worker.pid
            assert niceness(worker.pid) == OURS
            worker.send_signal(signal.SIGTERM)


def test_deliver_now_keeps_its_priority_and_starts_a_worker_that_gives_way(tmp_path: Path) -> None:
    """Stash waits for the button, which delivers by itself when no worker runs."""
    with Receiver() as receiver, Courier(tmp_path, {"webhook_url": receiver.url}) as courier:
        courier.stash.edit(1, title="Waits")
        receiver.wait_for(1)
        button_was = []

        def look(_: Received) -> Reply:
            button_was.append(niceness(courier.worker_pid()))
            return Reply()

        receiver.answer_next(look)
        courier.kill_worker()
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("STASH_COURIER_WORKER", "off")
            courier.stash.edit(1, title="Waits again")
        assert not courier.worker_runs
        courier.stash.run_task("Deliver now")
        assert button_was == [OURS]
        assert niceness(courier.worker_pid()) == BACKGROUND
