"""Runs one plugin process like Stash's raw interface (pkg/plugin/raw.go). POSIX only.

The input goes to stdin as JSON. The result is complete when stdout has ended **and** the process has exited, so a
grandchild that inherited stdout delays it. A cancelled process gets SIGKILL; its children don't. One difference
makes tests reliable: everything that the process wrote to stderr before its exit is read.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any

from tests.standin.stash.cancel import Cancel
from tests.standin.stash.log import LogLine, ServerLog, StderrReader

_CHUNK = 64 * 1024
_EXIT_POLL = 0.005  # seconds between checks of a process that has closed its stdout but not exited


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

    pid: int
    seconds: float  # from before its start to the result
    exit_code: int  # negative: the signal that killed it
    cancelled: bool
    output: Any  # ``output`` of the JSON answer, or stdout as text if it is no such answer
    error: str | None  # ``error`` of the answer, or a text about the exit status
    lines: tuple[LogLine, ...]


def run(command: Command, cancel: Cancel, log: ServerLog, on_progress: Callable[[float], None]) -> Outcome:
    """Runs a plugin process to its end.

    Raises:
        StartFailed: the program could not be started.
    """
    began = time.perf_counter()
    try:
        process = subprocess.Popen(
            list(command.argv),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=dict(command.env),
            bufsize=0,
        )
    except OSError as error:
        raise StartFailed(f"error running plugin: {error}") from error
    reader = StderrReader(log, command.plugin, command.err_log, on_progress)
    talk = _Talk(process, command.stdin, reader, cancel, log)
    cancelled = talk.until_done()
    output, error_text = answer(talk.stdout.decode("utf-8", "replace"))
    if error_text is None and process.returncode != 0:
        error_text = _exit_text(process.returncode)
    seconds = time.perf_counter() - began
    return Outcome(process.pid, seconds, process.returncode, cancelled, output, error_text, tuple(reader.lines))


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


def _exit_text(code: int) -> str:
    if code > 0:
        return f"exit status {code}"
    return f"signal: {(signal.strsignal(-code) or str(-code)).lower()}"


class _Talk:
    """The communication with one process: a loop over its three pipes and the cancel signal."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        stdin: bytes,
        reader: StderrReader,
        cancel: Cancel,
        log: ServerLog,
    ) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        self.stdout = b""
        self._process = process
        self._in, self._out, self._err = process.stdin, process.stdout, process.stderr
        self._to_write = memoryview(stdin)
        self._reader = reader
        self._cancel = cancel
        self._log = log
        self._selector = selectors.DefaultSelector()
        self._cancelled = False
        os.set_blocking(self._in.fileno(), False)
        self._selector.register(self._in, selectors.EVENT_WRITE, self._write)
        self._selector.register(self._out, selectors.EVENT_READ, self._read_stdout)
        self._selector.register(self._err, selectors.EVENT_READ, self._read_stderr)
        self._selector.register(cancel, selectors.EVENT_READ, self._look_at_cancel)

    def until_done(self) -> bool:
        """Runs until stdout has ended and the process has exited; returns whether it was cancelled."""
        try:
            while not self._cancelled and (not self._out.closed or self._process.poll() is None):
                for key, _ in self._selector.select(None if not self._out.closed else _EXIT_POLL):
                    key.data()
        finally:
            self._end()
        return self._cancelled

    def _end(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        if not self._err.closed:
            os.set_blocking(self._err.fileno(), False)
            while not self._err.closed and self._read_stderr():
                pass
        self._reader.end()
        for pipe in (self._in, self._out, self._err):
            pipe.close()
        self._selector.close()

    def _close(self, pipe: IO[bytes]) -> None:
        self._selector.unregister(pipe)
        pipe.close()

    def _write(self) -> None:
        try:
            self._to_write = self._to_write[os.write(self._in.fileno(), self._to_write[:_CHUNK]) :]
        except BrokenPipeError:
            self._log.add("warning", "error writing input to plugins stdin: broken pipe")
            self._close(self._in)
            return
        if not self._to_write:
            self._close(self._in)

    def _read_stdout(self) -> None:
        data = os.read(self._out.fileno(), _CHUNK)
        self.stdout += data
        if not data:
            self._close(self._out)

    def _read_stderr(self) -> bool:
        """Reads once; returns False if there is nothing to read."""
        try:
            data = os.read(self._err.fileno(), _CHUNK)
        except BlockingIOError:
            return False
        if not data or not self._reader.feed(data):
            self._close(self._err)
            return False
        return True

    def _look_at_cancel(self) -> None:
        if self._cancel.is_set():
            self._cancelled = True
        else:  # the client sent more data, which is no reason to kill
            self._selector.unregister(self._cancel)
