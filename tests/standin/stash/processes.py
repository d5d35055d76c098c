"""Plugin processes, the queue of jobs, and the log that both write to (pkg/plugin/raw.go, pkg/job, pkg/logger).

A plugin gets its input on stdin as JSON. Its result is complete when stdout has ended **and** the process has
exited: a grandchild that inherited stdout delays it. A cancelled process gets SIGKILL; its children do not.
A line on stderr consists of SOH, the letter of a level, STX and the text. A line without this prefix gets the
manifest's ``errLog`` level, or "error" by default.
"""

from __future__ import annotations

import json
import queue
import signal
import subprocess
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from tests.standin.stash.library import StashError

LEVELS = {"t": "trace", "d": "debug", "i": "info", "w": "warning", "e": "error", "p": "progress"}
SHOWN = ("info", "warning", "error")  # levels that Stash keeps at its default log level
KEPT = 30  # lines that Stash's logs query returns at most
_POLL = 0.02  # seconds between checks whether a running process was cancelled
_STDERR = 1.0  # seconds to wait for the end of stderr, which a grandchild may keep open


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of the server's log."""

    level: str  # trace, debug, info, warning or error
    text: str  # without the prefix that Stash adds to lines of plugins
    plugin: str = ""  # the plugin's name, "" for the server's own lines

    @property
    def message(self) -> str:
        """The line as Stash shows it."""
        return f"[Plugin / {self.plugin}] {self.text}" if self.plugin else self.text


class ServerLog:
    """Every line since the start, oldest first."""

    def __init__(self) -> None:
        self.lines: list[LogLine] = []

    def add(self, level: str, text: str, plugin: str = "") -> LogLine:
        """Appends a line."""
        line = LogLine(level, text, plugin)
        self.lines.append(line)
        return line

    def recent(self) -> list[LogLine]:
        """The result of Stash's logs query: the latest visible lines, newest first."""
        return [line for line in reversed(self.lines) if line.level in SHOWN][:KEPT]


class Cancel(Protocol):
    """Something that may end an operation early. Once set, it stays set."""

    def is_set(self) -> bool:
        """Whether the operation must end; never blocks."""


class StartFailed(Exception):
    """The process could not be started. The message is Stash's."""


@dataclass(frozen=True, slots=True)
class Command:
    """A process to start."""

    argv: Sequence[str]
    env: Mapping[str, str]
    stdin: bytes
    plugin: str  # the plugin's name, for the log
    err_log: str  # level of stderr lines without a prefix


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of a process."""

    cancelled: bool
    output: Any  # ``output`` of the JSON answer, or stdout as text if it is no such answer
    error: str | None  # ``error`` of the answer, or a text about the exit status
    lines: tuple[LogLine, ...]


def run(command: Command, cancel: Cancel, log: ServerLog) -> Outcome:
    """Runs a plugin process to its end.

    Raises:
        StartFailed: the program could not be started.
    """
    pipe = subprocess.PIPE
    try:
        process = subprocess.Popen(command.argv, stdin=pipe, stdout=pipe, stderr=pipe, env=dict(command.env))
    except OSError as error:
        raise StartFailed(f"error running plugin: {error}") from error
    assert process.stderr is not None
    stderr, process.stderr = process.stderr, None  # ``communicate`` doesn't read or wait for it
    lines: list[LogLine] = []

    def read_stderr() -> None:
        with stderr:
            lines.extend(_logged(stderr, command, log))

    reader = threading.Thread(target=read_stderr, name="stand-in stash stderr", daemon=True)
    reader.start()
    stdout = _stdout(process, command.stdin, cancel)
    reader.join(_STDERR)
    if stdout is None:
        return Outcome(True, None, None, tuple(lines))
    output, failure = answer(stdout.decode("utf-8", "replace"))
    if failure is None and process.returncode > 0:
        failure = f"exit status {process.returncode}"
    elif failure is None and process.returncode < 0:
        failure = f"signal: {(signal.strsignal(-process.returncode) or '').lower()}"
    return Outcome(False, output, failure, tuple(lines))


def _stdout(process: subprocess.Popen[bytes], stdin: bytes, cancel: Cancel) -> bytes | None:
    """What a process writes to stdout until its end; None if it was cancelled and killed."""
    given: bytes | None = stdin
    while not cancel.is_set():
        try:
            return process.communicate(given, timeout=_POLL)[0]
        except subprocess.TimeoutExpired:
            given = None  # ``communicate`` continues to write what it was given
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        assert pipe is not None
        pipe.close()
    return None


def _logged(stderr: Iterable[bytes], command: Command, log: ServerLog) -> Iterable[LogLine]:
    """The lines of a plugin in the log. Its progress isn't one."""
    default = command.err_log if command.err_log in LEVELS.values() else "error"
    for raw in stderr:
        text, level = raw.decode("utf-8", "replace").rstrip("\r\n"), default
        if len(text) >= 3 and text[0] == "\x01" and text[2] == "\x02" and text[1] in LEVELS:
            text, level = text[3:].strip(), LEVELS[text[1]]
        if text and level != "progress":
            yield log.add(level, text, command.plugin)


def answer(stdout: str) -> tuple[Any, str | None]:
    """A plugin's output and error. If stdout is no JSON answer, the whole text is the output."""
    try:
        value = json.loads(stdout)
    except ValueError:
        return stdout, None
    if value is None:
        return None, None
    if not isinstance(value, dict):
        return stdout, None
    fields = {str(k).lower(): v for k, v in value.items()}
    error = fields.get("error")
    if error is not None and not isinstance(error, str):
        return stdout, None
    return fields.get("output"), error


@dataclass(slots=True)
class Job:
    """A job of the queue. An error of its plugin is only in the log, as in Stash."""

    id: int
    work: Callable[[Job], None]
    cancel: threading.Event = field(default_factory=threading.Event)
    over: threading.Event = field(default_factory=threading.Event)
    lines: tuple[LogLine, ...] = ()  # what its plugin wrote to the log


class JobQueue:
    """Tasks and scans, which run one after another, outside of requests."""

    def __init__(self, log: ServerLog) -> None:
        self._log = log
        self._jobs: list[Job] = []
        self._next: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="stand-in stash jobs", daemon=True)
        self._thread.start()

    def add(self, work: Callable[[Job], None]) -> Job:
        """Appends a job to the queue."""
        job = Job(len(self._jobs) + 1, work)
        self._jobs.append(job)
        self._next.put(job)
        return job

    def queue(self) -> list[Job]:
        """The running job and the waiting ones."""
        return [job for job in self._jobs if not job.over.is_set()]

    def wait(self, job_id: int, seconds: float) -> Job:
        """Waits for the end of a job.

        Raises:
            TimeoutError: it has not ended in time.
        """
        job = self._jobs[job_id - 1]
        if not job.over.wait(seconds):
            raise TimeoutError(f"job {job_id} has not ended after {seconds:g} s")
        return job

    def close(self) -> None:
        """Cancels everything and ends the thread."""
        for job in self.queue():
            job.cancel.set()
        self._next.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (job := self._next.get()) is not None:
            try:
                if not job.cancel.is_set():
                    job.work(job)
            except StashError as error:
                self._log.add("error", f"task failed due to error: {error}")
            finally:
                job.over.set()
