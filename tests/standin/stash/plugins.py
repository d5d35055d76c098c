"""Loads plugins and runs their hooks, tasks and operations like Stash (pkg/plugin).

Hooks run one after another within the request that triggered them. This module prepares the command and the
input of a process; ``runner`` runs it.
"""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from tests.standin.stash import runner
from tests.standin.stash.cancel import Cancel
from tests.standin.stash.jobs import Job
from tests.standin.stash.library import StashError
from tests.standin.stash.log import ServerLog
from tests.standin.stash.manifest import Manifest, Operation, PluginRefused, load, manifests_below
from tests.standin.stash.sessions import Session, Sessions, Visits, connection_cookie

_LOOPS = 10  # how often a hook may trigger itself through requests before Stash stops calling it
_GO_ESCAPES = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}


@dataclass(slots=True)
class Config:
    """The relevant part of Stash's config.yml."""

    config_dir: Path
    host: str  # in server_connection; the stand-in listens on 127.0.0.1 only
    port: int
    python: str  # runs for ``python`` and ``python3`` in a manifest
    env: Mapping[str, str]  # added to the environment of plugin processes
    username: str
    password: str
    api_key: str
    max_session_age: int
    stashes: list[str] = field(default_factory=lambda: ["/media"])  # library folders
    plugins: dict[str, dict[str, Any]] = field(default_factory=dict)  # settings by plugin id
    disabled: set[str] = field(default_factory=set)  # plugin ids


@dataclass(frozen=True, slots=True)
class Caller:
    """The origin of a request or job."""

    user: str
    visits: Visits
    base_url: str  # as the client addresses the server
    cancel: Cancel
    owner: bool = False  # it is one of the stand-in's own helpers: no faults, not counted


@dataclass(frozen=True, slots=True)
class Run:
    """One plugin process that has ended."""

    kind: str  # hook, task or operation
    plugin: str  # id
    name: str  # the trigger or the task, "" for an operation
    scene_id: int | None  # hooks only
    pid: int
    seconds: float
    exit_code: int
    cancelled: bool
    error: str | None


class _Start(NamedTuple):
    """What to run and why; kind, name and scene_id are those of Run."""

    manifest: Manifest
    operation: Operation | None  # for its execArgs; its defaultArgs are already in args
    args: Mapping[str, Any]
    kind: str
    name: str = ""
    scene_id: int | None = None


