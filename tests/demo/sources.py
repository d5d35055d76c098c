"""The source of the demo's scenes: the stand-in Stash, or a real one, which is only read."""

from __future__ import annotations

import http.server
import json
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, Self
from urllib.parse import urlsplit

from stash_courier.worker.connections.model import Entry
from tests import ROOT
from tests.support.harness import PLUGIN, Courier


class Source(Protocol):
    """What the demo needs from a Stash."""

    name: str

    def __enter__(self) -> Self: ...
    def __exit__(self, *_: object) -> None: ...
    def scene_ids(self, limit: int) -> list[int]: ...
    def edit(self, scene_id: int, title: str) -> None: ...
    def operation(self, args: Mapping[str, Any]) -> Any: ...
    def connect(self, *entries: Entry) -> None: ...
    def kill_worker(self) -> int: ...
    def worker_pid(self) -> int: ...
    def waiting(self) -> int: ...
    def dead(self) -> int: ...


class StandInSource(Courier):
    """The stand-in Stash, with real edits and hooks."""

    name = "the stand-in, on this machine"

    def __init__(self, folder: Path, settings: Mapping[str, object]) -> None:
        super().__init__(folder, settings, scenes=60)

    def scene_ids(self, limit: int) -> list[int]:
        """Ids of scenes."""
        return list(range(1, limit + 1))

    def edit(self, scene_id: int, title: str) -> None:
        """Edits a scene; the stand-in runs the hook within the request."""
        self.stash.edit(scene_id, title=title)

    def operation(self, args: Mapping[str, Any]) -> Any:
        """Runs a button through runPluginOperation; returns its output."""
        return self.stash.operation(args)


class RealSource(Courier):
    """A real Stash, read-only: the worker reads its scenes, and the demo runs the hooks.

    A relay between the worker and Stash adds the API key, passes only queries, and answers with the demo's
    settings, so the plugin need not be installed in Stash, and its settings there don't matter.
    """

    def __init__(self, folder: Path, settings: Mapping[str, object], url: str, api_key: str) -> None:
        super().__init__(folder, settings, scenes=0)
        self.name = f"{urlsplit(url).hostname}, read-only"
        self._relay = _Relay(url.rstrip("/").removesuffix("/graphql") + "/graphql", api_key, settings)
        self._folder = folder / "config"

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True)
        self._relay.start()
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.end_worker()
        finally:
            self._relay.stop()

    def scene_ids(self, limit: int) -> list[int]:
        """Ids of scenes of this Stash."""
        query = "query ($n: Int) { findScenes(filter: {per_page: $n}) { scenes { id } } }"
        answer = self._relay.ask({"query": query, "variables": {"n": limit}})
        found = [int(scene["id"]) for scene in answer["data"]["findScenes"]["scenes"]]
        if len(found) < 40:
            raise SystemExit(f"The demo needs 40 scenes. This Stash has {len(found)}.")
        return found

    def edit(self, scene_id: int, title: str) -> None:
        """Runs the hook of an edit; nothing changes in Stash."""
        del title
        context = {"id": scene_id, "type": "Scene.Update.Post", "input": None, "inputFields": ["title"]}
        self._call_plugin({"mode": "hook", "hookContext": context})

    def operation(self, args: Mapping[str, Any]) -> Any:
        """Runs a button; returns its output."""
        return self._call_plugin(args)

    def _call_plugin(self, args: Mapping[str, Any]) -> Any:
        request = {
            "server_connection": {
                "Scheme": "http",
                "Host": "127.0.0.1",
                "Port": self._relay.port,
                "SessionCookie": None,
                "Dir": str(self._folder),
                "PluginDir": str(ROOT),
            },
            "args": dict(args),
        }
        command = [sys.executable, "-S", "-E", str(ROOT / "plugin" / "main.py")]
        done = subprocess.run(command, input=json.dumps(request).encode(), capture_output=True, check=True)
        return json.loads(done.stdout)["output"]


class _Relay:
    def __init__(self, url: str, api_key: str, settings: Mapping[str, object]) -> None:
        relay = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # send head and body in one packet

            def do_POST(self) -> None:
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                body = json.dumps(relay.answer(asked)).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                """Logs nothing."""

        self._url = url
        self._key = api_key
        self.settings = dict(settings)
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])

    def start(self) -> None:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def ask(self, asked: Mapping[str, Any]) -> Any:
        """Sends a query to Stash; refuses mutations."""
        if "mutation" in asked["query"]:
            raise PermissionError("the demo must not change a real Stash")
        request = urllib.request.Request(
            self._url,
            json.dumps(asked).encode(),
            {"Content-Type": "application/json", **({"ApiKey": self._key} if self._key else {})},
        )
        with urllib.request.urlopen(request, timeout=30) as response:
            return json.loads(response.read())

    def answer(self, asked: Mapping[str, Any]) -> Any:
        """Stash's answer with the demo's settings."""
        answer = self.ask(asked)
        data = answer.get("data") or {}
        if "plugins" in (data.get("configuration") or {}):
            data["configuration"]["plugins"] = {PLUGIN: dict(self.settings)}
        if "plugins" in data:
            data["plugins"] = [{"id": PLUGIN, "name": "Stash Courier", "enabled": True}]
        return answer
