"""The task buttons as Stash presses them: a real process, with a Stash on a socket and real files."""

from __future__ import annotations

import json
import os
import subprocess
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stash_courier.queue.deliveries.scene_queue import SceneQueue
from tests import ROOT
from tests.standin.receivers import Receiver
from tests.support.durable import HOOK, log_lines

LEVELS = {"i": "info", "w": "warning", "e": "error", "p": "progress"}
COOKIE = "SECRET-SESSION-COOKIE"
SECRET = "whsec_" + "c2VjcmV0" * 4


@dataclass(frozen=True, slots=True)
class Pressed:
    """What a button did."""

    code: int
    stdout: str
    logged: list[tuple[str, str]]  # (level, text) as Stash's page of logs shows them: latest first; no progress
    progress: list[float]

    @property
    def output(self) -> dict[str, Any]:
        """The answer's ``output``, after a run without an error."""
        assert self.code == 0, self.stdout
        found: dict[str, Any] = json.loads(self.stdout)["output"]
        return found

    @property
    def error(self) -> str:
        """The answer's ``error``, after a run that ended with one."""
        assert self.code == 1, self.stdout
        return str(json.loads(self.stdout)["error"])

    @property
    def text(self) -> str:
        """Everything that it wrote."""
        return "\n".join([self.stdout, *(text for _, text in self.logged)])


class Buttons:
    """The buttons of a plugin in a Stash at a port.

    Args:
        config: Stash's configuration folder.
        port: where Stash listens.
        worker: whether the plugin may start a worker.
    """

    def __init__(self, config: Path, port: int, *, worker: bool = False) -> None:
        self.folder = config / "stash_courier"
        self._config = config
        self.port = port
        self._worker = worker
        self.pid = 0  # of the button pressed last

    def press(self, mode: str, **args: object) -> Pressed:
        """Presses a button and waits until it has ended."""
        return self.call(mode, log="yes", **args)

    def call(self, mode: str, **args: object) -> Pressed:
        """Runs a mode as ``runPluginOperation`` does."""
        given = self.request(mode, **args)
        env = {name: value for name, value in os.environ.items() if not name.startswith("STASH_COURIER")}
        if not self._worker:
            env["STASH_COURIER_WORKER"] = "off"
        with subprocess.Popen(
            HOOK,
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as child:
            self.pid = child.pid
            out, err = child.communicate(json.dumps(given).encode(), timeout=60)
        logged, progress = [], []
        for level, text in log_lines(err):
            if level == "p":
                progress.append(float(text))
            else:
                logged.append((LEVELS[level], text))
        return Pressed(child.returncode, out.decode(), logged[::-1], progress)

    def request(self, mode: str, **args: object) -> dict[str, object]:
        """What Stash writes to the plugin's standard input."""
        return {
            "server_connection": {
                "Scheme": "http",
                "Host": "0.0.0.0",
                "Port": self.port,
                "SessionCookie": {"Name": "session", "Value": COOKIE},
                "Dir": str(self._config),
                "PluginDir": str(ROOT),
            },
            "args": {"mode": mode, **args},
        }

    def counts(self) -> tuple[int, dict[str, int]]:
        """Events in the inbox, and deliveries by destination."""
        with closing(SceneQueue(self.folder)) as queue:
            return queue.inbox_count(), {name: waits.total for name, waits in queue.backlog().items()}


def webhook(receiver: Receiver) -> str:
    """The receiver's id as a destination."""
    return f"webhook:127.0.0.1:{receiver.port}"
