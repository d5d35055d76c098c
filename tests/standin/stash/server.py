"""The stand-in as tests and the demo use it.

It is a server of its own with a library in memory, not a Stash: it shows no media, and it knows the part
of Stash's interface that a plugin for scenes meets.
"""

from __future__ import annotations

import http.client
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import tzinfo
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.standin.stash.faults import Faults, Requests
from tests.standin.stash.jobs import Job, JobQueue
from tests.standin.stash.library import Kind, Library, Scene
from tests.standin.stash.log import LogLine, ServerLog
from tests.standin.stash.plugins import Config, Plugins, Run
from tests.standin.stash.sessions import COOKIE, Session, Sessions
from tests.standin.stash.site import OWNER, StashSite
from tests.standin.stash.web import WebServer


class GraphQLFailed(Exception):
    """The stand-in answered one of its own helpers with errors; the message holds them."""


class StandInStash:
    """A running stand-in; a context manager that starts it and takes it down whole.

    Args:
        scenes: how many scenes there are at first, with ids from 1.
        config_dir: Stash's configuration folder, ``server_connection.Dir``.
        credentials: user name and password; None leaves access open, as a new Stash does.
        api_key: the API key, None if none was made.
        max_session_age: seconds a cookie lives; like Stash, read when the server (re)starts.
        host: what plugins are told as ``server_connection.Host``; it listens on 127.0.0.1 only.
        python: the interpreter that ``python3`` in a manifest stands for.
        env: added to the environment of plugin processes.
        zone: the server's time zone, None for this machine's.
        clock: gives wall time in unix seconds; assign ``clock`` to move it.
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
        python: str = sys.executable,
        env: Mapping[str, str] | None = None,
        zone: tzinfo | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.clock = clock
        username, password = credentials or ("", "")
        self.config = Config(
            config_dir.absolute(),
            host,
            0,
            python,
            env or {},
            username,
            password,
            api_key or "",
            max_session_age,
        )
        self.library = Library(self._now, zone)
        self.library.fill(scenes)
        self.log = ServerLog(self.library.now)
        self.faults = Faults()
        self.requests = Requests()
        self.sessions = Sessions(max_session_age, self._now)
        self.plugins = Plugins(self.config, lambda: self.sessions, self.log)
        self._to_scan: list[tuple[str, int]] = []
        self._crashes: list[BaseException] = []
        self._site = StashSite(self, lambda: self.sessions, self.requests)
        self._web: WebServer | None = None
        self._jobs: JobQueue | None = None

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
        """Begins to listen; on the port it had before, if there was one and none is named.

        Raises:
            OSError: the port is taken.
        """
        self.config.config_dir.mkdir(parents=True, exist_ok=True)
        self.sessions.max_age = self.config.max_session_age
        self._jobs = JobQueue(self.log, self.library.now)
        try:
            self._web = WebServer(port or self.config.port, self._site, self._crashes.append)
        except OSError:
            self.stop()
            raise
        self.config.port = self._web.port

    def stop(self) -> None:
        """Goes down: connections break, running plugin processes are killed, waiting jobs are gone."""
        if self._web is not None:
            self._web.close()
            self._web = None
        if self._jobs is not None:
            self._jobs.close()
            self._jobs = None

    def restart(self, port: int = 0) -> None:
        """Goes down and comes back with the same library, settings and key of the cookies."""
        self.stop()
        self.start(port)

    @property
    def url(self) -> str:
        """The base URL, without a slash at its end."""
        return f"http://127.0.0.1:{self.config.port}"

    @property
    def jobs(self) -> JobQueue:
        """The queue of the running server."""
        assert self._jobs is not None, "the stand-in isn't running"
        return self._jobs

    @property
    def logs(self) -> list[LogLine]:
        """Every line of the server's log so far, oldest first, at every level."""
        return self.log.lines()

    @property
    def runs(self) -> list[Run]:
        """Every plugin process that has ended, in that order."""
        return list(self.plugins.runs)

    @property
    def hook_seconds(self) -> list[float]:
        """How long each hook process took, from before its start until Stash would go on."""
        return [run.seconds for run in self.runs if run.kind == "hook"]

    def graphql(self, query: str, variables: Mapping[str, Any] | None = None, timeout: float = 60.0) -> Any:
        """Asks over HTTP, as the owner in a browser; gives the answer's data.

        Raises:
            GraphQLFailed: the answer holds errors, or its status isn't 200.
            OSError: no answer, as when the server is stopped.
        """
        headers = {"Content-Type": "application/json", OWNER: "yes", "Connection": "close"}
        headers["Cookie"] = f"{COOKIE}={self.sessions.make(Session(self.config.username))}"
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
        """Loads every ``*.yml`` below a folder where it lies; gives the plugins' ids.

        Raises:
            PluginRefused: Stash would refuse one, or there is none.
        """
        return [manifest.id for manifest in self.plugins.add_root(folder)]

    def add_scene(self, path: str = "", **fields: Any) -> int:
        """Puts a scene into the library without any hook, as if it had always been there.

        Args:
            path: of its only file, as Stash sees it; "" for a scene without files.
            fields: fields of ``library.Scene``; performers, tags and groups may be lists of names, studio a name.
        """
        files = [self.library.video(path)] if path else []
        scene = replace(self.library.new_scene(files), **self._by_name(fields))
        self.library.commit([scene])
        return scene.id

    def change_without_hook(self, scene_id: int, **fields: Any) -> None:
        """Changes a scene as auto-tag does: ``updated_at`` moves, no hook runs. Fields as in ``add_scene``."""
        values = self._by_name(fields)
        self.library.change([(scene_id, lambda scene: replace(scene, **values))])

    def vanish(self, scene_id: int) -> None:
        """Takes a scene away without a hook, as a merge does with its sources."""
        self.library.remove([scene_id])

    def named(self, kind: Kind, name: str) -> int:
        """The id of a performer, tag, studio or group, made if there is none of this name."""
        return self.library.named(kind, name)

    def scene(self, scene_id: int) -> Scene:
        """A scene as it is now; raises StashError if it is gone."""
        return self.library.get(scene_id)

    def edit(self, scene_id: int, **fields: Any) -> None:
        """sceneUpdate with these fields; returns when the hooks are through."""
        self._mutate("sceneUpdate", "SceneUpdateInput!", {"id": scene_id, **fields}, "{id}")

    def edit_many(self, scene_ids: Sequence[int], **fields: Any) -> None:
        """bulkSceneUpdate: one hook process for each scene, in a row."""
        self._mutate("bulkSceneUpdate", "BulkSceneUpdateInput!", {"ids": list(scene_ids), **fields}, "{id}")

    def destroy(self, scene_id: int) -> None:
        """sceneDestroy, leaving the file."""
        self._mutate("sceneDestroy", "SceneDestroyInput!", {"id": scene_id, "delete_file": False})

    def queue_scan(self, path: str, size: int = 1_000_000) -> None:
        """Puts a file before the next scan, which creates its scene, or updates it if the size changed."""
        self._to_scan.append((path, size))

    def take_scan(self) -> list[tuple[str, int]]:
        """Takes what ``queue_scan`` put there."""
        taken, self._to_scan = self._to_scan, []
        return taken

    def scan(self, *paths: Path, timeout: float = 120.0) -> None:
        """metadataScan of queued files and of the videos below these folders; waits until it is through."""
        given = {"paths": [str(path) for path in paths]}
        self.wait_for(self._mutate("metadataScan", "ScanMetadataInput!", given), timeout)

    def configure(self, plugin_id: str, settings: Mapping[str, Any]) -> None:
        """configurePlugin: replaces a plugin's settings."""
        self.graphql(
            "mutation($id: ID!, $input: Map!) { configurePlugin(plugin_id: $id, input: $input) }",
            {"id": plugin_id, "input": settings},
        )

    def enable(self, plugin_id: str, *, enabled: bool = True) -> None:
        """setPluginsEnabled for one plugin."""
        self.graphql(
            "mutation($map: BoolMap!) { setPluginsEnabled(enabledMap: $map) }", {"map": {plugin_id: enabled}}
        )

    def start_task(self, name: str, args: Mapping[str, Any] | None = None, plugin_id: str = "") -> str:
        """runPluginTask; gives the job's id. The plugin needn't be named if it is the only one."""
        data = self.graphql(
            "mutation($id: ID!, $name: String, $args: Map)"
            " { runPluginTask(plugin_id: $id, task_name: $name, args_map: $args) }",
            {"id": plugin_id or self._only_plugin(), "name": name, "args": args or {}},
        )
        return str(data["runPluginTask"])

    def wait_for(self, job_id: str, timeout: float = 60.0) -> Job:
        """Waits until a job is over; raises TimeoutError if it isn't in time."""
        job = self.jobs.find(int(job_id))
        assert job is not None, f"job {job_id} is unknown or long over"
        self.jobs.wait(job, timeout)
        return job

    def run_task(
        self, name: str, args: Mapping[str, Any] | None = None, plugin_id: str = "", timeout: float = 60.0
    ) -> list[LogLine]:
        """Presses a task button and waits; gives what the plugin wrote to the log."""
        return list(self.wait_for(self.start_task(name, args, plugin_id), timeout).lines)

    def stop_job(self, job_id: str) -> None:
        """stopJob."""
        self.graphql("mutation($id: ID!) { stopJob(job_id: $id) }", {"id": job_id})

    def operation(self, args: Mapping[str, Any] | None = None, plugin_id: str = "") -> Any:
        """runPluginOperation; gives the plugin's ``output``. Raises GraphQLFailed with its ``error``."""
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