class Plugins:
    """The loaded plugins.

    Args:
        config: read again at each use.
    """

    def __init__(self, config: Config, sessions: Callable[[], Sessions], log: ServerLog) -> None:
        self._config = config
        self._sessions = sessions
        self._log = log
        self._lock = threading.Lock()
        self._roots = [config.config_dir / "plugins"]
        self._loaded: tuple[Manifest, ...] = ()
        self.runs: list[Run] = []

    def add_root(self, folder: Path) -> list[Manifest]:
        """Adds a folder with plugins and loads them.

        Raises:
            PluginRefused: Stash would refuse a plugin, or there is none.
        """
        folder = folder.absolute()
        before = len(self._log.lines())
        if folder not in self._roots:
            self._roots.append(folder)
        self.reload()
        loaded = [m for m in self._loaded if m.path.is_relative_to(folder)]
        refusals = [line.text for line in self._log.lines()[before:] if str(folder) in line.text]
        if refusals or not loaded:
            raise PluginRefused("\n".join(refusals) or f"no *.yml in {folder}")
        return loaded

    def reload(self) -> None:
        """Reads all manifests again; refused ones are logged and skipped."""
        loaded: dict[str, Manifest] = {}
        for path in (p for root in self._roots for p in manifests_below(root)):
            try:
                manifest = load(path)
            except PluginRefused as refusal:
                self._log.add("error", str(refusal))
                continue
            if manifest.id.lower() in loaded:
                self._log.add("error", f"Error loading plugin {path}: plugin ID {manifest.id} already exists")
                continue
            loaded[manifest.id.lower()] = manifest
        self._loaded = tuple(loaded.values())

    def all(self) -> tuple[Manifest, ...]:
        """Every loaded plugin."""
        return self._loaded

    def enabled(self, plugin_id: str) -> bool:
        """Whether a plugin is not disabled."""
        return plugin_id not in self._config.disabled

    def run_hooks(
        self,
        caller: Caller,
        scene_id: int,
        trigger: str,
        given: Any,
        fields: Sequence[str] = (),
    ) -> None:
        """Runs all hooks of a trigger, one after another; errors are only logged.

        Args:
            given: ``input`` of the hook context, as JSON of Stash's Go structs.
            fields: ``inputFields`` of the hook context, omitted if empty.
        """
        context: dict[str, Any] = {"id": scene_id, "type": trigger, "input": given}
        if fields:
            context["inputFields"] = list(fields)
        try:
            for manifest, hook in self._hooks(caller, trigger):
                known = replace(caller, visits=(*caller.visits, (manifest.id, trigger)))
                args = {**hook.default_args, "hookContext": context}
                outcome = self._run(known, _Start(manifest, hook, args, "hook", trigger, scene_id))
                if outcome.cancelled:
                    self._log.add("error", "error executing post hooks: operation cancelled")
                    return
                self._log_hook(manifest, trigger, outcome)
        except runner.StartFailed as error:
            self._log.add("error", f"error executing post hooks: {error}")

    def run_operation(self, caller: Caller, plugin_id: str, args: Mapping[str, Any]) -> Any:
        """runPluginOperation: runs immediately, without execArgs and defaultArgs.

        Raises:
            StashError: the plugin answered with an error or could not run.
        """
        manifest = self._to_run(plugin_id)
        try:
            outcome = self._run(caller, _Start(manifest, None, args, "operation"))
        except runner.StartFailed as error:
            raise StashError(str(error)) from error
        if outcome.cancelled:
            raise StashError("operation cancelled")
        if outcome.error is not None:
            raise StashError(outcome.error)
        return outcome.output

    def run_task(
        self, caller: Caller, job: Job, plugin_id: str, task: str | None, args: Mapping[str, Any]
    ) -> None:
        """The work of a runPluginTask job; errors of the plugin are only logged.

        Raises:
            StashError: the task could not be started.
        """
        try:
            manifest = self._to_run(plugin_id)
            operation = None if task is None else manifest.task(task)
        except StashError as error:
            raise StashError(f"Error creating plugin task: {error}") from None
        given = {**(operation.default_args if operation else {}), **args}
        start = _Start(manifest, operation, given, "task", task or "")
        try:
            outcome = self._run(replace(caller, cancel=job.cancel), start, job.progress.append)
        except runner.StartFailed as error:
            raise StashError(f"Error running plugin task: {error}") from error
        job.lines = outcome.lines
        if outcome.error is not None:
            self._log.add("error", f"Plugin returned error: {outcome.error}")
        elif outcome.output is not None:
            self._log.add("debug", f"Plugin returned: {outcome.output}")

    def _hooks(self, caller: Caller, trigger: str) -> Iterator[tuple[Manifest, Operation]]:
        for manifest in self._loaded:
            hooks = manifest.hooks_on(trigger)
            if not hooks or not self.enabled(manifest.id):
                continue
            if caller.visits.count((manifest.id, trigger)) >= _LOOPS:
                self._log.add("debug", f"cyclic loop detected: plugin ID '{manifest.id}' hook {trigger}")
                continue
            yield from ((manifest, hook) for hook in hooks)

    def _log_hook(self, manifest: Manifest, trigger: str, outcome: runner.Outcome) -> None:
        if outcome.error is not None:
            self._log.add("error", f"{trigger} [{manifest.name}]: returned error: {outcome.error}")
        elif outcome.output is not None:
            self._log.add("debug", f"{trigger} [{manifest.name}]: returned: {outcome.output}")

    def _to_run(self, plugin_id: str) -> Manifest:
        if not self.enabled(plugin_id):
            raise StashError(f"plugin {plugin_id} is disabled")
        manifest = next((m for m in self._loaded if m.id == plugin_id), None)
        if manifest is None:
            raise StashError(f"no plugin with ID {plugin_id}")
        return manifest

    def _run(
        self, caller: Caller, start: _Start, on_progress: Callable[[float], None] = lambda _value: None
    ) -> runner.Outcome:
        manifest = start.manifest
        argv, env = self._command(manifest, start.operation)
        stdin = go_json({"server_connection": self._connection(caller, manifest), "args": _go_map(start.args)})
        command = runner.Command(argv, env, stdin, manifest.name, manifest.err_log)
        outcome = runner.run(command, caller.cancel, self._log, on_progress)
        with self._lock:
            self.runs.append(
                Run(
                    start.kind,
                    manifest.id,
                    start.name,
                    start.scene_id,
                    outcome.pid,
                    outcome.seconds,
                    outcome.exit_code,
                    outcome.cancelled,
                    outcome.error,
                )
            )
        return outcome

    def _command(self, manifest: Manifest, operation: Operation | None) -> tuple[list[str], dict[str, str]]:
        argv = [*manifest.exec, *(operation.exec_args if operation else ())]
        if not argv:
            raise runner.StartFailed("empty exec value")
        env = {**os.environ, **self._config.env}
        if argv[0] in ("python", "python3"):
            argv[0] = self._config.python
            parent = str(manifest.folder.parent)
            env["PYTHONPATH"] = f"{env['PYTHONPATH']}{os.pathsep}{parent}" if "PYTHONPATH" in env else parent
        elif shutil.which(argv[0]) is None:
            argv[0] = str(manifest.folder / argv[0])
        folder = str(manifest.folder)
        return [argv[0], *(a.replace("{pluginDir}", folder) for a in argv[1:])], env

    def _connection(self, caller: Caller, manifest: Manifest) -> dict[str, Any]:
        cookie = self._sessions().make(Session(caller.user, caller.visits))
        return {
            "Scheme": "http",
            "Host": self._config.host,
            "Port": self._config.port,
            "SessionCookie": connection_cookie(cookie),
            "Dir": str(self._config.config_dir),
            "PluginDir": str(manifest.folder),
        }


def go_json(value: Any) -> bytes:
    """JSON as Go's encoder writes it: compact UTF-8 with ``<``, ``>`` and ``&`` escaped."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    for plain, escaped in _GO_ESCAPES.items():
        text = text.replace(plain, escaped)
    return text.encode("utf-8", "replace")


def _go_map(args: Mapping[str, Any]) -> dict[str, Any]:
    """Sorts keys like Go, which sorts those of a map, but not the fields of a struct (the hook context)."""
    return {
        key: _go_map(args[key]) if isinstance(args[key], Mapping) and key != "hookContext" else args[key]
        for key in sorted(args)
    }
