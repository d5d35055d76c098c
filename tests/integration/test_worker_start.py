"""worker/process.py and the hooks that call it: waking, starting, and never a second worker."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from unittest import mock

import pytest

from stash_courier.queue.inbox import files
from stash_courier.worker import process
from stash_courier.worker.wakeup import Wakeup
from tests import ROOT
from tests.support.durable import HOOK, change, run_hook, start_hook
from tests.support.harness import wait_until

wait_for = partial(wait_until, timeout=60.0)

# A worker's program that records its start and what it inherited, and holds the lock until the file "end" exists.
STUB = """
import json, os, sys, time
sys.path[0:1] = []
package = type(sys)("stash_courier")
package.__path__ = [{root!r}]
sys.modules["stash_courier"] = package
from stash_courier.queue.inbox import files
from stash_courier.worker import process
folder = os.environ["STASH_COURIER_DATA"]
try:
    fd = os.fstat(int(os.environ[process.LOCK_FD]))
    handed = os.path.samestat(fd, os.stat(os.path.join(folder, files.WORKER_LOCK)))
except (LookupError, OSError):
    handed = False
lock = process.hold(folder)
with open(os.path.join(folder, f"started.{{os.getpid()}}.tmp"), "w") as file:
    json.dump({{
        "argv": sys.argv[1:], "flags": [sys.flags.no_site, sys.flags.ignore_environment], "handed": handed,
        "holds": lock is not None, "leader": os.getsid(0) == os.getpid(),
        "stdout": os.readlink("/proc/self/fd/1") if os.path.exists("/proc/self/fd/1") else os.devnull,
    }}, file)
os.rename(file.name, file.name[:-4] + ".json")
give_up = time.monotonic() + 60
while not os.path.exists(os.path.join(folder, "end")) and time.monotonic() < give_up:
    time.sleep(0.01)
"""


@pytest.fixture
def data(tmp_path: Path) -> Iterator[Path]:
    """A data folder whose workers have ended after the test."""
    folder = tmp_path / "data"
    folder.mkdir()
    yield folder
    (folder / "end").touch()
    wait_for(lambda: not process.running(str(folder)))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A plugin folder whose worker only records its start."""
    folder = tmp_path / "plugin folder"
    (folder / "plugin").mkdir(parents=True)
    (folder / "plugin" / "main.py").write_text(STUB.format(root=str(ROOT)))
    return folder


def started(data: Path) -> list[dict[str, object]]:
    """The records of the workers that were started."""
    return [json.loads(file.read_text()) for file in data.glob("started.*.json")]


def hook_of(root: Path) -> list[str]:
    """A hook that would start the worker of another plugin folder."""
    code = (
        f"import sys; p = type(sys)('stash_courier'); p.__path__ = [{str(ROOT)!r}]; "
        "sys.modules['stash_courier'] = p; from stash_courier.plugin import hook; "
        f"hook.end_process(hook.main(sys.stdin.buffer.read(), {str(root)!r}))"
    )
    return [*HOOK[:-1], "-c", code]


def test_of_many_hooks_exactly_one_starts_a_worker(data: Path, root: Path) -> None:
    """Twelve changes at once start one detached worker with the lock; after its end the next change starts one."""
    hooks = [start_hook(data, change(n), hook_of(root), STASH_COURIER_WORKER="") for n in range(1, 13)]
    for hook in hooks:
        out, err = hook.communicate(timeout=60)
        assert (hook.returncode, json.loads(out), err) == (0, {"output": "queued"}, b"")
    wait_for(lambda: started(data))
    assert process.running(str(data))
    assert started(data) == [
        {
            "argv": ["worker"],
            "flags": [1, 1],
            "handed": True,
            "holds": True,
            "leader": True,
            "stdout": os.devnull,
        }
    ]
    (data / "end").touch()
    wait_for(lambda: not process.running(str(data)))
    (data / "end").unlink()
    start_hook(data, change(13), hook_of(root), STASH_COURIER_WORKER="").communicate(timeout=60)
    wait_for(lambda: len(started(data)) == 2)


def test_a_hook_wakes_the_worker(data: Path) -> None:
    """A sleeping worker is woken by the hook, and no other worker is started."""
    wakeup, lock = Wakeup(data), process.hold(str(data))
    assert lock is not None
    assert run_hook(data, change(1), STASH_COURIER_WORKER="").returncode == 0
    assert wakeup.wait(0.0)
    assert not (data / files.WORKER_LOG).exists()
    assert not wakeup.wait(0.0)
    wakeup.close()
    os.close(lock)


