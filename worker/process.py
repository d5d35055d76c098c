"""The worker as a process: one per data folder, woken, started detached, replaced by new code.

Everything that differs by operating system is here and in queue/locks.py. This module is on the hook's path:
expensive modules are imported where they are needed.
"""

from __future__ import annotations

import os
import stat
import sys
import time

from stash_courier.queue import files, locks

TYPE_CHECKING = False  # importing typing would add a fifth of a bare interpreter's start to each hook
if TYPE_CHECKING:
    from typing import NoReturn

GLANCE_SECONDS = 0.005  # longer than `running` holds the lock
STARTED_BY = "STASH_COURIER_STARTED_BY"  # passes the identity of the Stash that started the worker
LOCK_FD = "STASH_COURIER_LOCK_FD"  # passes the locked descriptor to the worker that is started


def wake(folder: str) -> bool:
    """Wakes a running worker.

    Returns:
        False if no worker reads the pipe: none runs, or this system has no named pipes.
    """
    if os.name == "nt":
        return False
    try:
        fd = os.open(os.path.join(folder, files.WAKE), os.O_WRONLY | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        if not stat.S_ISFIFO(os.fstat(fd).st_mode):
            return False  # a copied data folder may contain a plain file with this name; the worker replaces it
        os.write(fd, b"!")
    except BlockingIOError:
        pass  # the pipe is full, so the worker is awake
    except BrokenPipeError:
        return False
    finally:
        os.close(fd)
    return True


def start(folder: str, root: str) -> bool:
    """Starts the worker detached, unless one runs or ``STASH_COURIER_WORKER=off``.

    The lock is taken here and its descriptor is passed to the child. So exactly one of many simultaneous hooks
    starts a worker, and the lock is never free in between.

    Args:
        folder: the data folder.
        root: the plugin's folder.

    Returns:
        False if ``STASH_COURIER_WORKER=off`` forbids it.

    Raises:
        OSError: it can't be started.
    """
    if os.environ.get("STASH_COURIER_WORKER") == "off":
        return False
    lock = _taken(folder)
    if lock is None:
        return True
    if os.name == "nt":
        os.close(lock)  # a child can't inherit it there: the worker takes its own, and of two workers one exits
        _start_on_windows(folder, root)
        return True
    command = _command(root)
    log = os.path.join(folder, files.WORKER_LOG)
    try:
        os.set_inheritable(lock, True)
        os.posix_spawn(
            command[0],
            command,
            {**_environment(folder, lock), STARTED_BY: _identity(os.getppid())},
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
                (os.POSIX_SPAWN_OPEN, 2, log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600),
            ],
            setsid=True,
        )
    finally:
        os.close(lock)
    return True


def hold(folder: str) -> int | None:
    """The worker's lock: the one that the starting process passed on, or else a new one.

    Returns:
        The descriptor that holds it, or None if another worker runs.
    """
    passed = os.environ.pop(LOCK_FD, "")
    if passed.isdigit():
        lock = int(passed)
        try:
            held = os.stat(os.path.join(folder, files.WORKER_LOCK))
            if os.path.samestat(os.fstat(lock), held) and locks.take(lock):
                os.set_inheritable(lock, False)
                return lock
        except OSError:
            pass  # the number is no valid descriptor here
    return _taken(folder)


def running(folder: str) -> bool:
    """Whether a worker holds the lock of this data folder."""
    lock = locks.taken(os.path.join(folder, files.WORKER_LOCK))
    if lock is not None:
        os.close(lock)
    return lock is None


def become(folder: str, root: str, lock: int) -> NoReturn:
    """Replaces this worker's program by the code that is on disk now, without releasing the lock."""
    if os.name == "nt":
        os.close(lock)
        _start_on_windows(folder, root)
        sys.exit(0)
    os.set_inheritable(lock, True)
    command = _command(root)
    os.execve(command[0], command, _environment(folder, lock))  # does not return


def context() -> str:
    """What this worker runs in: the boot, the container and the Stash that started it, as far as they are known.

    If two workers in a row have different ones, the first may have died with its surroundings.
    """
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            boot = file.read().strip()
    except OSError:
        boot = ""
    return " ".join((boot, _identity(1), os.environ.get(STARTED_BY) or _identity(os.getppid())))


def _identity(pid: int) -> str:
    """A process: its pid and, on Linux, when it started. Pids are used again, also in a restarted container."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            started = file.read().rpartition(b")")[2].split()[19].decode("ascii")  # field 22 of proc(5)
    except (OSError, IndexError):
        started = ""
    return f"{pid}:{started}"


def _taken(folder: str) -> int | None:
    """The worker's lock, or None if a worker holds it. Retries once, since `running` holds it for a moment."""
    path = os.path.join(folder, files.WORKER_LOCK)
    lock = locks.taken(path)
    if lock is None:
        time.sleep(GLANCE_SECONDS)
        lock = locks.taken(path)
    return lock


def _command(root: str) -> list[str]:
    return [sys.executable, "-S", "-E", os.path.join(root, "plugin", "main.py"), "worker"]


def _environment(folder: str, lock: int) -> dict[str, str]:
    return {**os.environ, "STASH_COURIER_DATA": folder, LOCK_FD: str(lock)}


def _start_on_windows(folder: str, root: str) -> None:
    import subprocess

    flags = getattr(subprocess, "DETACHED_PROCESS", 0) | getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)
    nothing = subprocess.DEVNULL
    environment = {**os.environ, "STASH_COURIER_DATA": folder}
    with open(os.path.join(folder, files.WORKER_LOG), "ab") as log:
        subprocess.Popen(
            _command(root), env=environment, stdin=nothing, stdout=nothing, stderr=log, creationflags=flags
        )
