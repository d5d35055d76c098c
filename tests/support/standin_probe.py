"""A plugin for tests of the stand-in: it records how it was started and runs the code that a test gives it."""

from __future__ import annotations

import http.client
import json
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.standin.stash import StandInStash

MANIFEST = """\
name: Probe
description: Records how it was started.
version: 0.1
interface: raw
exec: [python3, -S, "{pluginDir}/probe.py", "{pluginDir}"]
errLog: warning
hooks:
  - name: scenes
    description: every scene event
    triggeredBy: [Scene.Create.Post, Scene.Update.Post, Scene.Destroy.Post]
    defaultArgs: {mode: hook}
tasks:
  - name: Show
    description: shows its arguments
    execArgs: [--task]
    defaultArgs: {mode: show, limit: 10}
settings:
  webhook_url: {type: STRING, displayName: URL, description: where to}
  attempts: {type: NUMBER}
"""

# Records its start and end in <plugin folder>/runs, and runs <plugin folder>/act.py in between.
PROBE = """\
import json, os, sys, time
folder = sys.argv[1]
began = time.monotonic()
stdin = sys.stdin.buffer.read()
given = json.loads(stdin)
note = {"stdin": given, "raw": stdin.decode(), "argv": sys.argv, "cwd": os.getcwd(),
        "path": os.environ.get("PYTHONPATH"), "pid": os.getpid(), "began": began}
name = os.path.join(folder, "runs", "%020d" % time.time_ns())
def write(ending):
    with open(name + ".part", "w") as file:
        json.dump(note, file)
    os.rename(name + ".part", name + ending)
act = os.path.join(folder, "act.py")
code = open(act).read() if os.path.exists(act) else ""
write(".begun")
answer = {"output": "done"}
def log(level, text):
    sys.stderr.write("\\x01" + level + "\\x02" + text + "\\n")
    sys.stderr.flush()
exec(code)
note["ended"] = time.monotonic()
write(".ended")
if answer is not None:
    print(json.dumps(answer))
"""

HANG = "time.sleep(60)"


class Probe:
    """The plugin's folder, as used by a test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "runs").mkdir(parents=True)
        (folder / "probe.yml").write_text(MANIFEST)
        (folder / "probe.py").write_text(PROBE)

    def act(self, code: str) -> None:
        """Sets the code that the plugin runs from now on."""
        (self.folder / "act.py").write_text(textwrap.dedent(code))

    def notes(self, ending: str = "ended") -> list[dict[str, Any]]:
        """The records of all runs, in the order of their starts."""
        return [json.loads(p.read_text()) for p in sorted((self.folder / "runs").glob(f"*.{ending}"))]

    def contexts(self) -> list[dict[str, Any]]:
        """All hook contexts so far."""
        return [note["stdin"]["args"]["hookContext"] for note in self.notes()]


def until(true: Callable[[], object], seconds: float = 20.0) -> None:
    """Waits until a condition holds that another thread or process brings about."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "the condition didn't hold in time"
        time.sleep(0.01)


def abandon(stash: StandInStash, probe: Probe, query: str) -> None:
    """Sends a request, waits until a plugin process runs, and disconnects like a closed browser."""
    connection = http.client.HTTPConnection("127.0.0.1", stash.config.port, timeout=20)
    connection.request("POST", "/graphql", json.dumps({"query": query}))
    until(lambda: probe.notes("begun"))
    connection.close()
