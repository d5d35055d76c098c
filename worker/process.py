"""The worker as a process: one per data folder, woken, started detached, replaced by new code.

Everything that differs by operating system is here and in queue/inbox/locks.py. This module is on the hook's path:
expensive modules are imported where they are needed.
"""

from __future__ import annotations

import os
import stat
import sys
import time

from stash_courier.queue.inbox import files, locks

TYPE_CHECKING = False  # importing typing is expensive for a hook
if TYPE_CHECKING:
    from typing import NoReturn

FOREGROUND = "STASH_COURIER_FOREGROUND"  # "1" for new code that takes the place of a worker in the foreground
GLANCE_SECONDS = 0.25  # longer than `running` shares the lock, even on a busy machine
TRY_SECONDS = 0.002  # between two attempts meanwhile
LOG_BYTES = 1 << 20  # of worker.log before it is rotated
LOCK_FD = "STASH_COURIER_LOCK_FD"  # passes the locked descriptor to the worker that is started
NICENESS = 5  # of a worker in the background: with more, it is slow to let go of the write lock on a busy machine


# Runs main.py, and again while an update has not written all files. It is passed to Python as text, because
# main.py may be missing too. sys.orig_argv is this whole command. package.replaced() reads the time of the list.
STARTER = """
import os, runpy, sys, time
del sys.argv[0]
files = os.path.join(os.path.dirname(os.path.dirname(sys.argv[0])), "files.json")
os.environ["STASH_COURIER_FILES"] = str(os.stat(files).st_mtime_ns) if os.path.exists(files) else ""
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
except (ImportError, AttributeError, NameError, SyntaxError, OSError) as error:
    waited = time.time() - float(os.environ["STASH_COURIER_STARTED_AT"])
    if not 0 <= waited < 120:
        raise
    print("The plugin's files are not complete, trying again:", error, file=sys.stderr, flush=True)
    time.sleep(0.5 + waited / 2)
    command = [sys.executable, *sys.orig_argv[1:]]
    if os.name == "nt":  # execv quotes nothing there
        from subprocess import DETACHED_PROCESS, DEVNULL, Popen
        Popen(command, stdin=DEVNULL, stdout=DEVNULL, stderr=sys.stderr, creationflags=DETACHED_PROCESS)
    else:
        os.execv(command[0], command)
"""


class NoWorkerHere(Exception):
    """No worker can run on this machine as it is. The message is for the owner."""


def wake(folder: str) -> bool:
    """Wakes a running worker.

    A worker that was killed lets go of the lock a moment before it closes the pipe.

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
    return running(folder)


def start(folder: str, root: str) -> bool:
    """Starts a worker for a data folder, detached, unless one runs. ``root`` is the plugin's folder.

    The lock is taken here and its descriptor is passed to the child. So exactly one of many simultaneous hooks
    starts a worker, and the lock is never free in between.

    Returns:
        False if ``STASH_COURIER_WORKER=off`` forbids it.

    Raises:
        NoWorkerHere: it can't run on this Python.
        locks.LocksUnavailable: the data folder has no file locks.
        OSError: it can't be started.
    """
    if os.environ.get("STASH_COURIER_WORKER") == "off":
        return False
    lock = _taken(folder)
    if lock is None:
        return True
    try:
        from stash_courier.worker import requirements  # only here: most hooks find a worker running

        if (unmet := requirements.unmet()) is not None:
            raise NoWorkerHere(unmet)
        _bound_log(folder)
        if os.name != "nt":
            _start_with_lock(folder, root, lock)
    finally:
        os.close(lock)
    if os.name == "nt":  # a child can't inherit a lock there: it takes its own, and of two workers one exits
        _start_on_windows(folder, root)
    return True


def in_foreground() -> bool:
    """Whether a person or a service manager started this worker, not the plugin. Ask before ``hold``."""
    return LOCK_FD not in os.environ or os.environ.get(FOREGROUND) == "1"


def hold(folder: str) -> int | None:
    """The worker's lock: the one that the starting process passed on, or else a new one.

    Returns:
        The descriptor that holds it, or None if another worker runs.
    """
    passed = os.environ.pop(LOCK_FD, "")
    if passed.isdigit():
        lock = int(passed)
        try:
            path = os.path.join(folder, files.WORKER_LOCK)
            if files.identity(path) == files.identity(lock) and locks.take(lock):
                os.set_inheritable(lock, False)
                return lock
        except OSError:
            pass  # the number is no valid descriptor here
    return _taken(folder)


def give_way() -> None:
    """Lets Stash, its hooks and everything else of normal priority use the processor first.

    Never makes this process less nice, and changes nothing if it is called again.
    """
    if os.name == "nt":
        return
    try:
        os.nice(max(0, NICENESS - os.nice(0)))
        if os.getsid(0) == os.getpid():
            # Linux may weigh sessions against each other (sched(7), autogroup), and niceness then only counts
            # within the worker's own.
            with open("/proc/self/autogroup", "w") as autogroup:
                autogroup.write(str(NICENESS))
    except OSError:
        pass  # forbidden, or this system has no such groups: the worker runs all the same


def running(folder: str) -> bool:
    """Whether a worker holds the lock of this data folder. Shares the lock for a moment if none does.

    Raises:
        OSError: the lock file can't be used; a locks.LocksUnavailable says why.
    """
    lock = locks.taken(os.path.join(folder, files.WORKER_LOCK), shared=True)
    if lock is not None:
        os.close(lock)
    return lock is None


def become(folder: str, root: str, lock: int, *, foreground: bool) -> NoReturn:
    """Replaces this worker's program by the code that is on disk now, without releasing the lock."""
    if os.name == "nt":
        os.close(lock)
        _start_on_windows(folder, root)
        sys.exit(0)
    os.set_inheritable(lock, True)
    command = _command(root)
    environment = {**_environment(folder, str(lock)), FOREGROUND: "1" if foreground else ""}
    os.execve(command[0], command, environment)  # does not return


