"""For tests of the durable state: starts hooks like Stash does, and reads the files that they write."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from stash_courier.queue.inbox import files, schema
from stash_courier.queue.jobs import SceneEvent
from tests import ROOT

HOOK = [sys.executable, "-S", "-E", str(ROOT / "plugin" / "main.py")]
EVENTS = {"create": "Scene.Create.Post", "update": "Scene.Update.Post", "destroy": "Scene.Destroy.Post"}
START = 1_700_000_000.0  # wall time at which tests with their own clock begin
DEST = "webhook:example.org"


class Clock:
    """A wall clock that the test sets."""

    def __init__(self, now: float = START) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def request(context: object, **args: object) -> dict[str, Any]:
    """What Stash writes to a plugin's stdin for a hook."""
    server = {
        "Scheme": "http",
        "Host": "0.0.0.0",
        "Port": 9999,
        "SessionCookie": {"Name": "session", "Value": "MTc2ODI", "Path": "", "Domain": "", "MaxAge": 0},
        "Dir": "/nowhere/stash",
        "PluginDir": "/nowhere/stash/plugins/stash_courier",
    }
    return {"server_connection": server, "args": {"mode": "hook", "hookContext": context, **args}}


def change(scene_id: int, kind: str = "update", **source: object) -> bytes:
    """The stdin of a hook for one scene."""
    context = {"id": scene_id, "type": EVENTS[kind], "input": source or None, "inputFields": sorted(source)}
    return json.dumps(request(context)).encode()


def environment(data: Path, **more: str) -> dict[str, str]:
    """The environment of a hook with this data folder that starts no worker."""
    return {**os.environ, "STASH_COURIER_DATA": str(data), "STASH_COURIER_WORKER": "off", **more}


def start_hook(data: Path, stdin: bytes, command: Sequence[str] = HOOK, **more: str) -> subprocess.Popen[bytes]:
    """Starts the real hook process and writes to its stdin."""
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, env=environment(data, **more))
    assert process.stdin is not None
    with suppress(BrokenPipeError):  # it ended without reading, as while an update replaces the files
        process.stdin.write(stdin)
    with suppress(BrokenPipeError):
        process.stdin.close()
    process.stdin = None
    return process


def run_hook(data: Path, stdin: bytes, **more: str) -> subprocess.CompletedProcess[bytes]:
    """Runs the real hook process to its end."""
    return subprocess.run(
        HOOK, input=stdin, capture_output=True, env=environment(data, **more), check=False, timeout=60
    )


def inbox(data: Path) -> list[dict[str, Any]]:
    """The events in the inbox as hooks wrote them, each with its ``seq``, oldest first."""
    if not (data / files.QUEUE_DB).exists():
        return []
    with closing(sqlite3.connect(data / files.QUEUE_DB)) as conn:
        rows = conn.execute(f"SELECT _id, data FROM {schema.INBOX} ORDER BY _id").fetchall()
    return [{"seq": seq, **json.loads(row)} for seq, row in rows]


def spooled(data: Path) -> list[dict[str, Any]]:
    """The events in the spool folder, oldest first."""
    return [json.loads(file.read_bytes()) for file in sorted((data / files.SPOOL).glob("*.json"))]


def event(scene_id: int, kind: Any = "update", *changed: str, **more: Any) -> SceneEvent:
    """An event of a scene, by default at START and with seq 0."""
    return SceneEvent(**{"seq": 0, "scene_id": scene_id, "event": kind, "changed": changed, "at": START, **more})


def log_lines(stderr: bytes) -> list[tuple[str, str]]:
    """Level and text of each line, all of which must follow Stash's log protocol."""
    lines = []
    for line in stderr.split(b"\n")[:-1]:
        assert (line[0], line[2]) == (1, 2), line
        lines.append((chr(line[1]), line[3:].decode()))
    assert stderr == b"" or stderr.endswith(b"\n")
    return lines


def failed(code: int, stdout: bytes, stderr: bytes) -> str:
    """The error of a process that failed properly: one sentence on stdout and one in the log, no traceback."""
    assert code == 1
    answer: Mapping[str, str] = json.loads(stdout)
    assert list(answer) == ["error"]
    lines = [text for level, text in log_lines(stderr) if level == "e"]
    assert len(lines) == 1
    assert "Traceback" not in lines[0]
    assert lines[0].strip()
    return answer["error"]
