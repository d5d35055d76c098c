"""The task "Restart" and the mode stop_worker when the worker doesn't react."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from stash_courier.plugin.buttons import controls
from stash_courier.plugin.context import Context
from stash_courier.queue import control
from stash_courier.queue.deliveries.scene_queue import SceneQueue
from stash_courier.queue.inbox import files, store
from stash_courier.worker import heartbeat, process
from stash_courier.worker.main import Worker
from stash_courier.worker.package import CodeWatch
from tests import ROOT
from tests.standin.receivers import Receiver
from tests.support.buttons import Buttons
from tests.support.press import press

needs_proc = pytest.mark.skipif(not Path("/proc/self/fdinfo").exists(), reason="only Linux has /proc")


@pytest.fixture
def bystander() -> Iterator[subprocess.Popen[bytes]]:
    """A process that has nothing to do with the worker; ended after the test."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        yield child
        with contextlib.suppress(BrokenPipeError):
            child.communicate(b"\n")


def claim(folder: Path, pid: int, *, started: float, version: str = "1") -> None:
    """Writes the heartbeat of a worker with this pid that holds the lock since this wall time."""
    known = {"pid": pid, "version": version, "started_at": started, "heartbeat_at": time.time(), "purge_in": 0.0}
    (folder / files.WORKER_STATUS).write_text(json.dumps(known))


@needs_proc
@pytest.mark.check
def test_restart_ends_a_worker_that_hangs(live: Buttons, receiver: Receiver) -> None:
    """A stopped process stands for a worker that hangs: it is ended, another starts, and changes are delivered."""
    hung = live.press("status").output["worker"]["pid"]
    os.kill(hung, signal.SIGSTOP)
    try:
        pressed = live.press("restart_worker")
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(hung, signal.SIGCONT)
    assert pressed.output["started"] is True
    assert pressed.output["pid"] not in (None, hung)
    ended, restarted = pressed.output["lines"]
    assert ended.startswith(
        "Worker: ended by force, because it was still running 15 s after it was asked to stop."
    )
    assert f" Process: {hung}. " in ended
    assert restarted.startswith("Worker: restarted.")
    live.press("enqueue_all")
    receiver.wait_for(50)


def test_a_worker_that_is_starting_is_stopped_too(live: Buttons) -> None:
    """A worker that another button has just started, which has no heartbeat yet, ends like any other."""
    live.press("stop_worker")
    assert process.start(str(live.folder), str(ROOT))
    stopped = press(live.folder, "stop_worker")
    assert (stopped["stopped"], stopped["running"]) == (True, False)


@pytest.mark.parametrize("mode", ["stop_worker", "restart_worker"])
def test_no_other_process_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bystander: subprocess.Popen[bytes], mode: str
) -> None:
    """A worker in another container has a pid that belongs to another process here, which stays alive."""
    monkeypatch.setattr(controls, "STOP_SECONDS", 0.3)
    monkeypatch.setattr(heartbeat, "PROC", tmp_path / "no process of that container is in sight")
    lock = process.hold(str(tmp_path))
    assert lock is not None
    claim(tmp_path, bystander.pid, started=time.time() - 60)
    answer = press(tmp_path, mode)
    os.close(lock)
    assert bystander.poll() is None
    assert answer.get("stopped", answer.get("started")) is False
    if mode == "restart_worker":
        (line,) = answer["lines"]
        said = f"Worker: still running 0 s after it was asked to stop. Process: {bystander.pid}. It can't"
        assert line.startswith(said)


@needs_proc
def test_only_the_holder_of_the_lock_is_ended(tmp_path: Path, bystander: subprocess.Popen[bytes]) -> None:
    """Having the lock file open proves nothing, and neither does a shared lock or one on another file."""
    assert process.running(str(tmp_path)) is False  # makes the file
    opens = "import fcntl, sys; f = open(sys.argv[1], 'r+'); {}; print(flush=True); input()"
    others = {
        "pass": files.WORKER_LOCK,
        "fcntl.flock(f, fcntl.LOCK_SH)": files.WORKER_LOCK,
        "fcntl.flock(f, fcntl.LOCK_EX)": files.GATE,
    }
    (tmp_path / files.GATE).touch()
    with contextlib.ExitStack() as stack:
        for does, name in others.items():
            command = [sys.executable, "-c", opens.format(does), str(tmp_path / name)]
            child = stack.enter_context(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
            assert child.stdout is not None
            child.stdout.readline()
            stack.callback(child.kill)
        assert heartbeat.kill(tmp_path) is None
    assert bystander.poll() is None


def test_a_worker_that_keeps_running_is_not_reported_as_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Restart looks for a worker that started after the button was pressed, however young a heartbeat is."""
    monkeypatch.setattr(controls, "STOP_SECONDS", 0.3)
    monkeypatch.setattr(controls, "START_SECONDS", 0.3)
    monkeypatch.setattr(Context, "may_start", True)
    lock = process.hold(str(tmp_path))
    assert lock is not None
    real, said = heartbeat.read, []

    def read(folder: Path) -> heartbeat.Heartbeat | None:
        claim(folder, os.getpid(), started=time.time() - 60)  # a heartbeat of this moment
        said.append(real(folder))
        return said[-1]

    monkeypatch.setattr(heartbeat, "read", read)
    answer = press(tmp_path, "restart_worker")
    os.close(lock)
    assert said
    assert answer["started"] is False
    assert not any("restarted" in line for line in answer["lines"])


def test_a_service_manager_restarts_the_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the plugin may start none, restart waits for the service manager to start the next worker."""
    lock = process.hold(str(tmp_path))
    assert lock is not None
    claim(tmp_path, 5, started=time.time() - 60)
    asked: list[str] = []

    def wake(folder: str) -> bool:
        """The worker ends when it is asked to, and the service manager starts another."""
        if not asked:
            asked.append(folder)
            claim(tmp_path, 6, started=time.time(), version="2")
        return True

    monkeypatch.setattr(process, "wake", wake)
    answer = press(tmp_path, "restart_worker")
    os.close(lock)
    assert answer["started"] is True
    assert answer["pid"] == 6
    assert answer["lines"][-1] == "Worker: restarted. Version: 2. Process: 6."


def test_a_worker_that_looks_again_obeys_a_stop_button(tmp_path: Path) -> None:
    """A worker that ends because Stash is gone looks once more for changes, but not after a stop button."""
    worker = Worker(tmp_path, ROOT, -1, None, CodeWatch(ROOT))
    with closing(SceneQueue(tmp_path)) as queue:
        store.put(str(tmp_path), store.encode({"scene": 1, "event": "update", "at": 1.0}), 1.0)
        assert worker._anything_new()
        control.put(queue.connection, control.STOP, os.getpid())
        assert not worker._anything_new()