def _taken(folder: str) -> int | None:
    """The worker's lock, or None if a worker holds it. The heartbeat of the last one is moved away: heartbeat.py.

    `running` shares the lock for a moment, and only a worker keeps others from sharing it. So while it can be
    shared, no worker runs, and this tries again.
    """
    path = os.path.join(folder, files.WORKER_LOCK)
    give_up = time.monotonic() + GLANCE_SECONDS
    while (lock := locks.taken(path)) is None:
        if running(folder) or time.monotonic() > give_up:
            return None
        time.sleep(TRY_SECONDS)
    try:
        os.replace(os.path.join(folder, files.WORKER_STATUS), os.path.join(folder, files.WORKER_BEFORE))
    except OSError:
        pass  # there is none
    return lock


def _command(root: str) -> list[str]:
    return [sys.executable, "-S", "-E", "-c", STARTER, os.path.join(root, "plugin", "main.py"), "worker"]


def _environment(folder: str, lock: str) -> dict[str, str]:
    at = str(time.time())
    return {**os.environ, "STASH_COURIER_DATA": folder, LOCK_FD: lock, "STASH_COURIER_STARTED_AT": at}


def _bound_log(folder: str) -> None:
    """Keeps worker.log from growing when every worker dies before it sets up its log, which is rotated."""
    log = os.path.join(folder, files.WORKER_LOG)
    try:
        if os.path.getsize(log) > LOG_BYTES:
            os.replace(log, f"{log}.1")
    except OSError:
        pass  # there is none


def _start_with_lock(folder: str, root: str, lock: int) -> None:
    """Starts the worker detached; it inherits the descriptor that holds the lock."""
    command = _command(root)
    log = os.path.join(folder, files.WORKER_LOG)
    os.set_inheritable(lock, True)
    os.posix_spawn(
        command[0],
        command,
        _environment(folder, str(lock)),
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
            (os.POSIX_SPAWN_OPEN, 2, log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600),
        ],
        setsid=True,
    )


def _start_on_windows(folder: str, root: str) -> None:
    import subprocess

    flags = getattr(subprocess, "DETACHED_PROCESS", 0) | getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)
    nothing = subprocess.DEVNULL
    environment = _environment(folder, "none")
    with open(os.path.join(folder, files.WORKER_LOG), "ab") as log:
        subprocess.Popen(
            _command(root), env=environment, stdin=nothing, stdout=nothing, stderr=log, creationflags=flags
        )