def test_a_hook_does_not_take_a_dying_worker_for_one_that_runs(data: Path, root: Path) -> None:
    """A killed worker lets go of the lock before it closes the pipe; a hook in between starts the next one."""
    wakeup = Wakeup(data)
    start_hook(data, change(1), hook_of(root), STASH_COURIER_WORKER="").communicate(timeout=60)
    wait_for(lambda: len(started(data)) == 1)
    wakeup.close()


def test_a_full_pipe_blocks_no_hook(data: Path) -> None:
    """However many wake-ups the worker hasn't read, no hook waits for it."""
    wakeup, lock = Wakeup(data), process.hold(str(data))
    assert lock is not None
    while select_writable(data):
        pass
    assert process.wake(str(data))
    wakeup.close()
    assert not process.wake(str(data))
    os.close(lock)


def select_writable(data: Path) -> bool:
    """Writes to the wake pipe; returns whether there was room."""
    fd = os.open(data / files.WAKE, os.O_WRONLY | os.O_NONBLOCK)
    try:
        os.write(fd, b"!" * 4096)
    except BlockingIOError:
        return False
    finally:
        os.close(fd)
    return True


def test_a_file_in_the_pipes_place_is_no_worker(data: Path, root: Path) -> None:
    """A copied data folder with a plain file in the pipe's place still gets a worker."""
    (data / files.WAKE).write_text("")
    start_hook(data, change(1), hook_of(root), STASH_COURIER_WORKER="").communicate(timeout=60)
    wait_for(lambda: started(data))


def test_a_hook_waits_for_a_status_button(data: Path, root: Path) -> None:
    """A status button that is held up while it looks at the lock doesn't keep a hook from starting a worker."""
    real_close, looking, waits = os.close, [], []

    def held_up(fd: int) -> None:
        looking.append(fd)

    with mock.patch.object(os, "close", held_up):
        assert not process.running(str(data))
    (fd,) = looking

    def pause(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            real_close(fd)

    with mock.patch.object(time, "sleep", pause):
        assert process.start(str(data), str(root))
    assert len(waits) == 3
    wait_for(lambda: started(data))


def end_workers_of(root: Path) -> None:
    """Kills the workers that run from a folder."""
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if str(root).encode() in (command := entry.read_bytes()) and b"worker" in command.split(b"\0"):
                os.kill(int(entry.parent.name), signal.SIGKILL)


@pytest.mark.check
def test_a_worker_waits_for_the_rest_of_an_update(data: Path, tmp_path: Path) -> None:
    """A worker that starts while files are missing, even main.py, starts again until they are there."""
    root = tmp_path / "half"
    for name in ("plugin", "queue", "worker"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    (root / "stash_plugin.yml").touch()
    program, settings = root / "plugin" / "main.py", root / "worker" / "settings.py"
    missing = {path: path.read_bytes() for path in (program, settings)}
    for path in missing:
        path.unlink()
    log = data / files.WORKER_LOG
    start_hook(data, change(1), hook_of(root), STASH_COURIER_WORKER="").communicate(timeout=60)
    wait_for(lambda: b"main.py" in log.read_bytes())
    program.write_bytes(missing[program])
    wait_for(lambda: b"stash_courier.worker.settings" in log.read_bytes())
    settings.write_bytes(missing[settings])
    wait_for(lambda: b"starts, pid" in log.read_bytes())
    end_workers_of(root)


def test_workers_that_die_at_once_do_not_fill_the_disk(data: Path, root: Path) -> None:
    """A long log is put aside at the start of a worker, which may die before it sets up its log."""
    log = data / files.WORKER_LOG
    log.write_bytes(b"x" * (process.LOG_BYTES + 1))
    assert process.start(str(data), str(root))
    wait_for(lambda: started(data))
    assert log.stat().st_size < process.LOG_BYTES
    assert (data / f"{files.WORKER_LOG}.1").stat().st_size > process.LOG_BYTES


@pytest.mark.parametrize("handed", ["999", "x", ""])
def test_a_descriptor_that_is_no_lock_is_not_trusted(data: Path, handed: str) -> None:
    """A number in the environment that isn't the lock's descriptor is ignored, and the lock is taken as usual."""
    with mock.patch.dict(os.environ, {process.LOCK_FD: handed}):
        lock = process.hold(str(data))
        assert process.LOCK_FD not in os.environ
    assert lock is not None
    assert process.running(str(data))
    os.close(lock)
