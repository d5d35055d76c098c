"""The stand-in as tests and the demo use it.

It is a server with a library in memory. It has no media, and only the part of Stash's API that plugins for scenes
use.
"""

from __future__ import annotations

import http.client
import json
import socket
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.standin.ports import reserve
from tests.standin.stash.library import Kind, Library, Scene
from tests.standin.stash.plugins import Config, Plugins
from tests.standin.stash.processes import Job, JobQueue, LogLine, ServerLog
from tests.standin.stash.sessions import COOKIE, Sessions
from tests.standin.stash.site import OWNER, Faults, Requests, StashSite
from tests.standin.stash.ui import Ui
from tests.standin.stash.web import WebServer


class GraphQLFailed(Exception):
    """The stand-in answered a request of its own helpers with errors, which are in the message."""


class StandInStash:
    """A stand-in Stash; a context manager that starts and stops it.

    Args:
        scenes: the initial number of scenes, with ids from 1.
        config_dir: Stash's configuration folder, ``server_connection.Dir``.
        credentials: user name and password; None for open access, as in a new Stash.
        api_key: the API key, or None.
        max_session_age: lifetime of a cookie in seconds; like in Stash, read when the server starts.
        host: ``server_connection.Host`` for plugins; it listens on 127.0.0.1 only.
        env: added to the environment of plugin processes.
        clock: returns wall time in unix seconds; assign ``clock`` to change the time.
        page: the folder of the host page (``tests/support/page.py``); None for empty pages.
        proxied: a path such as ``/stash`` below which it answers too, like behind a proxy.
    """

    def __init__(
        self,
        scenes: int = 50,
        *,
        config_dir: Path,
        credentials: tuple[str, str] | None = None,
        api_key: str | None = None,
        max_session_age: int = 3600,
        host: str = "0.0.0.0",
        env: Mapping[str, str] | None = None,
        clock: Callable[[], float] = time.time,
        page: Path | None = None,
        proxied: str = "",
    ) -> None:
        self.clock = clock
        username, password = credentials or ("", "")
        self.config = Config(
            config_dir.absolute(),
            host,
            0,
            env or {},
            username,
            password,
            api_key or "",
            max_session_age,
        )
        self.library = Library(self._now)
        self.library.fill(scenes)
        self.log = ServerLog()
        self.faults = Faults()
        self.requests = Requests()
        self.sessions = Sessions(max_session_age, self._now)
        self.plugins = Plugins(self.config, self.sessions, self.log)
        self._to_scan: list[tuple[str, int]] = []
        self._crashes: list[BaseException] = []
        ui = Ui(self.plugins, page, proxied)
        self._site = StashSite(self, ui)
        self._web: WebServer | None = None
        self._jobs: JobQueue | None = None
        self._reserved: socket.socket | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        if kind is None and self._crashes:
            raise self._crashes[0]

    def start(self, port: int = 0) -> None:
        """Starts to listen, by default on the previous port, or any free one.

        Raises:
            OSError: the port is taken.
        """
        self.config.config_dir.mkdir(parents=True, exist_ok=True)
        self.sessions.max_age = self.config.max_session_age
        port = port or self.config.port
        if self._reserved is None or self._reserved.getsockname()[1] != port:
            # Otherwise the system may give the port to another program while this one is stopped.
            self._reserved = reserve(port)
            weakref.finalize(self, self._reserved.close)
            port = self._reserved.getsockname()[1]
        self._jobs = JobQueue(self.log)
        try:
            self._web = WebServer(port, self._site, self._crashes.append)
        except OSError:
            self.stop()
            raise
        self.config.port = self._web.port

    def stop(self) -> None:
        """Stops: connections break, running plugin processes are killed, waiting jobs are lost."""
        if self._web is not None:
            self._web.close()
            self._web = None
        if self._jobs is not None:
            self._jobs.close()
            self._jobs = None

    def restart(self, port: int = 0) -> None:
        """Stops and starts with the same library, settings and cookie key."""
        self.stop()
        self.start(port)

    @property
    def url(self) -> str:
        """The base URL, without a trailing slash."""
        return f"http://127.0.0.1:{self.config.port}"

    @property
    def jobs(self) -> JobQueue:
        """The job queue of the running server."""
        assert self._jobs is not None, "the stand-in isn't running"
        return self._jobs

    def graphql(self, query: str, variables: Mapping[str, Any] | None = None, timeout: float = 60.0) -> Any:
        """Sends a request like the owner's browser; returns the data of the answer.

        Raises:
            GraphQLFailed: the answer has errors, or its status isn't 200.
            OSError: there is no answer, for example because the server is stopped.
        """
        headers = {"Content-Type": "application/json", OWNER: "yes", "Connection": "close"}
        headers["Cookie"] = f"{COOKIE}={self.sessions.make(self.config.username)}"
        connection = http.client.HTTPConnection("127.0.0.1", self.config.port, timeout=timeout)
        try:
            body = json.dumps({"query": query, "variables": variables or {}})
            connection.request("POST", "/graphql", body, headers)
            response = connection.getresponse()
            text = response.read()
        finally:
            connection.close()
        answer = json.loads(text)
        if response.status != 200 or answer.get("errors"):
            raise GraphQLFailed(f"HTTP {response.status}: {answer.get('errors')}")
        return answer["data"]

    def install_plugin(self, folder: Path) -> list[str]:
        """Loads every ``*.yml`` below a folder, without copying it; returns the ids of the plugins."""
        return [manifest.id for manifest in self.plugins.add_root(folder)]

    def add_scene(self, path: str = "", **fields: Any) -> int:
        """Adds a scene to the library without a hook; returns its id.

        Args:
            path: the path of its only file, as Stash sees it; "" for a scene without files.
            fields: fields of ``library.Scene``; performers, tags and groups as lists of names, studio as a name.
        """
        files = [self.library.video(path)] if path else []
        scene = replace(self.library.new_scene(files), **self._by_name(fields))
        self.library.commit([scene])
        return scene.id

    def change_without_hook(self, scene_id: int, **fields: Any) -> None:
        """Changes a scene and its ``updated_at`` without a hook, like auto-tag. Fields as in ``add_scene``."""
        values = self._by_name(fields)
        self.library.change([(scene_id, lambda scene: replace(scene, **values))])

    def vanish(self, scene_id: int) -> None:
        """Removes a scene without a hook, like a merge does with its sources."""
        self.library.remove([scene_id])

    def named(self, kind: Kind, name: str) -> int:
        """The id of a performer, tag, studio or group, which is created if necessary."""
        return self.library.named(kind, name)

    def scene(self, scene_id: int) -> Scene:
        """The current state of a scene; raises StashError if it doesn't exist."""
        return self.library.get(scene_id)

    def edit(self, scene_id: int, **fields: Any) -> None:
        """Calls sceneUpdate with these fields; returns after the hooks have ended."""
        self._mutate("sceneUpdate", "SceneUpdateInput!", {"id": scene_id, **fields}, "{id}")

    def edit_many(self, scene_ids: Sequence[int], **fields: Any) -> None:
        """Calls bulkSceneUpdate, which runs one hook process per scene, in series."""
        self._mutate("bulkSceneUpdate", "BulkSceneUpdateInput!", {"ids": list(scene_ids), **fields}, "{id}")

    def destroy(self, scene_id: int) -> None:
        """Calls sceneDestroy, which keeps the file."""
        self._mutate("sceneDestroy", "SceneDestroyInput!", {"id": scene_id, "delete_file": False})

    def queue_scan(self, path: str, size: int = 1_000_000) -> None:
        """Queues a file for the next scan, which creates its scene, or updates it if the size has changed."""
        self._to_scan.append((path, size))

    def take_scan(self) -> list[tuple[str, int]]:
        """Takes the files from ``queue_scan``."""
        taken, self._to_scan = self._to_scan, []
        return taken

    def scan(self) -> None:
        """Calls metadataScan for the queued files; waits for its end."""
        self.wait_for(self._mutate("metadataScan", "ScanMetadataInput!", {}), 120.0)

    def configure(self, plugin_id: str, settings: Mapping[str, Any]) -> None:
        """Calls configurePlugin, which replaces a plugin's settings."""
        self.graphql(
            "mutation($id: ID!, $input: Map!) { configurePlugin(plugin_id: $id, input: $input) }",
            {"id": plugin_id, "input": settings},
        )

    def enable(self, plugin_id: str, *, enabled: bool = True) -> None:
        """Calls setPluginsEnabled for one plugin."""
        self.graphql(
            "mutation($map: BoolMap!) { setPluginsEnabled(enabledMap: $map) }", {"map": {plugin_id: enabled}}
        )

    def start_task(self, name: str, plugin_id: str = "") -> str:
        """Calls runPluginTask; returns the job's id. ``plugin_id`` is optional if there is only one plugin."""
        query = "mutation($id: ID!, $name: String) { runPluginTask(plugin_id: $id, task_name: $name) }"
        data = self.graphql(query, {"id": plugin_id or self._only_plugin(), "name": name})
        return str(data["runPluginTask"])

    def wait_for(self, job_id: str, timeout: float = 60.0) -> Job:
        """Waits for the end of a job; raises TimeoutError."""
        return self.jobs.wait(int(job_id), timeout)

    def run_task(self, name: str, plugin_id: str = "") -> list[LogLine]:
        """Presses a task button and waits; returns what the plugin wrote to the log."""
        return list(self.wait_for(self.start_task(name, plugin_id)).lines)

    def operation(self, args: Mapping[str, Any] | None = None, plugin_id: str = "") -> Any:
        """Calls runPluginOperation; returns the plugin's ``output`` or raises GraphQLFailed with its ``error``."""
        data = self.graphql(
            "mutation($id: ID!, $args: Map) { runPluginOperation(plugin_id: $id, args: $args) }",
            {"id": plugin_id or self._only_plugin(), "args": args or {}},
        )
        return data["runPluginOperation"]

    def _mutate(self, name: str, kind: str, given: Mapping[str, Any], shown: str = "") -> Any:
        query = f"mutation($input: {kind}) {{ {name}(input: $input) {shown} }}"
        return self.graphql(query, {"input": given}, timeout=600.0)[name]

    def _by_name(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        values = dict(fields)
        if "performers" in values:
            values["performers"] = tuple(self.named("performer", name) for name in values["performers"])
        if "tags" in values:
            values["tags"] = tuple(self.named("tag", name) for name in values["tags"])
        if "groups" in values:
            values["groups"] = tuple((self.named("group", name), None) for name in values["groups"])
        if values.get("studio"):
            values["studio"] = self.named("studio", values["studio"])
        return values

    def _only_plugin(self) -> str:
        (manifest,) = self.plugins.all()
        return manifest.id

    def _now(self) -> float:
        return self.clock()
