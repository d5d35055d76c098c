"""The server's log, and the log protocol of plugins on stderr (pkg/logger/plugin.go).

A line consists of SOH, the letter of a level, STX and the text. A line without this prefix gets the manifest's
``errLog`` level, or "error" by default.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

LEVELS = {"t": "trace", "d": "debug", "i": "info", "w": "warning", "e": "error", "p": "progress"}
SHOWN = ("info", "warning", "error")  # levels that Stash keeps at its default log level
KEPT = 30  # lines that Stash's logs query returns at most
LINE_LIMIT = 64 * 1024  # in bytes; Stash stops reading stderr at a longer line


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of the server's log."""

    at: str  # RFC 3339
    level: str  # trace, debug, info, warning or error
    text: str  # without the prefix that Stash adds to lines of plugins
    plugin: str = ""  # the plugin's name, "" for the server's own lines

    @property
    def message(self) -> str:
        """The line as Stash shows it."""
        return f"[Plugin / {self.plugin}] {self.text}" if self.plugin else self.text


class ServerLog:
    """Every line since the start, oldest first."""

    def __init__(self, now: Callable[[], str]) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._lines: list[LogLine] = []

    def add(self, level: str, text: str, plugin: str = "") -> LogLine:
        """Appends a line."""
        line = LogLine(self._now(), level, text, plugin)
        with self._lock:
            self._lines.append(line)
        return line

    def lines(self) -> list[LogLine]:
        """All lines so far."""
        with self._lock:
            return list(self._lines)

    def recent(self) -> list[LogLine]:
        """The result of Stash's logs query: the latest visible lines, newest first."""
        return [line for line in reversed(self.lines()) if line.level in SHOWN][:KEPT]


class StderrReader:
    """Turns the bytes of a plugin's stderr into log lines and progress.

    Args:
        default: the level of a line without a prefix.
        on_progress: called with each progress value, 0 to 1.
    """

    def __init__(self, log: ServerLog, plugin: str, default: str, on_progress: Callable[[float], None]) -> None:
        self._log = log
        self._plugin = plugin
        self._default = default if default in (*LEVELS.values(), "none") else "error"
        self._on_progress = on_progress
        self._rest = b""
        self.lines: list[LogLine] = []

    def feed(self, data: bytes) -> bool:
        """Takes bytes; returns False after a line that is too long, where Stash closes the pipe."""
        *whole, self._rest = (self._rest + data).split(b"\n")
        for line in whole:
            if len(line) >= LINE_LIMIT:
                self._rest = b""
                return False
            self._line(line.removesuffix(b"\r"))
        if len(self._rest) < LINE_LIMIT:
            return True
        self._rest = b""
        return False

    def end(self) -> None:
        """Takes the last line if it has no newline."""
        self._line(self._rest)
        self._rest = b""

    def _line(self, raw: bytes) -> None:
        if not raw:
            return
        text, level = raw.decode("utf-8", "replace"), self._default
        if len(raw) >= 4 and raw[0] == 1 and raw[2] == 2 and chr(raw[1]) in LEVELS:
            text, level = text[3:].strip(), LEVELS[text[1]]
        if level == "progress":
            self._progress(text)
        elif level != "none":
            self.lines.append(self._log.add(level, text, self._plugin))

    def _progress(self, text: str) -> None:
        try:
            value = float(text)
        except ValueError:
            self._log.add("error", f"Error parsing progress value '{text}'")
        else:
            self._on_progress(min(max(value, 0.0), 1.0))
